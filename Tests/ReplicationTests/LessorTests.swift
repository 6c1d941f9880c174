import Fabric
import Testing

@testable import MVCC
@testable import Replication

@Suite struct LessorTests {
    private static let second: UInt64 = 1_000_000_000
    private static let nodes = NodeLeases(version: 2)
    private let table = LeaseTable([], [])

    private func lease(_ id: Int64, ttl: Int64, generation: Int64 = 1) -> Lease {
        Lease(id: id, ttl: ttl, remaining: ttl, generation: generation)
    }

    private func begin(_ lessor: inout Lessor, _ lease: Lease, at now: UInt64) {
        table.put(lease)
        lessor.handle([.begun(lease)], now: now)
    }

    /// Ticks every 100 ms; answers when, in seconds, each lease was proposed to end.
    private func run(
        _ lessor: inout Lessor, from start: UInt64, to end: UInt64, leading term: UInt64? = 5
    ) -> [Int64: Double] {
        var ended: [Int64: Double] = [:]
        for now in stride(from: start, through: end, by: 100_000_000) {
            for case .leaseExpire(let leaderTerm, let marks) in lessor.tick(
                now: now, wall: 0, leading: term, Self.nodes)
            {
                #expect(leaderTerm == term)
                for mark in marks { ended[mark.id] = ended[mark.id] ?? Double(now) / 1e9 }
            }
        }
        return ended
    }

    @Test("A lease ends after its seconds, soon, and one that is renewed does not")
    func expiry() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        begin(&lessor, lease(1, ttl: 5), at: 0)
        begin(&lessor, lease(2, ttl: 5), at: 0)
        #expect(run(&lessor, from: 0, to: 4 * Self.second).isEmpty)
        begin(&lessor, lease(2, ttl: 5, generation: 2), at: 4 * Self.second)
        let ended = run(&lessor, from: 4 * Self.second, to: 12 * Self.second)
        #expect((5.0...6.2).contains(ended[1] ?? 0) && (9.0...10.2).contains(ended[2] ?? 0))
    }

    @Test(
        "By a clock that runs 5 % fast no lease ends early, and none of what is left is forgotten",
        arguments: [1, 3, 10, 60])
    func fastClock(_ ttl: Int64) {
        var settings = ReplicationSettings()
        settings.leaseAgingSecondsMin = 1
        var lessor = Lessor(table, now: 0, settings: settings)
        begin(&lessor, lease(1, ttl: ttl), at: 0)
        let patience = 2 * UInt64(ttl) * Self.second
        for now in stride(from: 0, through: patience, by: 10_000_000) {
            let passed = Double(now) / 1.05e9
            for command in lessor.tick(now: now, wall: 0, leading: 5, Self.nodes) {
                switch command {
                case .leaseExpire:
                    #expect(passed >= Double(ttl))
                    return
                case .leaseAge(let marks): #expect(Double(marks[0].remaining) >= Double(ttl) - passed)
                default: break
                }
            }
        }
        Issue.record("it never ended")
    }

    @Test("Time in which the process stood still does not count")
    func pauses() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        begin(&lessor, lease(1, ttl: 10), at: 0)
        #expect(run(&lessor, from: 0, to: 2 * Self.second).isEmpty)
        let ended = run(&lessor, from: 62 * Self.second, to: 80 * Self.second)
        #expect((69.0...71.5).contains(ended[1] ?? 0))
    }

    @Test("A follower ends nothing; who becomes leader gives clients time to be heard again")
    func leaders() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        begin(&lessor, lease(1, ttl: 3), at: 0)
        #expect(run(&lessor, from: 0, to: 8 * Self.second, leading: nil).isEmpty)
        let ended = run(&lessor, from: 8 * Self.second, to: 15 * Self.second, leading: 7)
        #expect((10.0...12.2).contains(ended[1] ?? 0))
    }

    @Test("A leader writes down how much is left in steps, and nothing of leases that are renewed")
    func aging() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        begin(&lessor, lease(1, ttl: 1000), at: 0)
        begin(&lessor, lease(2, ttl: 1000), at: 0)
        var left: [Int64] = []
        for tick: UInt64 in 0...3000 {
            let now = tick * 100_000_000
            if tick.isMultiple(of: 300) { begin(&lessor, lease(2, ttl: 1000, generation: Int64(tick) + 2), at: now) }
            for case .leaseAge(let marks) in lessor.tick(now: now, wall: 0, leading: 5, Self.nodes) {
                #expect(marks.map(\.id) == [1])
                for mark in marks {
                    left.append(mark.remaining)
                    var aged = lease(1, ttl: 1000)
                    aged.remaining = mark.remaining
                    table.put(aged)
                    lessor.handle([.aged(aged)], now: now)
                }
            }
        }
        #expect(left.count == 2 && (898...900).contains(left[0]) && (796...800).contains(left[1]))
    }

    @Test("While what it proposed is on its way it adds nothing, and then forgets nothing")
    func awaiting() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        for id in 1...3 as ClosedRange<Int64> { begin(&lessor, lease(id, ttl: 3 + 2 * id), at: 0) }
        var ended: [Int64] = []
        for now in stride(from: 0, through: 30 * Self.second, by: 100_000_000) {
            let isAwaiting = now < 20 * Self.second
            let commands = lessor.tick(now: now, wall: 0, leading: 5, isAwaiting: isAwaiting, Self.nodes)
            #expect(commands.isEmpty || !isAwaiting)
            for case .leaseExpire(_, let marks) in commands where now < 21 * Self.second { ended += marks.map(\.id) }
        }
        #expect(ended.sorted() == [1, 2, 3])
    }

    @Test("A lease that ends and is granted anew within one batch ends all the same")
    func again() {
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        begin(&lessor, lease(1, ttl: 5), at: 0)
        let anew = lease(1, ttl: 5)
        table.put(anew)
        lessor.handle([.begun(lease(1, ttl: 5, generation: 2)), .ended(1), .begun(anew)], now: Self.second)
        #expect(run(&lessor, from: Self.second, to: 10 * Self.second)[1] != nil)
    }

    @Test("An age that a leader wrote down counts after a restart")
    func ages() {
        var aged = lease(1, ttl: 100)
        aged.remaining = 4
        let table = LeaseTable([aged], [])
        var lessor = Lessor(table, now: 0, settings: ReplicationSettings())
        let ended = run(&lessor, from: 0, to: 8 * Self.second)
        #expect((4.0...5.2).contains(ended[1] ?? 0))
    }
}
