import Bytes
import Testing

@testable import MVCC
@testable import Replication

@Suite struct RangeIndexTests {
    private static func range(_ random: inout SplitMix) -> KeyRange {
        let start = (0...random.below(3)).map { _ in UInt8(random.below(4)) * 85 }
        switch random.below(5) {
        case 0: return KeyRange(start: start, end: .single)
        case 1: return KeyRange(start: start, end: .unbounded)
        case 2: return KeyRange(start: start, end: .before(start + [UInt8(random.below(3))]))
        default: return KeyRange(prefix: start)
        }
    }

    @Test("Finds what looking at each range finds, whatever comes and goes", arguments: 0..<30)
    func findsAll(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        var index = RangeIndex<Int>()
        var known: [(range: KeyRange, value: Int)] = []
        for number in 0..<600 {
            if random.below(3) > 0 || known.isEmpty {
                let range = Self.range(&random)
                known.removeAll { $0.range == range }
                index.put(number, at: range)
                known.append((range, number))
            } else {
                index.remove(known.remove(at: random.below(known.count)).range)
            }
            // Of two ways to say the same range the index knows one.
            known.removeAll { entry in index[entry.range] != entry.value }
            #expect(index.count == known.count)
            let key = (0...random.below(4)).map { _ in UInt8(random.below(4)) * 85 }
            var found: [Int] = []
            index.forEach(containing: key) { found.append($0) }
            #expect(found.sorted() == known.filter { $0.range.contains(key) }.map(\.value).sorted())
        }
    }

    @Test("Among 20,000 prefixes, in whatever order they came, looks at some dozen", arguments: [1, 7919])
    func costsFew(_ step: Int) {
        let count = 20_000
        func prefix(_ number: Int) -> [UInt8] { Array("/nodes/\(String(number + 100_000))/".utf8) }
        var index = RangeIndex<Int>()
        for number in 0..<count { index.put(number, at: KeyRange(prefix: prefix(number * step % count))) }
        index.put(-1, at: KeyRange(prefix: Array("/nodes/".utf8)))
        for number in stride(from: 0, to: count, by: 97) {
            var found = 0
            let looked = index.forEach(containing: prefix(number) + [49]) { _ in found += 1 }
            #expect(found == 2)
            #expect(looked <= 60, "\(looked) ranges were looked at")
        }
        for number in 1..<count { index.remove(KeyRange(prefix: prefix(number * step % count))) }
        #expect(index.count == 2)
    }
}
