internal import Fabric
package import MVCC
internal import Raft

extension Lease {
    /// Nanoseconds of a member's clock in which a second of a lease has passed: its clock may run fast, and no lease ends early.
    package static let secondNanoseconds = UInt64(1e9 * (1 + Raft.Settings.clockDriftMax))
}

/// Keeps the time of leases, by this member's clock: from when it applied each grant and renewal. Every member does; only a
/// leader acts on it, and what it proposes counts only in its own term and for leases that were not renewed meanwhile.
/// So nothing ends early whatever leaders come and go, and what is left of a lease survives them.
struct Lessor {
    private static let second: UInt64 = 1_000_000_000
    private static let marksMax = 1000
    /// An expiry that did not come to be is proposed again after so many seconds.
    private static let retrySeconds: UInt64 = 2

    private let leases: LeaseTable
    /// Leases to look at, by second; a renewed one is found here at its earlier end and moved on.
    private var agenda: [UInt64: Set<Int64>] = [:]
    /// The second at which each is on the agenda.
    private var planned: [Int64: UInt64] = [:]
    /// The second of the agenda that comes next.
    private var nextSecond: UInt64
    private var lastTick: UInt64
    private var leadingTerm: Term?
    private let tickNanoseconds: UInt64
    private let graceNanoseconds: UInt64
    private let agingSecondsMin: Int64

    /// Begins with all leases as new as the state says.
    init(_ leases: LeaseTable, now: UInt64, settings: ReplicationSettings) {
        self.leases = leases
        lastTick = now
        nextSecond = now / Self.second
        tickNanoseconds = UInt64(settings.heartbeatMilliseconds) * 1_000_000
        agingSecondsMin = settings.leaseAgingSecondsMin
        graceNanoseconds = 2 * UInt64(settings.electionMilliseconds) * 1_000_000
        leases.adjust { _, lease in Self.end(of: lease, from: now) }
        plan()
    }

    private static func end(of lease: Lease, from now: UInt64) -> UInt64 {
        now + UInt64(clamping: min(lease.remaining, Lease.secondsMax)) * Lease.secondNanoseconds
    }

    private mutating func plan() {
        for id in leases.ids {
            if let time = leases.time(of: id) { note(time.lease, endingAt: time.deadline) }
        }
    }

    /// Has a lease looked at when it ends, or before if it should be written down by then how much is left.
    private mutating func note(_ lease: Lease, endingAt deadline: UInt64) {
        note(lease.id, at: min(deadline, lastTick + UInt64(agingStep(of: lease)) * Lease.secondNanoseconds))
    }

    private func agingStep(of lease: Lease) -> Int64 { max(agingSecondsMin, min(lease.ttl, Lease.secondsMax) / 10) }

    private mutating func note(_ id: Int64, at deadline: UInt64) {
        let second = max(deadline / Self.second + 1, nextSecond)
        strike(id)
        agenda[second, default: []].insert(id)
        planned[id] = second
    }

    /// Takes a lease off the agenda.
    private mutating func strike(_ id: Int64) {
        guard let second = planned.removeValue(forKey: id) else { return }
        agenda[second]?.remove(id)
        if agenda[second]?.isEmpty == true { agenda[second] = nil }
    }

    mutating func handle(_ events: [LeaseEvent], now: UInt64) {
        for event in events {
            switch event {
            case .begun(let lease):
                let deadline = Self.end(of: lease, from: now)
                leases.setDeadline(deadline, of: lease.id)
                // A renewed lease is found at its earlier end.
                if planned[lease.id] == nil { note(lease, endingAt: deadline) }
            case .aged(let lease):
                guard let known = leases.time(of: lease.id)?.deadline else { continue }
                let deadline = min(known, Self.end(of: lease, from: now))
                leases.setDeadline(deadline, of: lease.id)
                if deadline < known { note(lease, endingAt: deadline) }
            case .ended(let id): strike(id)
            }
        }
    }

    /// What a leader is to propose now.
    /// - Parameters:
    ///   - wall: milliseconds since 1970, to be written down.
    ///   - term: the term this member leads, if it does.
    ///   - isAwaiting: what was proposed last is not applied yet, and nothing is added to it.
    ///   - nodeLeases: which leases are those of nodes.
    mutating func tick(
        now: UInt64, wall: Int64, leading term: Term?, isAwaiting: Bool = false, _ nodeLeases: NodeLeases
    ) -> [Command] {
        // While the process stood still nobody could renew anything.
        let gap = now - min(lastTick, now)
        lastTick = now
        if gap > 10 * tickNanoseconds { shift(by: gap - tickNanoseconds) }
        if let term, term != leadingTerm {
            // Nor while there was no leader.
            let grace = now + graceNanoseconds
            leases.adjust { deadline, _ in max(deadline, grace) }
        }
        leadingTerm = term
        if isAwaiting { return [] }
        var due = Due()
        let second = now / Self.second
        while nextSecond <= second {
            let ids = agenda.removeValue(forKey: nextSecond) ?? []
            nextSecond += 1
            for id in ids { planned[id] = nil }
            for id in ids.sorted() { look(at: id, now: now, &due) }
        }
        guard let term else { return [] }
        let nodes = due.ended.filter { nodeLeases.contains($0.id) }
        let others = due.ended.filter { !nodeLeases.contains($0.id) }
        return Self.batches(others).map { .leaseExpire(term: term, $0) }
            + Self.batches(nodes).map { Self.expiry(ofNodes: $0, term, wall) }
            + Self.batches(due.aged).map(Command.leaseAge)
    }

    private static func expiry(ofNodes marks: [Lease.Mark], _ term: Term, _ wall: Int64) -> Command {
        let leases = marks.map { LeaseMark(id: $0.id, generation: $0.generation) }
        return .fabric(
            FabricCommand(.expireNodes(term: term, leases), Trace(at: wall, by: "fabric", reason: "not heard of")))
    }

    private struct Due {
        var ended: [Lease.Mark] = []
        /// Of these it is written down how much is left: a fabric that starts again goes on from there.
        var aged: [Lease.Mark] = []
    }

    private static func batches(_ marks: [Lease.Mark]) -> [[Lease.Mark]] {
        stride(from: 0, to: marks.count, by: marksMax).map { Array(marks[$0..<min($0 + marksMax, marks.count)]) }
    }

    private mutating func look(at id: Int64, now: UInt64, _ due: inout Due) {
        guard let (deadline, lease) = leases.time(of: id) else { return }
        guard deadline > now else {
            due.ended.append(Lease.Mark(id: id, generation: lease.generation))
            return note(id, at: now + Self.retrySeconds * Self.second)
        }
        let left = Int64((deadline - now + Lease.secondNanoseconds - 1) / Lease.secondNanoseconds)
        if lease.remaining - left >= agingStep(of: lease) {
            due.aged.append(Lease.Mark(id: id, generation: lease.generation, remaining: left))
        }
        note(lease, endingAt: deadline)
    }

    private mutating func shift(by nanoseconds: UInt64) {
        leases.adjust { deadline, _ in deadline + nanoseconds }
    }
}
