internal import CSimulatedDisk
internal import MVCC
internal import Raft
internal import Replication
internal import Storage

/// Who runs the fabric: takes lost members out, brings machines in, and changes the membership for no reason.
struct Steward {
    var nextID: NodeID = 0
    /// Members whose disk is gone, and the machine that comes back as a new one.
    var lost: [(id: NodeID, machine: Int)] = []
    /// Where a change of members was asked for last, and when.
    var asked: (machine: Int, at: UInt64)?
}

extension World {
    func operate() {
        defer {
            if !isOver {
                add(
                    .operate,
                    after: faultDice.duration(
                        mean: isTroubled ? min(2 * Self.second, 4 * plan.faultNanoseconds) : Self.second / 2))
            }
        }
        guard let leader, let configuration = leader.replica?.raft.configuration else { return }
        mayRepair = configuration.members.count > 1
        settle(configuration)
        // What is not applied may come to nothing.
        if replaceLost(leader, leader.members) || goOnJoining(leader) { return }
        guard isTroubled else { return }
        if plan.faults.contains(.transfer), faultDice.chance(0.1),
            let target = configuration.voters.randomElement(using: &faultDice)
        {
            say("the lead goes to member \(target)")
            leader.post(.raft(.transfer(to: target)))
            temptHandover(leader)
        }
        if plan.faults.contains(.compaction), faultDice.chance(0.2) { compact(leader) }
        if faultDice.chance(0.3) { changeMembership(leader, configuration) }
        changeDomains(leader, configuration)
        changeReads(leader, configuration)
        goOnUpgrading(leader)
    }

    /// Newcomers that are voters are whole again.
    private func settle(_ configuration: Configuration) {
        for number in machines.indices where machines[number].isDamaged {
            guard let id = machines[number].nodeID, let raft = machines[number].process?.replica?.raft,
                configuration.isVoter(id), !raft.isRecovering
            else { continue }
            if let harmed = machines[number].harmed, harmed.id == id, harmed.logEpoch == raft.logEpoch { continue }
            guard !raft.isWitness || isElsewhere(raft.log.baseIndex, configuration) else { continue }
            say("m\(number) is whole again")
            machines[number].isDamaged = false
        }
    }

    /// If what a witness that was harmed goes on from is at more than one member that has state: it came with an image, in which it is not,
    /// and the only other copy may be at the one that is harmed next.
    private func isElsewhere(_ index: Index, _ configuration: Configuration) -> Bool {
        let holders = configuration.members.filter { $0.role == .voter }
        let reached = holders.filter { member in
            guard let number = machine(of: member.id) else { return false }
            let last =
                machines[number].process?.replica?.raft.log.durableIndex ?? machines[number].durable?.lastIndex ?? 0
            return last >= index
        }
        return reached.count >= min(2, holders.count)
    }

    /// Answers if there was something to do.
    private func replaceLost(_ leader: SimulatedProcess, _ configuration: Configuration) -> Bool {
        guard let first = steward.lost.first else { return false }
        // Of a leader that has just started: it knows what its log says before it has applied that.
        let newest = leader.replica?.raft.configuration ?? configuration
        if let member = configuration[first.id] ?? newest[first.id] {
            // Commits may wait for what is lost, also by a configuration that is for that very reason not applied.
            let waits =
                plan.spread > 1
                && [configuration, newest].contains { !$0.policy.inactive.contains(member.domain) }
            change(leader, waits ? .setActive(domain: member.domain, false) : .remove(first.id))
        } else {
            // One that stood still does not know who came while it did.
            guard isOfNewestTerm(leader) else { return false }
            steward.lost.removeFirst()
            join(first.machine, leader, as: .joining)
        }
        return true
    }

    private func isOfNewestTerm(_ leader: SimulatedProcess) -> Bool {
        let term = leader.replica?.raft.term ?? 0
        return machines[leader.machine].pausedUntil <= now
            && machines.allSatisfy { machine in
                (machine.process?.replica?.raft.term ?? machine.durable?.hardState.term ?? 0) <= term
            }
    }

    /// A join that the fabric did not hear of, or forgot with a leader, is asked for again.
    private func goOnJoining(_ leader: SimulatedProcess) -> Bool {
        for number in machines.indices {
            guard var newcomer = machines[number].joining else { continue }
            // Whom it should replace may be gone.
            if let old = newcomer.replaces, leader.members[old] == nil { newcomer.replaces = nil }
            if leader.members[newcomer.id] != nil || leader.removed.contains(newcomer.id) {
                machines[number].joining = nil
                if leader.removed.contains(newcomer.id) { add(.removedUnseen(machine: number, newcomer.id), after: 0) }
            } else if leader.replica?.raft.configuration[newcomer.id] == nil {
                change(leader, .add(newcomer))
                return true
            }
        }
        return false
    }

    private func compact(_ leader: SimulatedProcess) {
        let revision =
            oracle.model.compactRevision
            + Int64(faultDice.below(Int(oracle.model.revision - oracle.model.compactRevision) + 1))
        say("revisions before \(revision) are compacted")
        propose(.compact(revision: revision), at: leader)
    }

    func changeMembership(_ leader: SimulatedProcess, _ configuration: Configuration) {
        // Nobody takes voters out while another has lost what it had.
        guard plan.faults.contains(.membership), !machines.contains(where: \.isDamaged) else { return }
        let free = machines.filter { if case .free = $0.role { !$0.isDamaged } else { false } }.map(\.number)
        switch faultDice.below(8) {
        case 0, 1:
            guard let machine = free.first else { return }
            join(machine, leader, as: faultDice.pick([.joining, .joining, .learner, .joiningWitness]))
        case 2:
            guard let machine = free.first, let old = configuration.voters.randomElement(using: &faultDice) else {
                return
            }
            join(machine, leader, as: .joining, replacing: old)
        case 3:
            let learners = configuration.members.filter { !$0.isVoting }
            if let learner = learners.randomElement(using: &faultDice) { change(leader, .promote(learner.id)) }
        case 4, 5: changeSeveral(leader, configuration)
        default:
            guard configuration.voters.count > 2 || plan.voters < 3, configuration.voters.count > 1,
                let id = configuration.members.randomElement(using: &faultDice)?.id
            else { return }
            change(leader, .remove(id))
        }
    }

    /// Two votes at once: there are two sets of voters for a while.
    private func changeSeveral(_ leader: SimulatedProcess, _ configuration: Configuration) {
        var changes: [ConfigurationChange] = []
        for member in configuration.members where faultDice.chance(0.4) {
            changes.append(member.isVoting ? .remove(member.id) : .promote(member.id))
        }
        let left = configuration.voters.count - changes.count { if case .remove = $0 { true } else { false } }
        if changes.count > 1, left >= 2 { change(leader, .several(changes)) }
    }

    /// Lets a machine without a member become one.
    func join(
        _ machine: Int, _ leader: SimulatedProcess, as role: Member.Role, replacing old: NodeID? = nil
    ) {
        steward.nextID += 1
        let id = steward.nextID
        machines[machine].role = .member(id)
        machines[machine].versions = releaseOfNewcomer()
        machines[machine].durable = nil
        wd_start(Int32(machine))
        say("m\(machine) joins as member \(id), \(role)")
        let newcomer = Member(
            id: id, role: role, peerURLs: ["http://m\(machine)-\(id)"], replaces: old, domain: domain(of: machine))
        machines[machine].joining = newcomer
        change(leader, .add(newcomer))
        add(.start(machine: machine), after: faultDice.duration(mean: Self.second / 2))
    }

    func change(_ leader: SimulatedProcess, _ change: ConfigurationChange) {
        say("asked of m\(leader.machine): \(change)")
        steward.asked = (leader.machine, now)
        leader.post(.change(requestID: makeRequestID(), change, deadline: leader.now + Self.patience))
    }

    /// If somebody who stood still may only now begin with a change of members.
    var isChangeUnderWay: Bool {
        guard let asked = steward.asked else { return false }
        return machines[asked.machine].pausedUntil > asked.at && now < asked.at + 2 * Self.patience
    }

    private static let patience = 7 * second
}

extension Dice: RandomNumberGenerator {}
