internal import Access
internal import MVCC

/// Users and their rights, written down as simply as can be.
struct ModelAccess {
    private(set) var isEnabled = false
    private(set) var revision: UInt64 = 1
    private var roles: [[UInt8]: Set<[UInt8]>] = [:]
    private var permissions: [[UInt8]: [Permission]] = [:]

    init() {}

    /// As a fabric begins with it that goes on from one member's disk.
    init(_ state: AccessState) {
        isEnabled = state.isEnabled
        revision = state.revision
        for user in state.users.all { roles[user.name] = Set(user.roles) }
        for role in state.roles.all { permissions[role.name] = role.permissions }
    }

    /// The changes that the simulator's operator makes. Others are refused, or are none.
    mutating func apply(_ change: AccessChange) -> Bool {
        switch change {
        case .enable:
            guard isRoot(AccessState.root) else { return false }
            isEnabled = true
            // The only one that counts for nothing.
            return true
        case .disable:
            guard isEnabled else { return true }
            isEnabled = false
        case .addUser(let name, _):
            guard roles[name] == nil else { return false }
            roles[name] = []
        case .grantRole(let role, let user):
            guard roles[user] != nil, role == AccessState.root || permissions[role] != nil else { return false }
            guard roles[user]?.insert(role).inserted == true else { return true }
        case .addRole(let name):
            guard permissions[name] == nil else { return false }
            permissions[name] = []
        case .grantPermission(let permission, let role):
            guard permissions[role] != nil else { return false }
            permissions[role]?.removeAll { $0.key == permission.key && $0.end == permission.end }
            permissions[role]?.append(permission)
        case .revokePermission(let key, let end, let role):
            guard permissions[role]?.contains(where: { $0.key == key && $0.end == end }) == true else { return false }
            permissions[role]?.removeAll { $0.key == key && $0.end == end }
        case .deleteUser, .changePassword, .revokeRole, .deleteRole, .issueToken, .trust, .noteMembers, .logIn:
            return false
        }
        revision += 1
        return true
    }

    private func isRoot(_ user: [UInt8]) -> Bool { roles[user]?.contains(AccessState.root) == true }

    /// If a command may be carried out on somebody's behalf.
    /// - Parameter keys: those of a lease.
    func lets(_ author: Author?, _ command: Command, _ keys: (Int64) -> [[UInt8]]) -> Bool {
        guard isEnabled else { return true }
        switch command {
        case .put(let put): return lets(author, put, keys)
        case .deleteRange(let request): return lets(author, .write, request.range.start)
        case .txn(let txn):
            return txn.compares.allSatisfy { lets(author, .read, $0.range.start) }
                && (txn.success + txn.failure).allSatisfy { operation in
                    switch operation {
                    case .put(let put): lets(author, put, keys)
                    case .range(let range): lets(author, .read, range.range.start)
                    case .deleteRange, .txn: false
                    }
                }
        case .leaseRevoke(let id): return keys(id).allSatisfy { lets(author, .write, $0) }
        case .leaseRenew(let id): return author == nil || keys(id).allSatisfy { lets(author, .write, $0) }
        case .access: return author.map { isRoot($0.name) } ?? false
        default: return true
        }
    }

    private func lets(_ author: Author?, _ put: PutRequest, _ keys: (Int64) -> [[UInt8]]) -> Bool {
        lets(author, .write, put.key) && (put.lease == 0 || keys(put.lease).allSatisfy { lets(author, .write, $0) })
    }

    private func lets(_ author: Author?, _ use: KeyUse, _ key: [UInt8]) -> Bool {
        guard let author, author.revision >= revision, let roles = roles[author.name] else { return false }
        if roles.contains(AccessState.root) { return true }
        return roles.flatMap { permissions[$0] ?? [] }.contains { permission in
            permission.allows(use)
                && (permission.end.isEmpty
                    ? key == permission.key
                    : !key.lexicographicallyPrecedes(permission.key) && key.lexicographicallyPrecedes(permission.end))
        }
    }
}
