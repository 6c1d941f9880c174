import Testing

@testable import Replication

@Suite struct ReadGateTests {
    @Test("A read is current only before the lease ends, and where all that is committed is applied")
    func lease() {
        let gate = ReadGate()
        #expect(!gate.isCurrent(applied: 9) { 0 })
        gate.publish(commit: 7, leaseUntil: 100)
        #expect(gate.isCurrent(applied: 7) { 99 })
        #expect(!gate.isCurrent(applied: 6) { 99 })
        #expect(!gate.isCurrent(applied: 7) { 100 })
        gate.publish(commit: 8, leaseUntil: 0)
        #expect(!gate.isCurrent(applied: 8) { 0 })
    }

    @Test("Whoever sees a lease sees a commit index that is no older")
    func order() async {
        let gate = ReadGate()
        let last: UInt64 = 100_000
        await withTaskGroup(of: Void.self) { group in
            // Each lease is one nanosecond, and tells the commit index that it was published with.
            group.addTask { for number in 1...last { gate.publish(commit: number, leaseUntil: number) } }
            for _ in 0..<2 {
                group.addTask {
                    for applied in 0..<last where gate.isCurrent(applied: applied, now: { applied }) {
                        Issue.record("current with \(applied) though the lease is of a later one")
                    }
                }
            }
        }
    }
}
