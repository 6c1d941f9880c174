import Testing

@testable import MVCC

@Suite struct LengthTests {
    @Test func countsNoFewerThanLiveAndHardlyMore() {
        var builder = LiveCounts.Builder(bucketMax: 8)
        let keys = (0..<1000).map { Array("k\(10_000 + $0 * 7)".utf8) }
        for key in keys { builder.add(key) }
        let counts = builder.finish()
        #expect(counts.atMost(in: KeyRange(start: [0], end: .unbounded)) == 1000)
        for first in stride(from: 0, to: 1000, by: 13) {
            for last in stride(from: first, to: 1000, by: 131) {
                let range = KeyRange(start: keys[first], end: .before(keys[last]))
                let live = Int64(last - first)
                #expect((live...live + 16).contains(counts.atMost(in: range)))
            }
            #expect((1...8).contains(counts.atMost(in: KeyRange(start: keys[first], end: .single))))
        }
        // An end before its start holds nothing, and hurts nobody.
        #expect(counts.atMost(in: KeyRange(start: keys[900], end: .before(keys[3]))) <= 8)
    }

    @Test func scansAreLong() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        for number in 0..<1200 { _ = try rig.apply(.put(PutRequest(key: Array("k\(number)".utf8), value: []))) }
        let view = rig.store.view()
        let all = RangeRequest(range: KeyRange(prefix: [107]))
        func isShort(_ change: (inout RangeRequest) -> Void) -> Bool {
            var request = all
            change(&request)
            return view.isShort(request)
        }
        #expect(!isShort { _ in })
        #expect(isShort { $0.limit = 500 })
        #expect(!isShort { $0.limit = 1100 })
        #expect(!isShort { ($0.limit, $0.minModRevision) = (500, 3) })
        #expect(!isShort { ($0.limit, $0.sortOrder, $0.sortTarget) = (500, .descend, .mod) })
        #expect(isShort { $0.countOnly = true })
        #expect(isShort { $0.range = KeyRange(start: [107, 55], end: .single) })
        #expect(!view.isShort(TxnRequest(compares: [], success: [.range(all)], failure: [])))
        let compare = Compare(range: all.range, relation: .greater, operand: .version(0))
        #expect(!view.isShort(TxnRequest(compares: [compare], success: [], failure: [])))
    }
}
