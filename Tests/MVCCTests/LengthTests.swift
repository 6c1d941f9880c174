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
}
