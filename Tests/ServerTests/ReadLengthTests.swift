import MVCC
import Replication
import Testing

@testable import Server

@Suite struct ReadLengthTests {
    @Test("While scans have all their threads, what is short is answered, and so are probes and figures")
    func shortReadsPassScans() async throws {
        let fabric = try RunningFabric()
        let member = fabric.member
        _ = try await member.propose(.put(PutRequest(key: Array("k".utf8), value: [1])))
        let scans = member.core.serverSettings.readerThreads
        let (begun, mayEnd) = (Mailbox<Void>(), Mailbox<Void>())
        for _ in 0..<3 * scans {
            let isTaken = member.core.readers.submit(.long) { _, _ in
                begun.post(())
                _ = mayEnd.takeOne()
            }
            #expect(isTaken)
        }
        for _ in 0..<scans { _ = begun.takeOne() }
        var one = RangeRequest(range: KeyRange(start: Array("k".utf8), end: .single))
        #expect(try await member.range(one).0.count == 1)
        one.range = KeyRange(prefix: Array("k".utf8))
        #expect(try await member.range(one).0.count == 1)
        let txn = TxnRequest(compares: [], success: [.range(one)], failure: [])
        #expect(try await member.readTxn(txn).0.responses.count == 1)
        try await member.confirmCurrent()
        #expect(try await member.current(serializable: false).revision == 2)
        #expect(member.databaseSizes.total > 0)
        for _ in 0..<3 * scans { mayEnd.post(()) }
        fabric.stop()
    }
}
