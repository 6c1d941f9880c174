import Testing

@testable import Replication

@Suite struct AutoCompactorTests {
    private static let second: UInt64 = 1_000_000_000

    @Test("What is older than the period goes, also when another led before")
    func periodic() {
        var compactor = AutoCompactor(.periodic(seconds: 60), now: 0)
        var proposed: [(UInt64, Int64)] = []
        for second: UInt64 in 0...180 {
            let target = compactor.tick(
                now: second * Self.second, isLeading: second >= 100, revision: Int64(second) + 1,
                compactRevision: proposed.last?.1 ?? 0)
            if let target { proposed.append((second, target)) }
        }
        #expect(proposed.first?.0 == 102)
        for (second, revision) in proposed { #expect((60...66).contains(Int64(second) - (revision - 1))) }
        #expect(proposed.count == 14)
    }

    @Test("So many revisions stay, and nothing is proposed twice")
    func revision() {
        var compactor = AutoCompactor(.revision(retained: 1000), now: 0)
        #expect(compactor.tick(now: 1, isLeading: true, revision: 900, compactRevision: 0) == nil)
        let later = 301 * Self.second
        #expect(compactor.tick(now: later, isLeading: true, revision: 1900, compactRevision: 0) == 900)
        #expect(compactor.tick(now: 2 * later, isLeading: true, revision: 1900, compactRevision: 900) == nil)
    }

    @Test("Off is off")
    func off() {
        var compactor = AutoCompactor(.off, now: 0)
        #expect(compactor.tick(now: .max, isLeading: true, revision: 900, compactRevision: 0) == nil)
    }
}
