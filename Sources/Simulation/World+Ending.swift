internal import CSimulatedDisk
internal import MVCC
internal import Raft
internal import Replication

/// The last part of a run: faults have ended, and now the fabric must go on by itself.
extension World {
    /// Within so much time there is a leader, everybody has everything, and requests are answered.
    private static let recovery: UInt64 = 90 * second
    /// More, while there is progress: an entry takes a round trip where one is under way at a time, and clients go on meanwhile.
    private var recoveryMax: UInt64 {
        let longest = machines.compactMap { $0.process?.replica?.raft.log.lastIndex }.max() ?? 0
        return max(1200 * Self.second, max(4800, 4 * longest) * plan.linkNanoseconds)
    }

    func endFaults() {
        say("faults end")
        isTroubled = false
        network.heal()
        for number in machines.indices {
            machines[number].pausedUntil = 0
            machines[number].stalledUntil = 0
            machines[number].overloadedUntil = 0
            machines[number].clock.thaw(at: now)
            machines[number].clock.setRate(1, at: now)
            let disk = Int32(number)
            wd_arm_crash(disk, -1, 0)
            wd_arm_sync_failure(disk, -1)
            wd_arm_read_error(disk, -1)
            wd_arm_misdirect(disk, -1)
            wd_arm_lost_write(disk, -1)
            wd_arm_full(disk, -1, 0)
        }
        faultsEndedAt = now
        progressedAt = now
        add(.probe, after: Self.second)
    }

    /// Once a second: is all well?
    func probe() {
        if let reason = whatIsWrong() {
            let progress = Progress(self)
            if progress.isFurther(than: lastProgress) { progressedAt = now }
            lastProgress = progress
            guard now < progressedAt + Self.recovery, now < faultsEndedAt + recoveryMax else {
                fail(Violation(check: "the fabric recovers", detail: reason))
                return
            }
            add(.probe, after: Self.second)
            return
        }
        say("all is well")
        for process in machines.compactMap(\.process) where !process.isWitness { checkContents(process) }
        isOver = true
    }

    private func whatIsWrong() -> String? {
        guard let leader, let raft = leader.replica?.raft else { return "there is no leader" }
        guard !raft.configuration.isWitness(raft.id) else { return "a witness leads" }
        guard machines.allSatisfy({ $0.joining == nil }) else { return "a machine is not added yet" }
        guard steward.lost.isEmpty else { return "lost members are not replaced" }
        guard raft.configuration.members.allSatisfy({ !$0.isJoining }), !raft.configuration.isJoint else {
            return "somebody is still joining"
        }
        for member in raft.configuration.members {
            guard let machine = machine(of: member.id), let process = machines[machine].process else {
                return "member \(member.id) is not there"
            }
            guard process.view?.appliedIndex == oracle.lastIndex else {
                return "member \(member.id) is at \(process.view?.appliedIndex ?? 0) of \(oracle.lastIndex)"
            }
            guard process.replica?.raft.leader == raft.id else { return "member \(member.id) follows nobody" }
        }
        guard oracle.model.leases.isEmpty else { return "leases are left" }
        if let behind = watchers.first(where: { $0.next <= oracle.model.revision }) {
            let place = behind.process.map { "m\($0.machine)" } ?? "nowhere"
            return "a watch at \(place) waits for revision \(behind.next) of \(oracle.model.revision)"
        }
        // A write of each member's clients, after all that happened. Those of a member that ended meanwhile are asked again.
        if probes.contains(where: { !$0.isAnswered && !$0.process.isAlive }) { probes = [] }
        if probes.isEmpty {
            for member in raft.configuration.members {
                guard let machine = machine(of: member.id), let process = machines[machine].process, !process.isWitness
                else {
                    continue
                }
                probes.append(sendProbe(through: process))
            }
        }
        if probes.contains(where: { !$0.isAnswered }) { return "a write is not answered" }
        // What a fault left on a disk may be found only now: then the member ends and gets everything back.
        let unread = machines.compactMap(\.process).first { !$0.isWitness && pairs(of: $0) == nil }
        return unread.map { "m\($0.machine) cannot read its state" }
    }

    private func pairs(of process: SimulatedProcess) -> [KeyValue]? {
        try? process.read(RangeRequest(range: KeyRange(prefix: [])))?.get().pairs
    }

    private func sendProbe(through process: SimulatedProcess) -> Probe {
        let probe = Probe(process: process)
        let put = PutRequest(key: Array("k0".utf8), value: Array("probe".utf8))
        // With one entry under way at a time and a second to each round trip those of seven members take a while.
        propose(.put(put), at: process, within: 30 * Self.second) { [unowned self] outcome in
            switch outcome {
            // Too much is stored: that is an answer.
            case .success, .failure(.refused(.noSpace)): probe.isAnswered = true
            case .failure: probes = []
            }
        }
        return probe
    }

    /// All that was acknowledged is readable, everywhere.
    private func checkContents(_ process: SimulatedProcess) {
        guard let revision = process.view?.revision, let pairs = pairs(of: process) else {
            return fail(Violation(check: "all is readable", detail: "m\(process.machine) cannot read its state"))
        }
        let expected = oracle.model.pairs(in: KeyRange(prefix: []), at: revision)
        if pairs != expected {
            fail(
                Violation(
                    check: "all is readable",
                    detail:
                        "m\(process.machine) has \(pairs.count) pairs, not the \(expected.count) there must be"))
        }
    }
}

/// How far all members are together.
struct Progress {
    private var term: Term?
    private var applied: Index = 0
    /// By those who do not lead.
    private var stored: Index = 0
    /// Watches were told of everything before it.
    private var told: Int64 = 0

    init() {}

    init(_ world: World) {
        let leader = world.leader
        term = leader?.seen.term
        told = world.watchers.reduce(0) { $0 + $1.next }
        for process in world.machines.compactMap(\.process) {
            applied += process.view?.appliedIndex ?? 0
            if process.machine != leader?.machine { stored += process.seen.durableIndex }
        }
    }

    /// Leaders that take turns fill logs and get nowhere.
    func isFurther(than before: Progress) -> Bool {
        applied > before.applied || told > before.told || term != nil && term == before.term && stored > before.stored
    }
}

final class Probe {
    let process: SimulatedProcess
    var isAnswered = false

    init(process: SimulatedProcess) {
        self.process = process
    }
}
