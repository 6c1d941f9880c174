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
    /// Another fabric, whose members this one believes.
    case pair

    private static let member = "member:"

    package init?(_ text: String) {
        switch text {
        case "voter": self = .voter
        case "learner": self = .learner
        case "witness": self = .witness
        case "pair": self = .pair
        case _ where text.hasPrefix(Self.member):
            let id = text.dropFirst(Self.member.count)
            guard let number = UInt64(id, radix: 16), String(number, radix: 16) == id else { return nil }
            self = .member(String(id))
        default:
            guard let role = ReservedRole(certified: text), role.canBeGiven else { return nil }
            self = .client(role)
        }
    }

    /// Whether operators may make tokens for this role. They may not for members: Raft follows each of them, also a witness.
    package var isForOperators: Bool {
        switch self {
        case .client(.node), .client(.observer): true
        case .voter, .learner, .witness, .member, .client, .pair: false
        }
    }

    package var text: String {
        switch self {
        case .voter: "voter"
        case .learner: "learner"
        case .witness: "witness"
        case .pair: "pair"
        case .member(let id): Self.member + id
        case .client(let role): role.text
        }
    }
}

/// Lets somebody in without a certificate. The fabric knows only what its secret hashes to.
package struct JoinToken: Equatable, Named, Sendable {
    /// Its id, as text.
    package let name: [UInt8]
    /// SHA-256 of its secret.
    package let digest: [UInt8]
    package let role: JoinRole
    /// Where members that come by it are; empty where it does not say.
    package let domain: [UInt8]
    /// The member whose vote the newcomer takes, hexadecimal; empty for none.
    package let replaces: [UInt8]
    /// Milliseconds since 1970.
    package let until: Int64
    package let usesMax: UInt64
    package internal(set) var uses: UInt64 = 0
    /// SHA-256 of the public keys that came by it and may come again: an answer can be lost.
    package internal(set) var returning: [[UInt8]] = []

    package init(
        name: [UInt8], digest: [UInt8], role: JoinRole, domain: [UInt8], replaces: [UInt8] = [], until: Int64,
        usesMax: UInt64
    ) {
        self.name = name
        self.digest = digest
        self.role = role
        self.domain = domain
        self.replaces = replaces
        self.until = until
        self.usesMax = usesMax
    }

    package var usesLeft: UInt64 { usesMax - min(usesMax, uses) }
}

/// Somebody shows a join token.
package struct TokenUse: Equatable, Sendable {
    package let token: [UInt8]
    /// SHA-256 of the secret.
    package let secret: [UInt8]
    /// SHA-256 of the bearer's public key.
    package let key: [UInt8]
    /// Milliseconds since 1970.
    package let at: Int64

    package init(token: [UInt8], secret: [UInt8], key: [UInt8], at: Int64) {
        self.token = token
        self.secret = secret
        self.key = key
        self.at = at
    }
}

/// A public key whose certificate was revoked: no token lets it in, and no certificate of it is signed, until the last one is past its time.
package struct RevokedKey: Equatable, Named, Sendable {
    /// SHA-256 of the key.
    package let name: [UInt8]
    /// Milliseconds since 1970.
    package let until: Int64
}

/// A node of the storage cluster or a tool that has a certificate. One that is not listed is nobody's.
package struct Enrolment: Equatable, Named, Sendable {
    /// Its id, hexadecimal, as certificates have it.
    package let name: [UInt8]
    /// What people call it.
    package let title: [UInt8]
    package static let lifeSecondsMax: Int64 = 366 * 86_400
    package let role: ReservedRole
    /// SHA-256 of the public key that it began with.
    package let key: [UInt8]
    /// How long each of its certificates is good.
    package let lifeSeconds: Int64
    /// Until when the newest one is good: milliseconds since 1970.
    package var until: Int64
    /// The CA that signed the newest one.
    package var authority: [UInt8]

    package init(
        name: [UInt8], title: [UInt8], role: ReservedRole, key: [UInt8], lifeSeconds: Int64, until: Int64,
        authority: [UInt8]
    ) {
        self.name = name
        self.title = title
        self.role = role
        self.key = key
        self.lifeSeconds = lifeSeconds
        self.until = until
        self.authority = authority
    }
}

/// What the fabric knows of a member's certificates.
package struct MemberCertificate: Equatable, Named, Sendable {
    /// The member's id, hexadecimal.
    package let name: [UInt8]
    /// Of the newest that it was seen with: milliseconds since 1970.
    package internal(set) var until: Int64 = 0
    /// The CA that signed that.
    package internal(set) var authority: [UInt8] = []
    /// SHA-256 of the public keys that it shows: of the newest certificate, and of one that is on its way.
    package internal(set) var keys: [[UInt8]] = []
    /// CAs whose keys it was given.
    package internal(set) var knows: [[UInt8]] = []

    package init(name: [UInt8]) { self.name = name }
}

/// A member's certificate, as it was seen.
package struct SeenCertificate: Equatable, Sendable {
    /// The member's id, hexadecimal.
    package let member: [UInt8]
    /// Milliseconds since 1970.
    package let until: Int64
    /// The CA that signed it.
    package let authority: [UInt8]
    /// SHA-256 of its public key.
    package let key: [UInt8]

    package init(member: [UInt8], until: Int64, authority: [UInt8], key: [UInt8]) {
        self.member = member
        self.until = until
        self.authority = authority
        self.key = key
    }

    /// If the fabric knows it already.
    package func isNoted(in trust: TrustState) -> Bool {
        guard let known = trust.members[member] else { return false }
        return known.until == until && known.authority == authority && known.keys.contains(key)
    }
}

/// What changes about certificates. Times are milliseconds since 1970 by the clock of the member that proposes.
package enum TrustChange: Equatable, Sendable {
    /// Adds a CA. Refused unless `after` is the newest one; empty when there is none yet.
    case addAuthority(Authority, after: [UInt8])
    /// Nobody believes it any more. Refused while members need it, but for those `leaving`, who are none any more.
    case removeAuthority([UInt8], leaving: [[UInt8]])
    case addToken(JoinToken, at: Int64)
    case removeToken([UInt8])
    /// Lists a client who comes by it at once: a revocation finds either both or neither.
    case useToken(TokenUse, for: Enrolment?)
    case enrol(Enrolment, at: Int64)
    /// A listed certificate was signed anew, by this CA: what it may do stays as it is.
    case renew([UInt8], until: Int64, authority: [UInt8])
    case revoke([UInt8], at: Int64)
    case noteMember(SeenCertificate)
    /// A member gets a certificate for a key. It shows another until it has that, and has to be known by it.
    case expectKey([UInt8], shown: [UInt8], member: [UInt8])
    /// A member gets a CA's key.
    case noteKnower(member: [UInt8], authority: [UInt8])
    /// The member is gone.
    case forgetMember([UInt8])
}
