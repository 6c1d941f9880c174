import Access
import Bytes
import Fabric
import Testing

@testable import MVCC

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
private func key(_ text: String) -> KeyRange { KeyRange(start: bytes(text), end: .single) }

/// What is written on somebody's behalf, and looked at where it is applied.
@Suite("Rights where commands are applied")
struct AuthorTests {
    private let folder: TemporaryFolder
    private let rig: Rig
    private let trace = Trace(at: 1, by: "test")

    /// alice may write a and read b, in a fabric where rights count; root may do all.
    init() throws {
        folder = try TemporaryFolder()
        rig = try Rig(path: folder.path + "/kv.db")
        let changes: [AccessChange] = [
            .addUser(AccessState.root, passwordHash: nil), .grantRole(AccessState.root, user: AccessState.root),
            .addUser(bytes("alice"), passwordHash: nil), .addRole(bytes("r")),
            .grantRole(bytes("r"), user: bytes("alice")),
            .grantPermission(Permission(kind: 1, key: bytes("a"), end: []), role: bytes("r")),
            .grantPermission(Permission(kind: 0, key: bytes("b"), end: []), role: bytes("r")), .enable,
        ]
        _ = try rig.apply(.raiseVersion(2))
        for change in changes { #expect(try rig.apply(.access(change, trace)) == .success(.done)) }
    }

    private func token(for role: JoinRole) -> JoinToken {
        JoinToken(name: bytes(role.text), digest: [9], role: role, domain: [], until: 100, usesMax: 1)
    }

    private func author(_ name: String, behind: UInt64 = 0) -> Author {
        Author(name: bytes(name), revision: rig.store.access.revision - behind)
    }

    private func refusal(_ command: Command, by author: Author?) throws -> AccessRefusal? {
        guard case .failure(.access(let refusal)) = try rig.apply(command, by: author) else { return nil }
        return refusal
    }

    private func put(_ key: String, lease: Int64 = 0, wantsPrevious: Bool = false) -> PutRequest {
        var put = PutRequest(key: bytes(key), value: [1])
        put.lease = lease
        put.wantsPrevious = wantsPrevious
        return put
    }

    @Test("Who has a certificate writes while it is listed, and while users do not count")
    func certificates() throws {
        func trust(_ change: TrustChange) throws {
            #expect(try rig.apply(.access(.trust(change), trace)) == .success(.done))
        }
        for (name, role) in [("c", ReservedRole.client), ("o", .operator), ("r", .root)] {
            let enrolment = Enrolment(
                name: bytes(name), title: bytes(name), role: role, key: bytes(name), lifeSeconds: 60, until: 100,
                authority: [1]
            )
            try trust(.enrol(enrolment, at: 1))
        }
        func by(_ name: String) -> Author { Author(certificate: bytes(name)) }
        #expect(try refusal(.put(put("a")), by: by("c")) == .denied, "users count")
        // Whoever brings nodes in brings nobody else in, and renews its own certificate alone.
        let node = TrustChange.addToken(token(for: .client(.node("e1"))), at: 1)
        for (change, whoMay) in [
            (node, ["o", "r"]), (.addToken(token(for: .witness), at: 1), ["r"]), (.removeToken([8]), ["o", "r"]),
            (.revoke([8], at: 1), ["r"]), (.renew(bytes("c"), until: 200, authority: [1]), ["c", "r"]),
        ] {
            for name in ["c", "o", "r"] {
                let found = try refusal(.access(.trust(change), trace), by: by(name))
                #expect(found != (whoMay.contains(name) ? .denied : nil), "\(change) by \(name)")
                #expect(found == .denied || whoMay.contains(name), "\(change) by \(name)")
            }
        }
        #expect(try rig.apply(.access(.disable, trace), by: author("root")) == .success(.done))
        #expect(try refusal(.put(put("a")), by: by("c")) == nil)
        #expect(try refusal(.put(put("a")), by: by("r")) == nil)
        #expect(try refusal(.put(put("a")), by: by("o")) == .denied)
        #expect(try refusal(.access(.addRole(bytes("x")), trace), by: by("c")) == .denied)
        #expect(try refusal(.access(.addRole(bytes("x")), trace), by: by("r")) == nil)
        try trust(.revoke(bytes("c"), at: 1))
        #expect(try refusal(.put(put("a")), by: by("c")) == .noCertificate)
        // A user of the same name is somebody else.
        #expect(try refusal(.put(put("a")), by: by("alice")) == .noCertificate)
        var writer = ByteWriter(reserving: 16)
        let authored = AuthoredCommand(.put(put("a")), by: by("c"))
        authored.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(try AuthoredCommand(from: &reader) == authored)
        #expect(authored.versionNeeded == FabricVersion.access)
    }

    @Test("Who may write may; nobody else, and nobody by what was true before")
    func puts() throws {
        #expect(try refusal(.put(put("a")), by: author("alice")) == nil)
        #expect(try refusal(.put(put("b")), by: author("root")) == nil)
        #expect(try refusal(.put(put("b")), by: author("alice")) == .denied)
        #expect(try refusal(.put(put("a", wantsPrevious: true)), by: author("alice")) == .denied)
        #expect(try refusal(.put(put("a")), by: author("bob")) == .denied)
        #expect(try refusal(.put(put("a")), by: nil) == .emptyUserName)
        #expect(try refusal(.put(put("a")), by: Author(name: bytes("alice"), revision: 0)) == .emptyUserName)
        #expect(try refusal(.put(put("a")), by: author("alice", behind: 1)) == .oldRevision)
        #expect(try refusal(.put(put("a")), by: author("root", behind: 1)) == .oldRevision)
        let count = rig.store.meta.keyCount
        #expect(count == 2)
    }

    @Test("A node's heartbeat counts while users do, and nobody else renews its lease")
    func heartbeats() throws {
        let spec = NodeSpec(name: "e1", domain: "east")
        #expect(try refusal(.fabric(FabricCommand(.putNode(spec), trace)), by: nil) == nil)
        let lease = try #require(rig.store.fabric.node("e1")?.lease)
        guard case .success(.lease) = try rig.apply(.leaseRenew(lease), by: nil) else {
            Issue.record("the heartbeat was refused")
            return
        }
        #expect(try refusal(.leaseRenew(lease), by: author("alice")) == .denied)
        #expect(try refusal(.leaseRenew(lease), by: author("root")) == .denied)
    }

    @Test("Both branches of a txn count, whichever is taken, however deep")
    func txns() throws {
        let inner = TxnRequest(success: [.put(put("b"))])
        let denied = [
            TxnRequest(success: [.put(put("b"))]), TxnRequest(failure: [.put(put("b"))]),
            TxnRequest(success: [.txn(TxnRequest(failure: [.txn(inner)]))]),
            TxnRequest(
                compares: [Compare(range: key("a"), relation: .equal, operand: .create(0))], success: [.put(put("a"))]),
            TxnRequest(success: [.range(RangeRequest(range: key("a"))), .put(put("a"))]),
            TxnRequest(success: [.deleteRange(DeleteRangeRequest(range: key("b")))]),
        ]
        for txn in denied { #expect(try refusal(.txn(txn), by: author("alice")) == .denied, "\(txn)") }
        let allowed = TxnRequest(
            compares: [Compare(range: key("b"), relation: .equal, operand: .create(0))],
            success: [.put(put("a")), .range(RangeRequest(range: key("b")))])
        #expect(try refusal(.txn(allowed), by: author("alice")) == nil)
        #expect(try refusal(.txn(TxnRequest()), by: nil) == nil)
    }

    @Test("A lease is its keys: who may not write one of them neither adds a key nor ends it")
    func leases() throws {
        _ = try rig.apply(.leaseGrant(id: 7, ttl: 60), by: author("alice"))
        #expect(try refusal(.put(put("a", lease: 7)), by: author("alice")) == nil)
        #expect(try refusal(.leaseRenew(7), by: author("alice")) == nil)
        #expect(try refusal(.put(put("b", lease: 7)), by: author("root")) == nil)
        #expect(try refusal(.put(put("a", lease: 7)), by: author("alice")) == .denied)
        #expect(try refusal(.leaseRenew(7), by: author("alice")) == .denied)
        #expect(try refusal(.leaseRevoke(7), by: author("alice")) == .denied)
        #expect(try refusal(.leaseRevoke(7), by: nil) == .emptyUserName)
        #expect(try refusal(.leaseRevoke(7), by: author("root")) == nil)
    }

    @Test("Only root changes users and roles, with a token of any age")
    func changes() throws {
        let change = Command.access(.addRole(bytes("x")), trace)
        #expect(try refusal(change, by: nil) == .emptyUserName)
        #expect(try refusal(change, by: author("alice")) == .denied)
        #expect(try refusal(change, by: author("root", behind: 3)) == nil)
    }

    @Test("While rights do not count, everybody may")
    func off() throws {
        _ = try rig.apply(.access(.disable, trace), by: author("root"))
        #expect(try refusal(.put(put("b")), by: author("alice")) == nil)
        #expect(try refusal(.put(put("b")), by: nil) == nil)
    }

    @Test("Tokens are told of once, and end with what they came from")
    func tokens() throws {
        _ = rig.store.takeTokenEvents()
        let token = IssuedToken(digest: [1], user: bytes("alice"), revision: rig.store.access.revision, issued: 5)
        #expect(try refusal(.access(.issueToken(token), trace), by: nil) == nil)
        #expect(rig.store.takeTokenEvents() == [.issued(token)] && rig.store.takeTokenEvents().isEmpty)
        let old = IssuedToken(digest: [1], user: bytes("alice"), revision: token.revision - 1, issued: 5)
        #expect(try refusal(.access(.issueToken(old), trace), by: nil) == .oldRevision)
        _ = try rig.apply(.access(.changePassword(bytes("alice"), passwordHash: [1]), trace), by: author("root"))
        _ = try rig.apply(.access(.deleteUser(bytes("alice")), trace), by: author("root"))
        _ = try rig.apply(.access(.disable, trace), by: author("root"))
        #expect(
            rig.store.takeTokenEvents() == [.ended(user: bytes("alice")), .ended(user: bytes("alice")), .allEnded])
    }

    @Test("A command keeps its author in bytes; what only members make has none")
    func bytesOfCommands() throws {
        func decoded(_ authored: AuthoredCommand) throws -> AuthoredCommand {
            var writer = ByteWriter()
            authored.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            return try AuthoredCommand(from: &reader)
        }
        let alice = Author(name: bytes("alice"), revision: 300)
        for command in [Command.put(put("a")), .leaseRevoke(7), .access(.enable, trace)] {
            for author in [nil, alice] {
                let authored = AuthoredCommand(command, by: author)
                #expect(try decoded(authored) == authored)
            }
        }
        for command in [
            Command.raiseVersion(2), .leaseExpire(term: 1, []),
            .publish(memberID: 1, MemberAttributes(name: "", clientURLs: [])),
        ] {
            #expect(throws: DecodingFault.self) { try decoded(AuthoredCommand(command, by: alice)) }
        }
        var twice = ByteWriter()
        for _ in 0..<2 {
            twice.byte(AuthoredCommand.kind)
            alice.encode(into: &twice)
        }
        Command.put(put("a")).encode(into: &twice)
        var reader = ByteReader(twice.bytes)
        #expect(throws: DecodingFault.self) { try AuthoredCommand(from: &reader) }
        let old = try Rig(path: folder.path + "/old.db")
        #expect(try old.apply(.put(put("a")), by: alice) == .failure(.needsVersion(2)))
    }
}
