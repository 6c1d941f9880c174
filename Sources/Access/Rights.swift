/// Keys from `start` on, before `end`; nil is the end of all.
package struct KeySpan: Equatable, Sendable {
    package var start: [UInt8]
    package var end: [UInt8]?

    package init(start: [UInt8], end: [UInt8]?) {
        self.start = start
        self.end = end
    }

    /// A single key.
    package init(of key: [UInt8]) {
        self.init(start: key, end: key + [0])
    }

    init(_ permission: Permission) {
        switch permission.end {
        case []: self.init(of: permission.key)
        // The key [0] with it is etcd's word for all keys, though none is empty.
        case [0]: self.init(start: permission.key == [0] ? [] : permission.key, end: nil)
        default: self.init(start: permission.key, end: permission.end)
        }
    }
}

/// What a user may do: the permissions of all their roles together, so that ranges that touch are one.
package struct Rights: Equatable, Sendable {
    package let isRoot: Bool
    private let read: [KeySpan]
    private let write: [KeySpan]

    /// Nil when there is no such user.
    package init?(of name: [UInt8], in state: AccessState) {
        guard let user = state.users[name] else { return nil }
        isRoot = user.roles.contains(AccessState.root)
        let permissions = user.roles.compactMap { state.roles[$0] }.flatMap(\.permissions)
        read = Self.merged(permissions.filter { $0.allows(.read) }.map(KeySpan.init))
        write = Self.merged(permissions.filter { $0.allows(.write) }.map(KeySpan.init))
    }

    /// Ascending, with gaps between them.
    private static func merged(_ spans: [KeySpan]) -> [KeySpan] {
        var merged: [KeySpan] = []
        for span in spans.sorted(by: { $0.start.lexicographicallyPrecedes($1.start) }) {
            guard let last = merged.last, last.end.map({ !$0.lexicographicallyPrecedes(span.start) }) ?? true else {
                merged.append(span)
                continue
            }
            if let end = last.end, span.end.map(end.lexicographicallyPrecedes) ?? true {
                merged[merged.count - 1].end = span.end
            }
        }
        return merged
    }

    /// If all keys of a span may be used so.
    package func allow(_ use: KeyUse, of span: KeySpan) -> Bool {
        if isRoot { return true }
        let spans = use == .read ? read : write
        // The last that does not begin behind it.
        var low = 0
        var high = spans.count
        while low < high {
            let middle = (low + high) / 2
            if span.start.lexicographicallyPrecedes(spans[middle].start) { high = middle } else { low = middle + 1 }
        }
        guard low > 0 else { return false }
        guard let granted = spans[low - 1].end else { return true }
        guard let end = span.end else { return false }
        return !granted.lexicographicallyPrecedes(end) && span.start.lexicographicallyPrecedes(granted)
    }
}
