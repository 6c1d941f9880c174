/// Somebody who logs in. Names are bytes: two that look alike are two users.
package struct User: Equatable, Named, Sendable {
    package let name: [UInt8]
    /// bcrypt's; nil for one who never logs in with a password.
    package internal(set) var passwordHash: [UInt8]?
    /// Ascending.
    package internal(set) var roles: [[UInt8]]

    package init(name: [UInt8], passwordHash: [UInt8]?, roles: [[UInt8]] = []) {
        self.name = name
        self.passwordHash = passwordHash
        self.roles = roles
    }
}

package struct Role: Equatable, Named, Sendable {
    package let name: [UInt8]
    /// Ascending by key and end, each range once.
    package internal(set) var permissions: [Permission]

    package init(name: [UInt8], permissions: [Permission] = []) {
        self.name = name
        self.permissions = permissions
    }
}

/// What may be done with the keys of a range.
package struct Permission: Equatable, Sendable {
    /// As etcd says it: 0 is READ, 1 WRITE, 2 READWRITE. Others are kept, and allow nothing.
    package var kind: Int32
    package var key: [UInt8]
    /// Empty for the key alone; [0] for all keys from it on.
    package var end: [UInt8]

    package init(kind: Int32, key: [UInt8], end: [UInt8]) {
        self.kind = kind
        self.key = key
        self.end = end
    }

    var isValid: Bool { !key.isEmpty && (end.isEmpty || end == [0] || key.lexicographicallyPrecedes(end)) }

    package func allows(_ use: KeyUse) -> Bool {
        switch use {
        case .read: kind == 0 || kind == 2
        case .write: kind == 1 || kind == 2
        }
    }

    func precedes(_ other: Permission) -> Bool {
        key == other.key ? end.lexicographicallyPrecedes(other.end) : key.lexicographicallyPrecedes(other.key)
    }
}

/// What somebody wants to do with keys.
package enum KeyUse: Sendable {
    case read, write
}

package enum AccessChange: Equatable, Sendable {
    case enable, disable
    /// Without a hash: one who never logs in with a password.
    case addUser([UInt8], passwordHash: [UInt8]?)
    case deleteUser([UInt8])
    case changePassword([UInt8], passwordHash: [UInt8])
    case grantRole([UInt8], user: [UInt8])
    case revokeRole([UInt8], user: [UInt8])
    case addRole([UInt8])
    case deleteRole([UInt8])
    case grantPermission(Permission, role: [UInt8])
    case revokePermission(key: [UInt8], end: [UInt8], role: [UInt8])
}

/// Why a change is refused, or somebody may not do what they ask for. The words are etcd's.
package enum AccessRefusal: Error, Equatable, Sendable {
    case noRootUser, noRootRole, emptyUserName, userExists, noUser, emptyRoleName, roleExists, noRole
    case roleNotGranted, permissionNotGranted, invalid, denied, oldRevision

    package var message: String {
        switch self {
        case .noRootUser: "etcdserver: root user does not exist"
        case .noRootRole: "etcdserver: root user does not have root role"
        case .emptyUserName: "etcdserver: user name is empty"
        case .userExists: "etcdserver: user name already exists"
        case .noUser: "etcdserver: user name not found"
        case .emptyRoleName: "etcdserver: role name is empty"
        case .roleExists: "etcdserver: role name already exists"
        case .noRole: "etcdserver: role name not found"
        case .roleNotGranted: "etcdserver: role is not granted to the user"
        case .permissionNotGranted: "etcdserver: permission is not granted to the role"
        case .invalid: "etcdserver: invalid auth management"
        case .denied: "etcdserver: permission denied"
        case .oldRevision: "etcdserver: revision of auth store is old"
        }
    }
}
