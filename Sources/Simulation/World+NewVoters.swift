internal import Raft
internal import Replication
internal import Storage

/// Beside a witness a newcomer that votes may be the second of two that have an entry. What it lacks then only the leader has, if
/// the witness cut it off: that is the moment to lose the leader.
extension World {
    /// First, the leader's state on disk, which a newcomer begins with, falls behind.
    func beginReplacing() {
        guard plan.hasWitness, let leader else { return }
        replaceVoter(leader, behind: leader.seen.lastIndex, tries: 20)
    }

    /// Then, once the witness has cut off what that lacks, a newcomer is to take the place of another voter.
    func replaceVoter(_ leader: SimulatedProcess, behind index: Index, tries: Int) {
        guard isTroubled, tries > 0, leader.isAlive, leader.seen.leads, steward.lost.isEmpty,
            !machines.contains(where: { $0.isDamaged || $0.joining != nil }),
            let configuration = leader.replica?.raft.configuration, !configuration.isJoint
        else { return }
        machines[leader.machine].keepsStateUntil = now + 4 * Self.second
        let witnesses = configuration.voters.filter(configuration.isWitness).compactMap(machine(of:))
        guard witnesses.contains(where: { machines[$0].process?.seen.baseIndex ?? 0 > index }) else {
            for _ in 0..<4 { add(.ask(leader, writes: true), after: faultDice.next() % Self.second) }
            return add(.replaceVoter(leader, behind: index, tries: tries - 1), after: Self.second)
        }
        guard let free = machines.first(where: { if case .free = $0.role { true } else { false } }),
            let old = configuration.voters.filter({ $0 != leader.identity.memberID && !configuration.isWitness($0) })
                .randomElement(using: &faultDice)
        else { return }
        join(free.number, leader, as: .joining, replacing: old)
    }

    /// Then it has its vote: it and the other hear nothing more until the leader, which has made the other nobody, is lost. Answers
    /// if it is so.
    func temptNewVoter(_ process: SimulatedProcess) -> Bool {
        guard plan.faults.contains(.newVoter), let newest = process.replica?.raft.configuration,
            newest.members.contains(where: { $0.isVoting && $0.isWitness })
        else { return false }
        let newcomers = newest.voters.filter { !newest.isWitness($0) && !process.members.isVoter($0) }
        guard !newcomers.isEmpty else { return false }
        if newest.isJoint {
            say("\(newcomers) have their vote, and hear nothing more of m\(process.machine)")
            let deaf = newcomers + newest.outgoing.filter { !newest.voters.contains($0) }
            cut(machines.map { machine in machine.nodeID.map(deaf.contains) == true ? 1 : 0 })
            add(.lift(.partition), after: 5 * Self.second)
            return true
        }
        add(.lose(process), after: 2 * plan.linkNanoseconds + 2 * plan.syncNanoseconds + faultDice.next() % Self.second)
        return true
    }
}
