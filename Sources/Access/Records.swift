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
    /// Ascending by key, those of one key as they came; each range once.
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

    /// What root may do.
    package static let all = Permission(kind: 2, key: [], end: [0])

    var isValid: Bool { !key.isEmpty && (end.isEmpty || end == [0] || key.lexicographicallyPrecedes(end)) }

    fileprivate var words: String {
        let kinds = ["read", "write", "read and write"]
        return "\(kinds.indices.contains(Int(kind)) ? kinds[Int(kind)] : "not use") \(range)"
    }

    fileprivate var range: String {
        let first = String(decoding: key, as: UTF8.self)
        if end.isEmpty { return "key \"\(first)\"" }
        return end == [0]
            ? "keys from \"\(first)\" on" : "keys from \"\(first)\" to \"\(String(decoding: end, as: UTF8.self))\""
    }

    package func allows(_ use: KeyUse) -> Bool {
        switch use {
        case .read: kind == 0 || kind == 2
        case .write: kind == 1 || kind == 2
        }
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
    case issueToken(IssuedToken)
    case trust(TrustChange)
    /// Changes nobody's rights: what somebody does to the members, for the fabric's events.
    case noteMembers(what: [UInt8])
    /// A user's certificate, by what was known of users as of a revision; milliseconds since 1970.
    case logIn(Enrolment, revision: UInt64, at: Int64)
}

/// On whose behalf something is done.
package struct Author: Equatable, Sendable {
    package let name: [UInt8]
    /// Of the state in which their rights were looked up; 0 is nobody's.
    package let revision: UInt64
    /// It is no user: a client's certificate is listed under this name.
    package let isCertificate: Bool

    package init(name: [UInt8], revision: UInt64) {
        self.name = name
        self.revision = revision
        isCertificate = false
    }

    package init(certificate name: [UInt8]) {
        self.name = name
        revision = 0
        isCertificate = true
    }
}

/// A simple token: all members take it.
package struct IssuedToken: Equatable, Sendable {
    /// SHA-256 of its secret part.
    package let digest: [UInt8]
    package let user: [UInt8]
    /// Of the state in which the password was looked at.
    package let revision: UInt64
    /// Milliseconds since 1970 by the clock of the member that issued it.
    package let issued: Int64

    package init(digest: [UInt8], user: [UInt8], revision: UInt64, issued: Int64) {
        self.digest = digest
        self.user = user
        self.revision = revision
        self.issued = issued
    }
}

/// What a change means for tokens.
package enum TokenEvent: Equatable, Sendable {
    case issued(IssuedToken)
    /// All of a user.
    case ended(user: [UInt8])
    case allEnded
}

extension AccessChange {
    /// What was changed, in words without secrets; nil for what changes nobody's rights.
    package var summary: String? {
        func text(_ name: [UInt8]) -> String { String(decoding: name, as: UTF8.self) }
        switch self {
        case .enable: return "users and roles count from now on"
        case .disable: return "users and roles do not count any more"
        case .addUser(let name, _): return "user \(text(name)) added"
        case .deleteUser(let name): return "user \(text(name)) deleted"
        case .changePassword(let name, _): return "password of user \(text(name)) changed"
        case .grantRole(let role, let user): return "user \(text(user)) has role \(text(role))"
        case .revokeRole(let role, let user): return "user \(text(user)) has role \(text(role)) no more"
        case .addRole(let name): return "role \(text(name)) added"
        case .deleteRole(let name): return "role \(text(name)) deleted"
        case .grantPermission(let permission, let role):
            return "role \(text(role)) may \(permission.words)"
        case .revokePermission(let key, let end, let role):
            let permission = Permission(kind: 0, key: key, end: end)
            return "role \(text(role)) may no more use \(permission.range)"
        case .issueToken: return nil
        case .trust(let change): return change.summary
        case .noteMembers(let what): return text(what)
        case .logIn(let enrolment, _, _): return "user \(text(enrolment.title)) logged in (\(text(enrolment.name)))"
        }
    }

    /// What it is a change of.
    package var subject: String {
        switch self {
        case .trust: "certificates"
        case .noteMembers: "members"
        default: "users"
        }
    }

    /// Once it is carried out.
    package var tokenEvent: TokenEvent? {
        switch self {
        case .issueToken(let token): .issued(token)
        case .deleteUser(let name), .changePassword(let name, _): .ended(user: name)
        case .disable: .allEnded
        case .enable, .addUser, .grantRole, .revokeRole, .addRole, .deleteRole, .grantPermission, .revokePermission,
            .trust, .noteMembers, .logIn:
            nil
        }
    }
}

/// Why a change is refused, or somebody may not do what they ask for. The words are etcd's.
package enum AccessRefusal: Error, Equatable, Sendable {
    case noRootUser, noRootRole, emptyUserName, userExists, noUser, emptyRoleName, roleExists, noRole
    case roleNotGranted, permissionNotGranted, invalid, denied, oldRevision, notEnabled
    case invalidToken, wrongPassword, noPasswordUser, passwordTooLong
    case noPermission, passwordWithZero, noBcrypt, tooManyAttempts, cannotIssue
    case noCertificate, badJoinToken, revokedKey, anotherKey, noJoinToken, tooManyTokens, noEnrolment, tooManyEnrolments
    case noAuthority, authorityExists, otherAuthority, lastAuthority, rotationUnderWay
    case noAuthorityAtAll, noAuthorityHere, cannotSign, noRotation, authorityInUse, tooEarly

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
        case .noPermission: "etcdserver: permission not given"
        case .denied: "etcdserver: permission denied"
        case .oldRevision: "etcdserver: revision of auth store is old"
        case .notEnabled: "etcdserver: authentication is not enabled"
        case .invalidToken: "etcdserver: invalid auth token"
        case .wrongPassword: "etcdserver: authentication failed, invalid user ID or password"
        case .noPasswordUser: "auth: authentication failed, password was given for no password user"
        case .passwordTooLong: "bcrypt: password length exceeds 72 bytes"
        case .passwordWithZero: "weft: a password cannot hold a zero byte"
        case .noBcrypt: "weft: this machine's libcrypt knows no bcrypt"
        case .tooManyAttempts: "weft: too many logins failed; wait a minute, then try again"
        case .cannotIssue: "weft: this member only verifies tokens: --auth-token names no priv-key"
        case .noCertificate:
            "weft: this fabric answers known callers only: show a certificate of its CA (`weft ca issue`, `weft enrol`), or come by the socket of a member's machine"
        case .badJoinToken:
            "weft: the join token is unknown, spent, revoked or past its time; make one with `weft token create`"
        case .revokedKey: "weft: a certificate of this key was revoked; make a new key"
        case .anotherKey: "weft: a renewal is for the same key; to change the key, enrol anew"
        case .noJoinToken: "weft: there is no such join token"
        case .tooManyTokens: "weft: too many join tokens are waiting; revoke some with `weft token revoke`"
        case .noEnrolment: "weft: there is no such certificate"
        case .tooManyEnrolments: "weft: too many certificates are in use; revoke some with `weft ca revoke`"
        case .noAuthorityAtAll:
            "weft: the fabric has no CA of its own: its members serve without TLS, or with certificates that were brought"
        case .noAuthorityHere: "weft: this member signs no certificates; ask one that holds data"
        case .noRotation: "weft: no new CA is being taken into use"
        case .authorityInUse: "weft: members have certificates of this CA still; see `weft ca show`"
        case .tooEarly: "weft: the certificate is good for long enough, and by the newest CA: nothing to renew"
        case .cannotSign: "weft: the fabric's CA cannot sign this"
        case .noAuthority: "weft: the fabric believes no such CA"
        case .authorityExists: "weft: the fabric believes this CA already"
        case .otherAuthority: "weft: the fabric already has another CA; see `weft ca show`"
        case .lastAuthority: "weft: it is the fabric's only CA"
        case .rotationUnderWay:
            "weft: a new CA is being taken into use already: end that with `weft ca rotate --finish` first"
        }
    }
}
