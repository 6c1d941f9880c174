/// Whose certificates count: a fabric's own CAs, what they were asked to sign, and what lets newcomers ask. Empty where operators bring
/// certificates of their own.
package struct TrustState: Equatable, Sendable {
    /// One, and the next one while members go over to it.
    package static let authoritiesMax = 2
    package static let tokensMax = 10_000
    package static let usesMax: UInt64 = 1000
    package static let enrolmentsMax = 100_000

    /// By the digest of their keys.
    package internal(set) var authorities = NameTable<Authority>()
    package internal(set) var tokens = NameTable<JoinToken>()
    package internal(set) var enrolments = NameTable<Enrolment>()
    package internal(set) var members = NameTable<MemberCertificate>()
    /// Rises with each change: what was allowed before one is looked at again.
    package internal(set) var revision: UInt64 = 0

    package init() {}

    /// If the fabric has a CA of its own: then nobody without a name may do anything.
    package var isThere: Bool { !authorities.all.isEmpty }

    /// The one that members sign with.
    package var newest: Authority? { authorities.all.max { $0.number < $1.number } }

    /// Carries out a change, or refuses it and stays what it is.
    mutating func apply(_ change: TrustChange) throws(AccessRefusal) {
        switch change {
        case .addAuthority(let authority): try add(authority)
        case .removeAuthority(let name, let leaving):
            guard authorities[name] != nil else { throw .noAuthority }
            guard members.all.allSatisfy({ $0.authority != name || leaving.contains($0.name) }) else {
                throw .authorityInUse
            }
            // Without any, everybody would be let in.
            guard authorities.all.count > 1 else { throw .lastAuthority }
            _ = authorities.remove(name)
        case .addToken(let token, let now): try add(token, now)
        case .removeToken(let name): guard tokens.remove(name) else { throw .noJoinToken }
        case .useToken(let name, let secret, let key, let now): guard try use(name, secret, key, now) else { return }
        case .enrol(let enrolment, let now): try enrol(enrolment, now)
        case .revoke(let name): guard enrolments.remove(name) else { throw .noEnrolment }
        case .noteMember(let certificate):
            if members[certificate.name] == certificate { return }
            members.put(certificate)
        case .forgetMember(let name): guard members.remove(name) else { return }
        }
        revision += 1
    }

    private mutating func add(_ authority: Authority) throws(AccessRefusal) {
        guard authorities[authority.name] == nil else { throw .authorityExists }
        guard authorities.all.count < Self.authoritiesMax else { throw .rotationUnderWay }
        var authority = authority
        authority.number = (newest?.number ?? 0) + 1
        authorities.put(authority)
    }

    private mutating func add(_ token: JoinToken, _ now: Int64) throws(AccessRefusal) {
        guard tokens[token.name] == nil, token.until > now, (1...Self.usesMax).contains(token.usesMax) else {
            throw .badJoinToken
        }
        for old in tokens.all where old.until <= now { _ = tokens.remove(old.name) }
        guard tokens.all.count < Self.tokensMax else { throw .tooManyTokens }
        tokens.put(token)
    }

    /// Answers if that is new.
    private mutating func use(
        _ name: [UInt8], _ secret: [UInt8], _ key: [UInt8], _ now: Int64
    ) throws(AccessRefusal) -> Bool {
        guard var token = tokens[name], token.digest == secret, token.until > now else { throw .badJoinToken }
        if token.usedBy.contains(key) { return false }
        guard token.usesLeft > 0 else { throw .badJoinToken }
        token.usedBy.append(key)
        tokens.put(token)
        return true
    }

    private mutating func enrol(_ enrolment: Enrolment, _ now: Int64) throws(AccessRefusal) {
        for old in enrolments.all where old.until <= now { _ = enrolments.remove(old.name) }
        guard enrolments[enrolment.name] != nil || enrolments.all.count < Self.enrolmentsMax else {
            throw .tooManyEnrolments
        }
        enrolments.put(enrolment)
    }
}

extension TrustChange {
    /// What was changed, in words without secrets; nil for what changes nobody's rights.
    var summary: String? {
        func text(_ name: [UInt8]) -> String { String(decoding: name, as: UTF8.self) }
        func short(_ digest: [UInt8]) -> String {
            digest.prefix(8).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
        switch self {
        case .addAuthority(let authority): return "the fabric's CA \(short(authority.name)) is believed"
        case .removeAuthority(let name, _): return "the fabric's CA \(short(name)) is believed no more"
        case .addToken(let token, _):
            return "join token \(text(token.name)) made for \(token.usesMax) \(token.role.text)"
        case .removeToken(let name): return "join token \(text(name)) revoked"
        case .useToken(let name, _, let key, _): return "join token \(text(name)) used for key \(short(key))"
        case .enrol(let enrolment, _):
            return "certificate of \(text(enrolment.title)) (\(text(enrolment.name))) issued for \(enrolment.role.text)"
        case .revoke(let name): return "certificate \(text(name)) revoked"
        case .noteMember, .forgetMember: return nil
        }
    }
}
