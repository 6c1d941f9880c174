/// Whose certificates count: a fabric's own CAs, what they were asked to sign, and what lets newcomers ask. Empty where operators bring
/// certificates of their own.
package struct TrustState: Equatable, Sendable {
    /// One, and the next one while members go over to it.
    package static let authoritiesMax = 2
    package static let tokensMax = 10_000
    package static let usesMax: UInt64 = 1000
    package static let enrolmentsMax = 100_000
    private static let keysMax = 4
    /// Of one user at a time.
    private static let loginsMax = 8
    /// What is past its time by so much is of no interest any more.
    private static let restMilliseconds: Int64 = 30 * 86_400_000

    /// By the digest of their keys.
    package internal(set) var authorities = NameTable<Authority>()
    package internal(set) var tokens = NameTable<JoinToken>()
    package internal(set) var enrolments = NameTable<Enrolment>()
    package internal(set) var members = NameTable<MemberCertificate>()
    package internal(set) var revokedKeys = NameTable<RevokedKey>()
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
        case .addAuthority(let authority, let newest): try add(authority, after: newest)
        case .removeAuthority(let name, let leaving): try remove(name, leaving)
        case .addToken(let token, let now): try add(token, now)
        case .removeToken(let name): guard tokens.remove(name) else { throw .noJoinToken }
        case .useToken(let use, let enrolment):
            let token = try token(after: use)
            guard enrolment != nil || token != tokens[use.token] else { return }
            if let enrolment { try enrol(enrolment, use.at) }
            tokens.put(token)
        case .enrol(let enrolment, let now): try enrol(enrolment, now)
        case .renew(let name, let until, let authority):
            guard var enrolment = enrolments[name] else { throw .noEnrolment }
            (enrolment.until, enrolment.authority) = (until, authority)
            enrolments.put(enrolment)
        case .revoke(let name, let now): try revoke(name, now)
        case .noteMember(let seen):
            guard !seen.isNoted(in: self) else { return }
            adjust(seen.member) { member in
                (member.until, member.authority) = (seen.until, seen.authority)
                member.keys = [seen.key] + member.keys.filter { $0 != seen.key }.prefix(Self.keysMax - 1)
            }
        case .expectKey(let key, let shown, let member):
            // One that comes late changes nothing: the member shows another already.
            guard let known = members[member]?.keys, known.contains(shown), !known.contains(key) else { return }
            adjust(member) { $0.keys = [shown, key] + known.filter { $0 != shown }.prefix(Self.keysMax - 2) }
        case .noteKnower(let member, let authority):
            guard members[member]?.knows.contains(authority) != true, authorities[authority] != nil else { return }
            adjust(member) { $0.knows.append(authority) }
        case .forgetMember(let name):
            guard let member = members[name] else { return }
            _ = members.remove(name)
            forget(member.keys)
        }
        revision += 1
    }

    private mutating func adjust(_ name: [UInt8], _ body: (inout MemberCertificate) -> Void) {
        var member = members[name] ?? MemberCertificate(name: name)
        body(&member)
        members.put(member)
    }

    private mutating func remove(_ name: [UInt8], _ leaving: [[UInt8]]) throws(AccessRefusal) {
        guard authorities[name] != nil else { throw .noAuthority }
        // Without any, everybody would be let in.
        guard authorities.all.count > 1 else { throw .lastAuthority }
        // The newest is given up only if nobody has its key, another if nobody shows what it signed.
        let isNewest = name == newest?.name
        let isNeeded = members.all.contains { member in
            !leaving.contains(member.name) && (isNewest ? member.knows.contains(name) : member.authority == name)
        }
        if isNeeded { throw .authorityInUse }
        _ = authorities.remove(name)
        for member in members.all where member.knows.contains(name) {
            adjust(member.name) { $0.knows.removeAll { $0 == name } }
        }
    }

    /// Lists a certificate by which a user logs in: a few of each, so that nobody takes all the room.
    mutating func logIn(_ enrolment: Enrolment, at now: Int64) throws(AccessRefusal) {
        let own = enrolments.all.filter { $0.role == enrolment.role && $0.name != enrolment.name }
        let newest = own.filter { $0.until > now }.sorted { $0.until > $1.until }.prefix(Self.loginsMax - 1)
        for old in own where !newest.contains(old) { _ = enrolments.remove(old.name) }
        try enrol(enrolment, now)
        revision += 1
    }

    /// Certificates by which a user logged in, or anybody did, end with the password, as tokens do.
    mutating func endLogins(of user: [UInt8]? = nil) {
        let wanted = user.map { ReservedRole.user(String(decoding: $0, as: UTF8.self)) }
        for enrolment in enrolments.all where !enrolment.role.canBeGiven && wanted ?? enrolment.role == enrolment.role {
            _ = enrolments.remove(enrolment.name)
            revision += 1
        }
    }

    /// Whose certificates counted in a fabric of before counts for nothing in one that begins anew.
    package mutating func clear() {
        let last = revision
        self = TrustState()
        revision = last + 1
    }

    /// Whoever has these keys does not come again.
    private mutating func forget(_ keys: [[UInt8]]) {
        for var token in tokens.all where token.returning.contains(where: keys.contains) {
            token.returning.removeAll(where: keys.contains)
            tokens.put(token)
        }
    }

    private mutating func add(_ authority: Authority, after known: [UInt8]) throws(AccessRefusal) {
        guard authorities[authority.name] == nil else { throw .authorityExists }
        // Two members may make a CA at once; only the first is taken.
        guard known == newest?.name ?? [] else { throw isThere ? .otherAuthority : .noAuthorityAtAll }
        guard authorities.all.count < Self.authoritiesMax else { throw .rotationUnderWay }
        var authority = authority
        authority.number = (newest?.number ?? 0) + 1
        authorities.put(authority)
    }

    private mutating func add(_ token: JoinToken, _ now: Int64) throws(AccessRefusal) {
        guard tokens[token.name] == nil, token.until > now, (1...Self.usesMax).contains(token.usesMax) else {
            throw .badJoinToken
        }
        // By a clock that may be wrong: only what was over long ago makes room.
        for old in tokens.all where old.until < now - Self.restMilliseconds { _ = tokens.remove(old.name) }
        guard tokens.all.count < Self.tokensMax else { throw .tooManyTokens }
        tokens.put(token)
    }

    /// The token once it is used so: the same key uses it once, however often it comes.
    private func token(after use: TokenUse) throws(AccessRefusal) -> JoinToken {
        var token = try token(use.token, secret: use.secret, for: use.key, at: use.at)
        guard !token.returning.contains(use.key) else { return token }
        token.uses += 1
        token.returning.append(use.key)
        return token
    }

    /// The token that a secret is of, if it still lets a key in.
    package func token(
        _ name: [UInt8], secret: [UInt8], for key: [UInt8], at now: Int64
    ) throws(AccessRefusal) -> JoinToken {
        guard let token = tokens[name], token.digest == secret, token.until > now,
            token.usesLeft > 0 || token.returning.contains(key)
        else { throw .badJoinToken }
        try expectNotRevoked(key, now)
        return token
    }

    private func expectNotRevoked(_ key: [UInt8], _ now: Int64) throws(AccessRefusal) {
        if let revoked = revokedKeys[key], revoked.until > now { throw .revokedKey }
    }

    private mutating func revoke(_ name: [UInt8], _ now: Int64) throws(AccessRefusal) {
        guard let enrolment = enrolments[name] else { throw .noEnrolment }
        _ = enrolments.remove(name)
        for old in revokedKeys.all where old.until < now - Self.restMilliseconds { _ = revokedKeys.remove(old.name) }
        // A revocation is never refused: the key whose certificates end first makes room.
        if revokedKeys.all.count >= Self.enrolmentsMax, let first = revokedKeys.all.min(by: { $0.until < $1.until }) {
            _ = revokedKeys.remove(first.name)
        }
        revokedKeys.put(RevokedKey(name: enrolment.key, until: enrolment.until))
    }

    private mutating func enrol(_ enrolment: Enrolment, _ now: Int64) throws(AccessRefusal) {
        try expectNotRevoked(enrolment.key, now)
        if enrolments.all.count >= Self.enrolmentsMax {
            for old in enrolments.all where old.until < now - Self.restMilliseconds { _ = enrolments.remove(old.name) }
        }
        guard enrolments[enrolment.name] != nil || enrolments.all.count < Self.enrolmentsMax else {
            throw .tooManyEnrolments
        }
        enrolments.put(enrolment)
    }
}

extension TrustChange {
    /// Whether operators may ask for it: they let nodes and observers in.
    package var isForOperators: Bool {
        switch self {
        case .addToken(let token, _): token.role.isForOperators
        case .removeToken: true
        default: false
        }
    }

    /// What was changed, in words without secrets; nil for what changes nobody's rights.
    var summary: String? {
        func text(_ name: [UInt8]) -> String { String(decoding: name, as: UTF8.self) }
        func short(_ digest: [UInt8]) -> String {
            digest.prefix(8).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
        switch self {
        case .addAuthority(let authority, _): return "the fabric's CA \(short(authority.name)) is believed"
        case .removeAuthority(let name, _): return "the fabric's CA \(short(name)) is believed no more"
        case .addToken(let token, _):
            return "join token \(text(token.name)) made for \(token.usesMax) \(token.role.text)"
        case .removeToken(let name): return "join token \(text(name)) revoked"
        case .useToken(let use, let enrolment):
            let given = enrolment.map { "; \(TrustChange.enrol($0, at: use.at).summary ?? "")" } ?? ""
            return "join token \(text(use.token)) used for key \(short(use.key))\(given)"
        case .enrol(let enrolment, _):
            return "certificate of \(text(enrolment.title)) (\(text(enrolment.name))) issued for \(enrolment.role.text)"
        case .renew(let name, _, _): return "certificate \(text(name)) renewed"
        case .revoke(let name, _): return "certificate \(text(name)) revoked"
        case .noteKnower(let member, let authority):
            return "member \(text(member)) gets the key of the fabric's CA \(short(authority))"
        case .noteMember, .expectKey, .forgetMember: return nil
        }
    }
}
