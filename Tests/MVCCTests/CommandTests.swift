import Bytes
import SQLite
import Testing

@testable import MVCC

@Suite struct CommandTests {
    static let commands: [Command] = [
        .put(PutRequest(key: [1, 2], value: [])),
        .deleteRange(DeleteRangeRequest(range: KeyRange(start: [0], end: .unbounded))),
        .compact(revision: -4),
        .publish(memberID: 7, MemberAttributes(name: "m", clientURLs: ["http://a:1", "http://b:2"])),
        .txn(
            TxnRequest(
                compares: [Compare(range: KeyRange(start: [1], end: .single), relation: .less, operand: .value([3]))],
                success: [
                    .put(PutRequest(key: [1], value: [2])),
                    .txn(TxnRequest(success: [.range(RangeRequest(range: KeyRange(start: [9], end: .before([10]))))])),
                ],
                failure: [])),
    ]

    private func encoded(_ command: Command) -> [UInt8] {
        var writer = ByteWriter()
        command.encode(into: &writer)
        return writer.bytes
    }

    @Test(arguments: commands) func commandsComeBackAsTheyWere(_ command: Command) throws {
        var reader = ByteReader(encoded(command))
        #expect(try Command(from: &reader) == command)
    }

    @Test(arguments: commands) func damagedCommandsAreErrorsAndNeverTrap(_ command: Command) {
        let bytes = encoded(command)
        for length in 0..<bytes.count {
            var reader = ByteReader(Array(bytes[..<length]))
            #expect(throws: DecodingFault.self) { try Command(from: &reader) }
        }
        for place in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[place] ^= 1 << UInt8(bit)
                var reader = ByteReader(damaged)
                _ = try? Command(from: &reader)
            }
        }
    }

    @Test func txnsNestedTooDeeplyAreRefused() {
        var txn = TxnRequest()
        for _ in 0..<40 { txn = TxnRequest(success: [.txn(txn)]) }
        #expect(throws: MVCCError.tooManyOperations) { try RequestLimits().check(txn) }
        var reader = ByteReader(encoded(.txn(txn)))
        #expect(throws: DecodingFault.self) { try Command(from: &reader) }
    }

    @Test func aKeyIsPutOncePerPath() {
        let put = { (key: UInt8) in TxnRequest.Operation.put(PutRequest(key: [key], value: [])) }
        let limits = RequestLimits()
        #expect(throws: MVCCError.duplicateKey) { try limits.check(TxnRequest(success: [put(1), put(1)])) }
        #expect(throws: MVCCError.duplicateKey) {
            try limits.check(TxnRequest(success: [put(1), .txn(TxnRequest(failure: [put(1)]))]))
        }
        #expect(throws: Never.self) { try limits.check(TxnRequest(success: [put(1)], failure: [put(1)])) }
        #expect(throws: Never.self) {
            try limits.check(TxnRequest(success: [.txn(TxnRequest(success: [put(1)], failure: [put(1)]))]))
        }
    }

    @Test func aTxnMayPutAKeyAndDeleteItAgain() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        let key: [UInt8] = [7]
        let put = TxnRequest(success: [.put(PutRequest(key: key, value: [1]))])
        let delete = TxnRequest(success: [.deleteRange(DeleteRangeRequest(range: KeyRange(start: key, end: .single)))])
        let both = TxnRequest(success: [.txn(put), .txn(delete)])
        #expect(throws: Never.self) { try RequestLimits().check(both) }
        for _ in 0..<2 {
            _ = try rig.apply(.txn(both)).get()
            #expect(rig.store.meta.keyCount == 0)
            try rig.checkpoint()
            let found = try rig.store.view().range(RangeRequest(range: KeyRange(start: key, end: .single)), rig.reader)
            #expect(found.pairs.isEmpty)
        }
        #expect(rig.store.meta.revision == 3)
    }

    @Test func aMissingRevisionRowIsDamageAndNotAnOlderValue() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for n in 0..<3 { _ = try rig.apply(.put(PutRequest(key: [1], value: [UInt8(n)]))) }
        try rig.checkpoint()
        let other = try Connection(path: rig.path, access: .readWrite)
        try other.execute("DELETE FROM revision WHERE seq=3")
        let request = RangeRequest(range: KeyRange(start: [1], end: .single))
        #expect(throws: ReadFailure.self) { try rig.store.view().range(request, rig.reader) }
    }

    @Test func anAnswerIsBoundedHoweverSmallItsRequest() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for n in 0..<4 {
            _ = try rig.apply(.put(PutRequest(key: [UInt8(n)], value: [UInt8](repeating: 1, count: 1 << 20))))
        }
        let all = TxnRequest.Operation.range(RangeRequest(range: KeyRange(start: [0], end: .unbounded)))
        let greedy = TxnRequest(success: Array(repeating: all, count: 100))
        #expect(throws: ReadFailure.self) { try rig.store.view().txn(greedy, rig.reader) }
        var writing = greedy
        writing.success.insert(.put(PutRequest(key: [9], value: [9])), at: 0)
        #expect(try rig.apply(.txn(writing)) == .failure(.answerTooLargeButDone))
        #expect(rig.store.meta.revision == 6)
    }

    @Test func aFlippedBitInARowIsFoundAndNotServed() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        _ = try rig.apply(.put(PutRequest(key: [1], value: Array("precious".utf8))))
        try rig.checkpoint()
        let other = try Connection(path: rig.path, access: .readWrite)
        try other.execute("UPDATE revision SET value=CAST('prEcious' AS BLOB)")
        let request = RangeRequest(range: KeyRange(start: [1], end: .single))
        #expect(throws: ReadFailure.self) { try rig.store.view().range(request, rig.reader) }
    }

    @Test func aViewStaysAsItWasWhileTheStoreGoesOn() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for n in 0..<500 { _ = try rig.apply(.put(PutRequest(key: [UInt8(n % 250), 1], value: [UInt8(n % 256)]))) }
        let view = rig.store.view()
        let all = RangeRequest(range: KeyRange(start: [0], end: .unbounded))
        let before = try view.range(all, rig.reader)
        for n in 0..<500 { _ = try rig.apply(.put(PutRequest(key: [UInt8(n % 250), 1], value: [0]))) }
        try rig.checkpoint()
        #expect(try view.range(all, rig.reader) == before)
        #expect(before.count == 250)
    }

    @Test func aViewOlderThanWhatWasPrunedSaysSo() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for n in 0..<20 { _ = try rig.apply(.put(PutRequest(key: [1], value: [UInt8(n)]))) }
        let view = rig.store.view()
        for n in 0..<20 { _ = try rig.apply(.put(PutRequest(key: [1], value: [UInt8(n)]))) }
        _ = try rig.apply(.compact(revision: rig.store.meta.revision))
        try rig.prune()
        let request = RangeRequest(range: KeyRange(start: [0], end: .unbounded))
        #expect(throws: ReadFailure.self) { try view.range(request, rig.reader) }
    }
}
