import Access
import Bytes
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("CAs, join tokens and certificates")
struct TrustStateTests {
    private var state = AccessState()
    private let authority = Authority(name: [1], certificate: [2, 3])

    private mutating func expect(_ change: TrustChange, _ refusal: AccessRefusal?) {
        let before = state
        do throws(AccessRefusal) {
            try state.apply(.trust(change))
            #expect(refusal == nil, "\(change)")
        } catch {
            #expect(error == refusal, "\(change)")
            #expect(state == before, "what is refused changes nothing")
        }
        #expect(state.revision == 1, "etcd's revision tells of users and roles only")
    }

    private func token(
        _ name: String = "t", role: JoinRole = .voter, until: Int64 = 100, uses: UInt64 = 1
    ) -> JoinToken {
        JoinToken(name: bytes(name), digest: [9], role: role, domain: bytes("east"), until: until, usesMax: uses)
    }

    private func enrolment(_ name: String, until: Int64 = 100, key: UInt8 = 1) -> Enrolment {
        Enrolment(
            name: bytes(name), title: bytes("node"), role: .node("e1"), key: [key], lifeSeconds: 60, until: until,
            authority: [1])
    }

    private func use(
        _ key: UInt8, of name: String = "t", secret: UInt8 = 9, at now: Int64 = 50, for enrolment: Enrolment? = nil
    ) -> TrustChange {
        .useToken(TokenUse(token: bytes(name), secret: [secret], key: [key], at: now), for: enrolment)
    }

    private func renew(_ name: String, until: Int64) -> TrustChange {
        .renew(bytes(name), until: until, authority: [1])
    }

    private func seen(_ member: UInt8, by authority: UInt8 = 1, key: UInt8 = 7) -> TrustChange {
        .noteMember(SeenCertificate(member: [member], until: 5, authority: [authority], key: [key]))
    }

    @Test("Rights are looked at from the first CA on, and there is one from then on")
    mutating func authorities() {
        #expect(!state.judges)
        expect(.removeAuthority([1], leaving: []), .noAuthority)
        expect(.addAuthority(authority, after: [8]), .noAuthorityAtAll)
        expect(.addAuthority(authority, after: []), nil)
        #expect(state.judges && !state.isEnabled)
        expect(.addAuthority(authority, after: [1]), .authorityExists)
        expect(.addAuthority(Authority(name: [0], certificate: []), after: []), .otherAuthority)
        expect(.removeAuthority([1], leaving: []), .lastAuthority)
        expect(.addAuthority(Authority(name: [0], certificate: [], number: 77), after: [1]), nil)
        #expect(state.trust.newest == Authority(name: [0], certificate: [], number: 2))
        expect(.addAuthority(Authority(name: [9], certificate: []), after: [0]), .rotationUnderWay)
        expect(.removeAuthority([1], leaving: []), nil)
        expect(.addAuthority(authority, after: [0]), nil)
        #expect(state.trust.newest?.name == [1])
        // [1] is the newest now: given up it can be only if nobody has its key, and [0] only if nobody shows what it signed.
        expect(seen(5, by: 0), nil)
        expect(.noteKnower(member: [6], authority: [1]), nil)
        expect(.noteKnower(member: [6], authority: [33]), nil)
        #expect(state.trust.members[[6]]?.knows == [[1]], "of a CA that nobody believes nothing is noted")
        expect(.removeAuthority([0], leaving: [[6]]), .authorityInUse)
        expect(.removeAuthority([1], leaving: [[5]]), .authorityInUse)
        expect(.removeAuthority([1], leaving: [[6]]), nil)
        #expect(state.trust.members[[6]]?.knows == [])
        expect(.addAuthority(authority, after: [0]), nil)
        expect(.removeAuthority([0], leaving: [[5], [77]]), nil)
    }

    @Test("Of a member it is known which keys it shows: of its newest certificate, and of the one on its way")
    mutating func members() {
        let revision = state.trust.revision
        expect(seen(5), nil)
        expect(seen(5), nil)
        #expect(state.trust.revision == revision + 1, "what is known already changes nothing")
        expect(.expectKey([8], shown: [7], member: [5]), nil)
        expect(.expectKey([6], shown: [1], member: [5]), nil)
        #expect(state.trust.members[[5]]?.keys == [[7], [8]], "one that shows what nobody knows gets nothing")
        expect(seen(5, key: 8), nil)
        expect(.expectKey([9], shown: [7], member: [5]), nil)
        #expect(state.trust.members[[5]]?.keys == [[7], [9], [8]], "one that comes late locks nobody out")
        expect(.forgetMember([5]), nil)
        expect(.forgetMember([5]), nil)
        #expect(state.trust.members.all.isEmpty)
    }

    @Test("A token lets in as many keys as it says, each as often as it asks, until its time")
    mutating func tokens() {
        expect(.addToken(token(until: 5), at: 5), .badJoinToken)
        expect(.addToken(token(uses: 0), at: 5), .badJoinToken)
        expect(.addToken(token(uses: TrustState.usesMax + 1), at: 5), .badJoinToken)
        expect(.addToken(token(uses: 2), at: 5), nil)
        expect(.addToken(token(), at: 5), .badJoinToken)
        expect(use(1, secret: 8), .badJoinToken)
        expect(use(1, of: "u"), .badJoinToken)
        expect(use(1), nil)
        expect(use(1), nil)
        expect(use(2), nil)
        expect(use(3), .badJoinToken)
        expect(use(2), nil)
        #expect(state.trust.tokens[bytes("t")]?.usesLeft == 0)
        expect(use(2, at: 100), .badJoinToken)
        expect(.removeToken(bytes("u")), .noJoinToken)
        expect(.removeToken(bytes("t")), nil)
        expect(use(1), .badJoinToken)
        // What was over long ago makes room; what is over by a clock that may be wrong does not.
        expect(.addToken(token("a", until: 10), at: 5), nil)
        expect(.addToken(token("b", until: 1000), at: 11), nil)
        #expect(state.trust.tokens.all.map(\.name) == [bytes("a"), bytes("b")])
        let late = 31 * 86_400_000 as Int64
        expect(.addToken(token("c", until: late + 9), at: late), nil)
        #expect(state.trust.tokens.all.map(\.name) == [bytes("c")])
    }

    @Test("Whoever was taken back does not come again with the same key, by whatever lets others in")
    mutating func returning() {
        expect(.addToken(token(uses: 4), at: 5), nil)
        for key: UInt8 in 2...3 { expect(use(key), nil) }
        expect(use(1, for: enrolment("a", until: 200, key: 1)), nil)
        #expect(state.trust.enrolments[bytes("a")] != nil, "a token lists its bearer at once")
        expect(.revoke(bytes("a"), at: 60), nil)
        expect(use(1), .revokedKey)
        expect(use(1, for: enrolment("a", key: 1)), .revokedKey)
        expect(.enrol(enrolment("b", key: 1), at: 1), .revokedKey)
        expect(seen(5, key: 2), nil)
        expect(.forgetMember([5]), nil)
        expect(use(4), nil)
        expect(use(2), .badJoinToken)
        expect(use(3), nil)
        #expect(state.trust.tokens[bytes("t")]?.usesLeft == 0)
        // Long after the last certificate of the key it is of no interest any more.
        let late = 31 * 86_400_000 as Int64
        expect(.enrol(enrolment("c", until: late, key: 5), at: late), nil)
        expect(.revoke(bytes("c"), at: late), nil)
        expect(.enrol(enrolment("b", key: 1), at: late), nil)
    }

    @Test("A change with times that nobody can reckon with is not read", arguments: [Int64.min, .max, -1 << 54])
    func extremes(_ time: Int64) {
        let changes: [TrustChange] = [
            .addToken(token(until: time), at: 1), .addToken(token(), at: time), use(1, at: time),
            .enrol(enrolment("a", until: time), at: 1), .enrol(enrolment("a"), at: time), renew("a", until: time),
            .revoke(bytes("a"), at: time), use(1, for: enrolment("a", until: time)),
        ]
        for change in changes.map(AccessChange.trust) {
            var writer = ByteWriter(reserving: 16)
            change.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(throws: DecodingFault.self) { try AccessChange(from: &reader) }
        }
    }

    @Test("A renewal changes until when and by which CA, and nothing else")
    mutating func renewals() {
        expect(.enrol(enrolment("a", key: 3), at: 1), nil)
        expect(renew("a", until: 900), nil)
        var renewed = enrolment("a", until: 900, key: 3)
        renewed.authority = [1]
        #expect(state.trust.enrolments[bytes("a")] == renewed)
    }

    @Test("A certificate counts while it is listed")
    mutating func enrolments() {
        expect(.enrol(enrolment("a"), at: 1), nil)
        expect(.enrol(enrolment("a", until: 200), at: 1), nil)
        #expect(state.trust.enrolments[bytes("a")]?.until == 200)
        expect(.enrol(enrolment("b"), at: 200), nil)
        expect(.revoke(bytes("c"), at: 1), .noEnrolment)
        expect(renew("c", until: 300), .noEnrolment)
        expect(renew("b", until: 300), nil)
        expect(.revoke(bytes("b"), at: 1), nil)
        expect(renew("b", until: 400), .noEnrolment)
        #expect(
            state.trust.enrolments.all.map(\.name) == [bytes("a")], "a renewal that was under way brings nobody back")
    }

    @Test("What is written down is read back, and nothing else is; rows alone bring the state back")
    mutating func codec() throws {
        let changes: [TrustChange] = [
            .addAuthority(authority, after: []), .addAuthority(Authority(name: [7], certificate: []), after: [1]),
            .removeAuthority([1], leaving: []),
            .addToken(token(role: .client(.root), uses: 3), at: 4), .addToken(token("w", role: .witness), at: -1),
            use(3, at: 5), use(4, at: 5, for: enrolment("c", key: 4)), .removeToken(bytes("w")),
            .enrol(enrolment("a"), at: 1), .revoke(bytes("a"), at: 7), .enrol(enrolment("b", key: 2), at: 1),
            renew("b", until: 5),
            seen(3), .expectKey([1], shown: [7], member: [3]), .noteKnower(member: [4], authority: [1]),
            .forgetMember([2]),
        ]
        var read = AccessState()
        var rows: [[UInt8]: AccessRow] = [:]
        for change in changes.map(AccessChange.trust) {
            var writer = ByteWriter(reserving: 16)
            change.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(try AccessChange(from: &reader) == change)
            for length in 0..<writer.bytes.count {
                var cut = ByteReader(Array(writer.bytes[..<length]))
                #expect(throws: DecodingFault.self) { try AccessChange(from: &cut) }
            }
            let before = state
            try state.apply(change)
            for row in state.rows(since: before) { rows[[row.kind.rawValue] + row.key] = row }
        }
        for row in rows.values { if let body = row.body { try read.load(row.kind, body) } }
        #expect(read == state)
        for (kind, bytes) in [(UInt8(0), [UInt8]()), (13, []), (3, [0, 0, 5] + Array("voter!".utf8))] {
            var reader = ByteReader([14, kind] + bytes)
            #expect(throws: DecodingFault.self) { try AccessChange(from: &reader) }
        }
    }

    @Test("A login ends with the password, and with the user")
    mutating func logins() throws {
        func logIn(_ id: String, as user: String, until: Int64 = 100) -> AccessChange {
            .logIn(
                Enrolment(
                    name: bytes(id), title: bytes(user), role: .user(user), key: [1], lifeSeconds: 60, until: until,
                    authority: [1]), revision: state.revision, at: 1)
        }
        #expect(throws: AccessRefusal.notEnabled) { try state.apply(logIn("a", as: "al")) }
        try state.apply(.addUser(AccessState.root, passwordHash: nil))
        try state.apply(.grantRole(AccessState.root, user: AccessState.root))
        for user in ["al", "bo"] { try state.apply(.addUser(bytes(user), passwordHash: [1])) }
        try state.apply(.enable)
        for (id, user) in [("a", "al"), ("b", "bo"), ("c", "al")] { try state.apply(logIn(id, as: user)) }
        #expect(throws: AccessRefusal.noUser) { try state.apply(logIn("d", as: "nobody")) }
        let late = logIn("d", as: "al")
        let before = state.trust.revision
        try state.apply(.changePassword(bytes("al"), passwordHash: [2]))
        #expect(state.trust.enrolments.all.map(\.name) == [bytes("b")] && state.trust.revision == before + 2)
        #expect(throws: AccessRefusal.oldRevision) { try state.apply(late) }
        for number in 0..<20 { try state.apply(logIn("l\(number)", as: "al", until: 100 + Int64(number))) }
        #expect(state.trust.enrolments.all.count == 9, "a few of each user")
        try state.apply(.deleteUser(bytes("bo")))
        #expect(state.trust.enrolments[bytes("b")] == nil)
        try state.apply(.disable)
        #expect(state.trust.enrolments.all.isEmpty)
    }

    @Test("A user cannot have the roles that only certificates have")
    mutating func roles() throws {
        for text in [
            "voter", "learner", "witness", "member:1f", "weft:client", "weft:operator", "weft:observer", "weft:node:e1",
            "root",
        ] {
            #expect(JoinRole(text)?.text == text)
        }
        for text in ["", "user:al", "member:", "member:01", "member:x", "weft:node:", "weft:nothing", "Voter"] {
            #expect(JoinRole(text) == nil, "\(text)")
        }
        try state.apply(.addUser(bytes("alice"), passwordHash: nil))
        #expect(throws: AccessRefusal.noRole) {
            try state.apply(.grantRole(bytes("weft:client"), user: bytes("alice")))
        }
        try state.apply(.grantRole(bytes("weft:node:e1"), user: bytes("alice")))
    }
}
