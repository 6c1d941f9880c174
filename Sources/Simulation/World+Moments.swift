internal import CSimulatedDisk
internal import Raft
internal import Replication
internal import Storage

/// What of a member's consensus tells that something happened.
struct Seen {
    var term: Term = 0
    var vote: NodeID?
    var leads = false
    var lastIndex: Index = 0
    var lastTerm: Term = 0
    var configurationIndex: Index = 0
    var commit: Index = 0
    var baseIndex: Index = 0
    var durableIndex: Index = 0
    var durableTerm: Term = 0
    var newsDue: UInt64?
}

extension Seen {
    init(_ raft: Raft) {
        self.init(
            term: raft.term, vote: raft.vote, leads: raft.role == .leader, lastIndex: raft.log.lastIndex,
            lastTerm: raft.log.term(at: raft.log.lastIndex) ?? 0, configurationIndex: raft.configurationIndex,
            commit: raft.commit, baseIndex: raft.log.baseIndex, durableIndex: raft.log.durableIndex,
            durableTerm: raft.log.term(at: raft.log.durableIndex) ?? 0, newsDue: raft.newsDue)
    }
}

/// What happened in a step of consensus.
struct Moments: OptionSet {
    let rawValue: Int
    static let cut = Moments(rawValue: 1)
    static let vote = Moments(rawValue: 2)
    static let lead = Moments(rawValue: 4)
    static let change = Moments(rawValue: 8)
}

/// Chance alone rarely strikes in the few milliseconds in which a mistake shows. These are the moments to strike in, and
/// what to ask for then.
extension World {
    private var ends: [Fault] { plan.faults.filter { $0 == .crash || $0 == .powerCut } }

    /// Checks a step of consensus, and tells what happened in it.
    func moments(_ raft: borrowing Raft, since before: Seen, _ now: Seen) -> Moments {
        var found: Moments = []
        if now.lastIndex < before.lastIndex || raft.log.term(at: before.lastIndex) != before.lastTerm {
            found.insert(.cut)
        }
        if now.term != before.term || now.vote != before.vote { found.insert(.vote) }
        if now.leads, !before.leads || now.term != before.term { found.insert(.lead) }
        if now.configurationIndex != before.configurationIndex { found.insert(.change) }
        do throws(Violation) {
            if now.leads {
                try oracle.noteLeader(raft.id, term: raft.term)
                try oracle.checkLeader(raft)
            }
            if found.contains(.lead) { try checkLeases(besides: raft) }
            if !found.isEmpty { try oracle.checkConfiguration(raft) }
            guard now.commit >= before.commit else {
                throw Violation(
                    check: "commit never goes back", detail: "\(raft.id) went from \(before.commit) to \(now.commit)")
            }
        } catch {
            fail(error)
        }
        return found
    }

    /// Nobody is elected while another may still answer reads alone (D 6.4.1). That it does answer one too old takes more luck.
    private func checkLeases(besides elected: borrowing Raft) throws(Violation) {
        for process in machines.compactMap(\.process) {
            guard let raft = process.replica?.raft, raft.term < elected.term, process.now < raft.leaseUntil else {
                continue
            }
            throw Violation(
                check: "nobody is elected during another's lease",
                detail: "\(elected.id) leads term \(elected.term), and \(raft.id) has a lease in term \(raft.term)")
        }
    }

    /// What a member takes for durable, and may acknowledge, its disk has.
    func checkBelief(_ process: SimulatedProcess, _ log: LogStore) {
        let seen = process.seen
        let base = log.loaded().baseIndex
        guard seen.durableIndex > base, seen.durableIndex > seen.baseIndex,
            log.term(at: seen.durableIndex) != seen.durableTerm
        else { return }
        fail(
            Violation(
                check: "what counts as durable is on the disk",
                detail:
                    "m\(process.machine) believes in entry \(seen.durableIndex) of term \(seen.durableTerm), its disk "
                    + "ends at \(log.loaded().lastIndex)"))
    }

    /// Strikes in what may be a bad moment.
    func tempt(_ process: SimulatedProcess, _ moments: Moments) {
        guard isTroubled else { return }
        if moments.contains(.vote) { temptVoter(process) }
        if moments.contains(.lead) { temptLeader(process) }
        if moments.contains(.change), process.seen.leads { temptChange(process) }
        if moments.contains(.cut) { temptDisk(process.machine, chance: 0.2) }
    }

    /// A member has just voted, or learnt of another term: no worse moment to die than before the disk knows.
    private func temptVoter(_ process: SimulatedProcess) {
        guard faultDice.chance(0.08), let end = ends.randomElement(using: &faultDice) else { return }
        let soon = faultDice.next() % (2 * plan.syncNanoseconds + 2 * plan.linkNanoseconds)
        add(.end(process, powerCut: end == .powerCut), after: soon)
    }

    /// A member has just become leader: a good moment to lose it, or everybody else, or to ask it for anything.
    private func temptLeader(_ process: SimulatedProcess) {
        if rivalry != nil { return goOnWithRivalry(process) }
        if overtaking != nil { return goOnOvertaking(process) }
        let soon = faultDice.chance(0.5) ? 0 : faultDice.next() % (2 * plan.syncNanoseconds + 3 * plan.linkNanoseconds)
        if faultDice.chance(0.2) {
            switch plan.faults.filter({ $0 == .crash || $0 == .powerCut || $0 == .partition }).randomElement(
                using: &faultDice)
            {
            case .crash?: add(.end(process, powerCut: false), after: soon)
            case .powerCut?: add(.end(process, powerCut: true), after: soon)
            case .partition?: add(.isolate(process), after: soon)
            default: break
            }
        }
        if faultDice.chance(0.6) {
            add(.ask(process, writes: false), after: 0)
            add(.ask(process, writes: true), after: soon)
        }
        if plan.faults.contains(.membership), faultDice.chance(0.3) { add(.changeMembership(process), after: 0) }
        if plan.faults.contains(.reset), faultDice.chance(0.2) { reset(process.machine) }
    }

    /// A leader has just changed who votes, and nobody knows.
    private func temptChange(_ process: SimulatedProcess) {
        if temptNewVoter(process) { return }
        guard faultDice.chance(0.3) else { return }
        let soon = faultDice.next() % (2 * plan.syncNanoseconds + 3 * plan.linkNanoseconds)
        if plan.faults.contains(.partition), faultDice.chance(0.7) {
            add(.isolate(process), after: soon)
        } else if let end = ends.randomElement(using: &faultDice) {
            add(.end(process, powerCut: end == .powerCut), after: soon)
        }
    }

    /// Two machines do not hear each other for a while.
    private func part(_ one: Int, from other: Int, for duration: UInt64) {
        for (from, to) in [(one, other), (other, one)] {
            network.links[from][to].isCut = true
            add(.lift(.link(from: from, to: to)), after: duration)
        }
    }

    /// A leader was told to hand over.
    func temptHandover(_ process: SimulatedProcess) {
        guard plan.faults.contains(.partition), faultDice.chance(0.5) else { return }
        add(.isolate(process), after: faultDice.next() % (6 * plan.linkNanoseconds + 2 * plan.syncNanoseconds))
    }

    /// Somebody was told that a write is done: the leader may be the only one who knows.
    func temptAnswer() {
        let share = min(0.02, Double(plan.thinkNanoseconds) / Double(10 * plan.faultNanoseconds))
        guard isTroubled, faultDice.chance(share), let leader, let end = ends.randomElement(using: &faultDice) else {
            return
        }
        add(.end(leader, powerCut: end == .powerCut), after: 0)
    }

    /// A machine begins something on its disk that must happen whole.
    func temptDisk(_ machine: Int, chance: Double) {
        guard isTroubled, plan.faults.contains(.torn), faultDice.chance(chance) else { return }
        wd_arm_crash(Int32(machine), Int64(faultDice.between(1, 40)), faultDice.chance(0.5) ? 1 : 0)
    }

    /// A machine begins to write its state: what makes room when there is none has to be synced.
    func temptFullDisk(_ machine: Int) {
        guard isTroubled, plan.faults.contains(.noSpace), plan.faults.contains(.syncFailure), faultDice.chance(0.05)
        else {
            return
        }
        wd_arm_full(Int32(machine), Int64(faultDice.between(1, 6)), Int64(faultDice.between(1, 20)))
        wd_arm_sync_failure(Int32(machine), Int64(faultDice.between(1, 2)))
    }

    /// A machine is about to write an image of its state, for another to take its place by.
    func temptImage(of machine: Int) {
        guard isTroubled, plan.faults.contains(.misdirectedWrite), faultDice.chance(0.3), mayDamage(machine) else {
            return
        }
        harm(machine)
        wd_arm_misdirect(Int32(machine), Int64(faultDice.between(1, 12)))
        say("an image that m\(machine) makes is damaged")
    }

    /// A process builds on what its disk refused to one before.
    func temptRestarted(_ process: SimulatedProcess) {
        guard machines[process.machine].diedOfDisk else { return }
        machines[process.machine].diedOfDisk = false
        guard isTroubled, plan.faults.contains(.powerCut), faultDice.chance(0.5) else { return }
        add(.end(process, powerCut: true), after: faultDice.duration(mean: Self.second))
    }

    /// The leader, with at most one other, loses everybody else; it is asked what it knows.
    func isolate(_ process: SimulatedProcess) {
        guard process.isAlive, isTroubled else { return }
        cut(sidesWithout(process.machine))
        add(.lift(.partition), after: faultDice.duration(mean: 5 * Self.second))
        ask(process, within: 3 * Self.second)
    }

    /// Linearizable reads of one member, and writes through whoever leads elsewhere.
    func ask(_ process: SimulatedProcess, within nanoseconds: UInt64) {
        for _ in 0..<6 { add(.ask(process, writes: false), after: faultDice.next() % nanoseconds) }
    }

    func changeMembership(_ process: SimulatedProcess) {
        guard process.isAlive, isTroubled, let configuration = process.replica?.raft.configuration else { return }
        changeMembership(process, configuration)
    }

    // MARK: - Several faults together

    /// First, so many members lag that they and the victim are a quorum.
    func beginLosingTail(_ victim: Int) {
        guard let leader, leader.machine != victim, mayDamage(victim),
            let voters = leader.replica?.raft.configuration.voters, voters.count > 2
        else { return }
        let others = voters.compactMap(machine(of:)).filter { $0 != leader.machine && $0 != victim }
        let laggards = Array(others.shuffled(using: &faultDice).prefix(voters.count / 2))
        cut(machines.map { laggards.contains($0.number) ? 1 : 0 })
        let lag = Self.second + faultDice.duration(mean: 3 * plan.thinkNanoseconds)
        add(.loseTail(victim, laggards: laggards), after: lag)
    }

    /// Then only they are left, and the victim has lost what was acknowledged meanwhile.
    func loseTail(_ victim: Int, _ laggards: [Int]) {
        guard isTroubled else { return }
        cut(machines.map { laggards.contains($0.number) || $0.number == victim ? 1 : 0 })
        add(.lift(.partition), after: plan.restartNanoseconds + faultDice.duration(mean: 10 * Self.second))
        guard mayDamage(victim) else { return }
        harm(victim)
        flip(victim, in: ["log.db-wal", "log.db-wal", "log.db"])
    }

    /// First, as many as can be spared hear no leader, and ask for votes until they have them. Nobody writes meanwhile: they
    /// would not get them if they lacked anything.
    func beginQuickRestart(_ victim: Int) {
        guard let leader, leader.machine != victim, let voters = leader.replica?.raft.configuration.voters else {
            return
        }
        let others = voters.compactMap(machine(of:)).filter { $0 != leader.machine && $0 != victim }
        let deaf = others.shuffled(using: &faultDice).prefix((voters.count - 1) / 2)
        guard !deaf.isEmpty else { return }
        for machine in deaf { part(leader.machine, from: machine, for: 4 * Self.second) }
        say("\(deaf.map { "m\($0)" }.joined(separator: ", ")) and m\(leader.machine) do not hear each other")
        let wait = Self.second + faultDice.next() % (2 * Self.second)
        clients.quietUntil = now + wait
        add(.restartAtOnce(victim), after: wait)
    }

    /// Then another that heard one is killed, and back before the leader knows.
    func restartAtOnce(_ victim: Int) {
        guard isTroubled, let leader, leader.machine != victim, machines[victim].process != nil else { return }
        crash(victim, powerCut: false, awayNanoseconds: 1_000_000 + faultDice.next() % 50_000_000)
        cut(machines.map { $0.number == leader.machine ? 1 : 0 })
        add(.lift(.partition), after: faultDice.duration(mean: 3 * Self.second))
        ask(leader, within: Self.second / 2)
    }

    /// First, a leader stands still: it finds what was on its way later, but nothing that is said from now on. It is asked
    /// what it knows just before it goes on, when another leads and has written.
    func putToSleep(_ number: Int, atLeast duration: UInt64) {
        guard let process = machines[number].process else { return }
        let election = UInt64(process.electionMilliseconds) * 1_000_000
        let sleep = max(duration, 3 * election + 8 * plan.linkNanoseconds)
        standStill(number, for: sleep)
        add(.cutOff(process), after: plan.linkNanoseconds * 5 / 2)
        add(.lift(.partition), after: sleep + election)
        for _ in 0..<4 { add(.ask(process, writes: false), after: sleep - faultDice.next() % (election / 2)) }
    }

    /// Then nobody hears it, nor it anybody.
    func cutOff(_ process: SimulatedProcess) {
        if process.isAlive, isTroubled { cut(machines.map { $0.number == process.machine ? 1 : 0 }) }
    }

    /// First, a leader of an even number of voters removes one, and nobody hears of it (the bug of 2015).
    func beginRivalry() {
        guard rivalry == nil, let leader, !machines.contains(where: \.isDamaged), steward.lost.isEmpty,
            let configuration = leader.replica?.raft.configuration, !configuration.isJoint,
            configuration.voters.count > 2
        else { return }
        let others = configuration.voters.filter { $0 != leader.identity.memberID }.shuffled(using: &faultDice)
        guard configuration.voters.count.isMultiple(of: 2) else { return askForTwoRemovals(leader, others) }
        change(leader, .remove(others[0]))
        rivalry = (leader.machine, others[0])
        cut(machines.map { $0.number == leader.machine ? 1 : 0 })
        add(.lift(.rivalry), after: 20 * Self.second)
    }

    /// Or one of an odd number is to remove two, the second before the first is done. It finds as few as would be enough then,
    /// and those who have not heard of it are enough by what they know.
    private func askForTwoRemovals(_ leader: SimulatedProcess, _ others: [NodeID]) {
        change(leader, .remove(others[0]))
        change(leader, .remove(others[1]))
        let allies = others.dropFirst(2).prefix(others.count / 2 - 1).compactMap(machine(of:))
        cut(machines.map { $0.number == leader.machine || allies.contains($0.number) ? 1 : 0 })
        add(.lift(.rivalry), after: 20 * Self.second)
    }

    /// Then the next leader removes another, and each of the two finds half of the rest.
    private func goOnWithRivalry(_ process: SimulatedProcess) {
        guard let (first, removed) = rivalry, process.machine != first,
            let voters = process.replica?.raft.configuration.voters
        else { return }
        rivalry = nil
        let own = process.identity.memberID
        let rest = voters.filter { $0 != own && $0 != removed && machine(of: $0) != first }
        let allies = Array(([own, removed] + rest.shuffled(using: &faultDice)).uniqued().prefix(voters.count / 2))
        guard let other = voters.filter({ !allies.contains($0) }).randomElement(using: &faultDice) else { return }
        change(process, .remove(other))
        cut(machines.map { machine in machine.nodeID.map { allies.contains($0) } == true ? 1 : 0 })
    }
}

extension Array where Element == NodeID {
    fileprivate func uniqued() -> [NodeID] {
        reduce(into: []) { found, id in if !found.contains(id) { found.append(id) } }
    }
}
