/// Who may do what: etcd's auth store. Users have roles, roles have permissions. All members apply the same changes in the same
/// order and come to the same state.
package struct AccessState: Equatable, Sendable {
    /// The name of the user, and of the role, that may do everything.
    package static let root = Array("root".utf8)

    package internal(set) var isEnabled = false
    /// Of the whole state: what was allowed as of an older one is looked at again.
    package internal(set) var revision: UInt64 = 1
    /// By name.
    package internal(set) var users = NameTable<User>()
    package internal(set) var roles = NameTable<Role>()
    package internal(set) var trust = TrustState()

    package init() {}

    /// If nobody may do anything without a name.
    package var judges: Bool { isEnabled || trust.isThere }

    /// What somebody knows who hears that users and roles changed, and not how: nobody is let in.
    package mutating func lock() { isEnabled = true }

    /// A fabric that goes on from what another had keeps its users, and nobody's certificates.
    package mutating func beginAnew() { trust.clear() }

    /// Carries out a change, or refuses it and stays what it is.
    package mutating func apply(_ change: AccessChange) throws(AccessRefusal) {
        switch change {
        case .enable: return try enable()
        case .disable:
            guard isEnabled else { return }
            isEnabled = false
            trust.endLogins()
        case .addUser(let name, let hash): try addUser(name, hash)
        case .deleteUser(let name):
            try deleteUser(name)
            trust.endLogins(of: name)
        case .changePassword(let name, let hash):
            try changePassword(name, hash)
            trust.endLogins(of: name)
        case .grantRole(let role, let user): guard try grant(role, to: user) else { return }
        case .revokeRole(let role, let user): try revoke(role, from: user)
        case .addRole(let name): try addRole(name)
        case .deleteRole(let name): try deleteRole(name)
        case .grantPermission(let permission, let role): try grant(permission, to: role)
        case .revokePermission(let key, let end, let role): try revoke(key, end, from: role)
        case .issueToken(let token): return try expect(token)
        case .trust(let change): return try trust.apply(change)
        case .noteMembers: return
        case .logIn(let enrolment, let known, let now): return try logIn(enrolment, known, now)
        }
        revision += 1
    }

    private mutating func enable() throws(AccessRefusal) {
        guard let root = users[Self.root] else { throw .noRootUser }
        guard root.roles.contains(Self.root) else { throw .noRootRole }
        isEnabled = true
    }

    /// The password was looked at before; it counts while nothing has changed since.
    private func expect(_ token: IssuedToken) throws(AccessRefusal) {
        guard isEnabled else { throw .notEnabled }
        guard token.revision == revision else { throw .oldRevision }
    }

    /// As for tokens, nothing may have changed since the password was looked at.
    private mutating func logIn(_ enrolment: Enrolment, _ known: UInt64, _ now: Int64) throws(AccessRefusal) {
        guard isEnabled else { throw .notEnabled }
        guard known == revision else { throw .oldRevision }
        guard case .user(let name) = enrolment.role, users[Array(name.utf8)] != nil else { throw .noUser }
        try trust.logIn(enrolment, at: now)
    }

    // MARK: - Users

    private func user(_ name: [UInt8]) throws(AccessRefusal) -> User {
        guard let user = users[name] else { throw .noUser }
        return user
    }

    private mutating func addUser(_ name: [UInt8], _ hash: [UInt8]?) throws(AccessRefusal) {
        guard !name.isEmpty else { throw .emptyUserName }
        guard users[name] == nil else { throw .userExists }
        users.put(User(name: name, passwordHash: hash))
    }

    private mutating func deleteUser(_ name: [UInt8]) throws(AccessRefusal) {
        guard !isEnabled || name != Self.root else { throw .invalid }
        guard users.remove(name) else { throw .noUser }
    }

    private mutating func changePassword(_ name: [UInt8], _ hash: [UInt8]) throws(AccessRefusal) {
        var user = try user(name)
        // One that has none keeps none.
        if user.passwordHash != nil { user.passwordHash = hash }
        users.put(user)
    }

    /// Answers if that is new.
    private mutating func grant(_ role: [UInt8], to name: [UInt8]) throws(AccessRefusal) -> Bool {
        var user = try user(name)
        guard role == Self.root || roles[role] != nil || ReservedRole(role) != nil else { throw .noRole }
        guard !user.roles.contains(role) else { return false }
        user.roles.append(role)
        user.roles.sort { $0.lexicographicallyPrecedes($1) }
        users.put(user)
        return true
    }

    private mutating func revoke(_ role: [UInt8], from name: [UInt8]) throws(AccessRefusal) {
        guard !isEnabled || name != Self.root || role != Self.root else { throw .invalid }
        var user = try user(name)
        guard let place = user.roles.firstIndex(of: role) else { throw .roleNotGranted }
        user.roles.remove(at: place)
        users.put(user)
    }

    // MARK: - Roles

    private func role(_ name: [UInt8]) throws(AccessRefusal) -> Role {
        guard let role = roles[name] else { throw .noRole }
        return role
    }

    private mutating func addRole(_ name: [UInt8]) throws(AccessRefusal) {
        guard !name.isEmpty else { throw .emptyRoleName }
        guard roles[name] == nil else { throw .roleExists }
        roles.put(Role(name: name))
    }

    private mutating func deleteRole(_ name: [UInt8]) throws(AccessRefusal) {
        guard !isEnabled || name != Self.root else { throw .invalid }
        guard roles.remove(name) else { throw .noRole }
        for var user in users.all where user.roles.contains(name) {
            user.roles.removeAll { $0 == name }
            users.put(user)
        }
    }

    private mutating func grant(_ permission: Permission, to name: [UInt8]) throws(AccessRefusal) {
        guard permission.isValid else { throw .invalid }
        var role = try role(name)
        if let place = role.permissions.firstIndex(where: { $0.key == permission.key && $0.end == permission.end }) {
            role.permissions[place] = permission
        } else {
            let place =
                role.permissions.firstIndex { permission.key.lexicographicallyPrecedes($0.key) }
                ?? role.permissions.endIndex
            role.permissions.insert(permission, at: place)
        }
        roles.put(role)
    }

    private mutating func revoke(_ key: [UInt8], _ end: [UInt8], from name: [UInt8]) throws(AccessRefusal) {
        var role = try role(name)
        guard let place = role.permissions.firstIndex(where: { $0.key == key && $0.end == end }) else {
            throw .permissionNotGranted
        }
        role.permissions.remove(at: place)
        roles.put(role)
    }
}
