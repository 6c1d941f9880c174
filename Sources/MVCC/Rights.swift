package import Access

/// What a user may do with keys: the permissions of all their roles together, so that ranges that touch are one.
package struct Rights: Equatable, Sendable {
    package let isRoot: Bool
    private let read: MergedRanges
    private let write: MergedRanges

    /// To all keys, or to none: of those who are no users.
    static let all = Rights(isRoot: true)
    static let none = Rights(isRoot: false)

    private init(isRoot: Bool) {
        self.isRoot = isRoot
        (read, write) = (MergedRanges([]), MergedRanges([]))
    }

    /// Nil when there is no such user.
    package init?(of name: [UInt8], in state: AccessState) {
        guard let user = state.users[name] else { return nil }
        isRoot = user.roles.contains(AccessState.root)
        let permissions = user.roles.compactMap { state.roles[$0] }.flatMap(\.permissions)
        read = MergedRanges(permissions.filter { $0.allows(.read) }.map(KeyRange.init))
        write = MergedRanges(permissions.filter { $0.allows(.write) }.map(KeyRange.init))
    }

    /// If all keys of a range may be used so.
    package func allow(_ use: KeyUse, of range: KeyRange) -> Bool {
        isRoot || (use == .read ? read : write).contain(range)
    }
}

extension KeyRange {
    fileprivate init(_ permission: Permission) {
        self.init(key: permission.key, rangeEnd: permission.end)
        // etcd's word for all keys, though none is empty.
        if start == [0], end == .unbounded { start = [] }
    }
}
