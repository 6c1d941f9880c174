import Access
import Bytes
import Fabric
import Testing

@testable import MVCC

/// The fabric's version: what it opens, and what stays as it was.
@Suite struct VersionTests {
    private let trace = Trace(at: 1, by: "test")

    private func node(_ name: String) -> Command {
        .fabric(FabricCommand(.putNode(NodeSpec(name: name, domain: "east", ttl: 60)), trace))
    }

    @Test(
        "A fabric of version 1 keeps its nodes' leases apart from clients' ids, and gives that room back when it rises")
    func leasesMove() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        _ = try rig.apply(node("e1"))
        let before = try #require(rig.store.fabric.node("e1")?.lease)
        let high: Int64 = 0x7fff_0000_0000_0001
        #expect(before == high)
        #expect(try rig.apply(.leaseGrant(id: high + 5, ttl: 60)) == .failure(.leaseExists))
        #expect(try rig.apply(.raiseVersion(2)) == .success(.done))
        let after = try #require(rig.store.fabric.node("e1")?.lease)
        #expect(after < 0 && rig.store.leases.lease(after) != nil)
        #expect(rig.store.leases.lease(before) == nil)
        guard case .success(.lease) = try rig.apply(.leaseGrant(id: high, ttl: 60)) else {
            Issue.record("a client's id is still taken")
            return
        }
        // It does not fall again, and what is stored says so.
        #expect(try rig.apply(.raiseVersion(1)) == .success(.done))
        #expect(rig.store.meta.version == 2)
        try rig.checkpoint()
        #expect(try rig.reader.meta().version == 2)
    }

    @Test("An image without keys tells the fabric's version")
    func bareImage() throws {
        let folder = try TemporaryFolder()
        var meta = StateMeta(clusterID: 3)
        meta.version = 2
        try StateWriter.writeBare(meta, to: folder.path + "/bare.db")
        #expect(try StateReader(path: folder.path + "/bare.db", cacheBytes: 1 << 20).meta().version == 2)
    }

    @Test("A txn that fails half-way gives back the memory that its first ranges took", arguments: [10, 100_000])
    func failedTxn(valueBytes: Int) throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        _ = try rig.apply(.put(PutRequest(key: [1], value: [UInt8](repeating: 7, count: valueBytes))))
        let whole = RangeRequest(range: KeyRange(start: [1], end: .single))
        var future = whole
        future.revision = 1 << 50
        let shared = MemoryBudget(bytesMax: 1 << 20)
        for request in [[whole, future], [whole]] {
            let txn = TxnRequest(success: request.map { .range($0) })
            _ = try? rig.store.view().txn(txn, rig.reader, budget: AnswerBudget(shared: shared))
            #expect(shared.bytesTaken == 0)
        }
    }

    @Test("What members say of their release is stored, and an earlier form of the state is read")
    func releases() throws {
        var meta = StateMeta(clusterID: 3)
        meta.attributes = [(7, MemberAttributes(name: "m1", clientURLs: ["http://m1"]))]
        #expect(meta.encoded()[0] == 1)
        #expect(try StateMeta(decoding: meta.encoded()).version == 1)
        meta.attributes[0].attributes.release = MemberAttributes.Release(name: "0.2.0", versions: 1...2)
        meta.version = 2
        #expect(meta.encoded()[0] == 3)
        #expect(try StateMeta(decoding: meta.encoded()) == meta)
    }

    @Test("Commands that a liar would send are refused alike everywhere, and nothing of them is done")
    func hostile() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for ttl in [.max, .min, 0, -1, Lease.secondsMax + 1] as [Int64] {
            #expect(try rig.apply(.leaseGrant(id: 5, ttl: ttl)) == .failure(.leaseTooLong))
        }
        #expect(try rig.apply(.leaseGrant(id: 0, ttl: 60)) == .failure(.leaseExists))
        #expect(try rig.apply(.fabric(FabricCommand(.recover, trace))) == .failure(.unreadable))
        let long = MemberAttributes(name: String(repeating: "x", count: 2000), clientURLs: [])
        #expect(try rig.apply(.publish(memberID: 1, long)) == .failure(.unreadable))
        for id in 0..<1000 as Range<UInt64> { _ = try rig.apply(.raiseAlarm(Alarm(memberID: id, kind: .noSpace))) }
        #expect(rig.store.meta.alarms.count < 200)
    }

    @Test("A txn that writes looks at a bounded number of keys, whether its answer is wanted or not")
    func rows() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for n in 0..<300 as Range<UInt16> {
            _ = try rig.apply(.put(PutRequest(key: [1, UInt8(n >> 8), UInt8(n & 255)], value: [])))
        }
        let all = KeyRange(start: [1], end: .before([2]))
        let put = TxnRequest.Operation.put(PutRequest(key: [3], value: []))
        let compares = [Compare](repeating: Compare(range: all, relation: .greater, operand: .version(0)), count: 400)
        #expect(try rig.apply(.txn(TxnRequest(compares: compares, success: [put]))) == .failure(.tooManyRows))
        let ranges = [TxnRequest.Operation](repeating: .range(RangeRequest(range: all)), count: 400)
        #expect(try rig.apply(.txn(TxnRequest(success: ranges + [put]))) == .failure(.tooManyRows))
        var limited = RangeRequest(range: all)
        limited.limit = 10
        let few = [TxnRequest.Operation](repeating: .range(limited), count: 400)
        guard case .success(.txn) = try rig.apply(.txn(TxnRequest(success: few + [put]))) else {
            Issue.record("ranges with a limit are refused")
            return
        }
        // Deletions make room: they are never refused for it.
        let deletions = [TxnRequest.Operation](repeating: .deleteRange(DeleteRangeRequest(range: all)), count: 400)
        guard case .success(.txn(let result)) = try rig.apply(.txn(TxnRequest(success: deletions))) else {
            Issue.record("deletions are refused")
            return
        }
        #expect(result.responses.count == 400)
    }

    @Test("Merged ranges contain what one of them contains", arguments: 1...50)
    func ranges(seed: UInt64) {
        var random = Chance(state: seed)
        var merged = KeyRanges()
        var all: [KeyRange] = []
        for _ in 0..<30 {
            let start: [UInt8] = [UInt8.random(in: 0...20, using: &random)]
            let range =
                switch Int.random(in: 0..<8, using: &random) {
                case 0: KeyRange(start: start, end: .single)
                case 1: KeyRange(start: start, end: .unbounded)
                default: KeyRange(start: start, end: .before([UInt8.random(in: 0...20, using: &random)]))
                }
            // Now and then it is asked in between.
            if all.count % 7 == 0 { _ = merged.contain([3]) }
            if all.count < 3 || range.end != .unbounded { all.append(range); merged.insert(range) }
            for key in 0...21 as ClosedRange<UInt8> {
                for probe in [[key], [key, 0]] as [[UInt8]] {
                    #expect(merged.contain(probe) == all.contains { $0.contains(probe) })
                }
            }
        }
    }

    @Test("Users and roles come with version 2, are in the file, and count for the state's hash")
    func access() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        let add = Command.access(.addUser(AccessState.root, passwordHash: [1]), trace)
        #expect(try rig.apply(add) == .failure(.needsVersion(2)))
        #expect(try rig.apply(.raiseVersion(2)) == .success(.done))
        let hash = rig.store.meta.hash
        #expect(try rig.apply(add) == .success(.done))
        #expect(rig.store.meta.hash != hash)
        #expect(try rig.apply(add) == .failure(.access(.userExists)))
        #expect(try rig.apply(.access(.grantRole(AccessState.root, user: AccessState.root), trace)) == .success(.done))
        #expect(try rig.apply(.access(.enable, trace)) == .success(.done))
        #expect(rig.store.meta.revision == 1, "no key changed")
        try rig.checkpoint()
        let root = Author(name: AccessState.root, revision: rig.store.access.revision)
        #expect(try rig.apply(.access(.addRole([7]), trace), by: root) == .success(.done))
        #expect(try rig.apply(.access(.disable, trace), by: root) == .success(.done))
        try rig.checkpoint()
        let access = rig.store.access
        #expect(access.users.all.count == 1 && access.roles.all.count == 1 && !access.isEnabled && access.revision == 5)
        let reader = try StateReader(path: folder.path + "/kv.db", cacheBytes: 1 << 20)
        let again = try KeyValueStore(reader: reader, marks: FileMarks())
        #expect(again.access == access)
        #expect(
            again.fabric.revision == rig.store.fabric.revision && again.fabric.lastEvent == rig.store.fabric.lastEvent)
        #expect(rig.store.fabric.events().map(\.what).count(where: { $0.contains("user root") }) == 2)
    }
}
