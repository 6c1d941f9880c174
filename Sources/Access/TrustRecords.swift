/// A CA of the fabric's own that members believe.
package struct Authority: Equatable, Named, Sendable {
    /// SHA-256 of its public key (SubjectPublicKeyInfo): what join tokens name it by.
    package let name: [UInt8]
    /// DER.
    package let certificate: [UInt8]
    /// Rises with each that is added: members sign with the newest.
    package internal(set) var number: UInt64

    package init(name: [UInt8], certificate: [UInt8], number: UInt64 = 0) {
        self.name = name
        self.certificate = certificate
        self.number = number
    }
}

/// What a join token lets its bearer become.
package enum JoinRole: Equatable, Sendable {
    case voter, learner, witness
    /// The member with this id, hexadecimal, which has lost its certificate or never had one.
    case member(String)
    /// Whoever has a certificate with a role that weft knows beside etcd's.
    case client(ReservedRole)

    private static let member = "member:"

    package init?(_ text: String) {
        switch text {
        case "voter": self = .voter
        case "learner": self = .learner
        case "witness": self = .witness
        case _ where text.hasPrefix(Self.member):
            let id = text.dropFirst(Self.member.count)
            guard let number = UInt64(id, radix: 16), String(number, radix: 16) == id else { return nil }
            self = .member(String(id))
        default:
            guard let role = ReservedRole(certified: text) else { return nil }
            self = .client(role)
        }
    }

    package var text: String {
        switch self {
        case .voter: "voter"
        case .learner: "learner"
        case .witness: "witness"
        case .member(let id): Self.member + id
        case .client(let role): role.text
        }
    }
}

/// Lets somebody in who has nothing yet. The fabric knows only what its secret hashes to.
package struct JoinToken: Equatable, Named, Sendable {
    /// Its id, as text.
    package let name: [UInt8]
    /// SHA-256 of its secret.
    package let digest: [UInt8]
    package let role: JoinRole
    /// Where members that come by it are; empty where it does not say.
    package let domain: [UInt8]
    /// Milliseconds since 1970.
    package let until: Int64
    package let usesMax: UInt64
    /// SHA-256 of the public keys that came by it. Each may come again: an answer can be lost.
    package internal(set) var usedBy: [[UInt8]]

    package init(
        name: [UInt8], digest: [UInt8], role: JoinRole, domain: [UInt8], until: Int64, usesMax: UInt64,
        usedBy: [[UInt8]] = []
    ) {
        self.name = name
        self.digest = digest
        self.role = role
        self.domain = domain
        self.until = until
        self.usesMax = usesMax
        self.usedBy = usedBy
    }

    package var usesLeft: UInt64 { usesMax - min(usesMax, UInt64(usedBy.count)) }
}

/// A node of the storage cluster or a tool that has a certificate. One that is not listed is nobody's.
package struct Enrolment: Equatable, Named, Sendable {
    /// Its id, hexadecimal, as certificates have it.
    package let name: [UInt8]
    /// What people call it.
    package let title: [UInt8]
    package let role: ReservedRole
    /// Until when the newest certificate is good: milliseconds since 1970.
    package let until: Int64
    /// The CA that signed the newest one.
    package let authority: [UInt8]

    package init(name: [UInt8], title: [UInt8], role: ReservedRole, until: Int64, authority: [UInt8]) {
        self.name = name
        self.title = title
        self.role = role
        self.until = until
        self.authority = authority
    }
}

/// A member's newest certificate.
package struct MemberCertificate: Equatable, Named, Sendable {
    /// The member's id, hexadecimal.
    package let name: [UInt8]
    /// Milliseconds since 1970.
    package let until: Int64
    /// The CA that signed it.
    package let authority: [UInt8]
    /// It has that CA's key.
    package let signs: Bool

    package init(name: [UInt8], until: Int64, authority: [UInt8], signs: Bool) {
        self.name = name
        self.until = until
        self.authority = authority
        self.signs = signs
    }
}

/// What changes about certificates. Times are milliseconds since 1970 by the clock of the member that proposes.
package enum TrustChange: Equatable, Sendable {
    case addAuthority(Authority)
    /// Nobody believes it any more. Refused while members have certificates of it, but for those `leaving`, who are none any more.
    case removeAuthority([UInt8], leaving: [[UInt8]])
    case addToken(JoinToken, at: Int64)
    case removeToken([UInt8])
    /// Somebody with a public key, of this digest, shows a token's secret, of that digest.
    case useToken([UInt8], secret: [UInt8], key: [UInt8], at: Int64)
    case enrol(Enrolment, at: Int64)
    case revoke([UInt8])
    case noteMember(MemberCertificate)
    /// The member is gone.
    case forgetMember([UInt8])
}
