internal import CSimulatedDisk
internal import Raft
internal import Replication
internal import Storage

/// The end of a fault.
enum Lifting {
    case link(from: Int, to: Int)
    case partition
    case rivalry
    case overtaking
    case clock(machine: Int)
}

extension World {
    /// One fault now, and the next one later.
    func strike() {
        guard isTroubled else { return }
        add(.fault, after: faultDice.duration(mean: plan.faultNanoseconds))
        let machine = faultDice.below(machines.count)
        let fault = faultDice.pick(plan.faults)
        switch fault.layer {
        case "network": strikeNetwork(fault)
        case "disk": strikeDisk(fault, machine)
        case "clock": strikeClock(fault, machine)
        case "process": strikeProcess(fault, machine)
        default:
            if fault == .rivalChanges { beginRivalry() }
            if fault == .newVoter { beginReplacing() }
            if fault == .overtaking { beginOvertaking() }
            if fault == .recovery { beginRecovery() }
            if fault == .overload { overload(machine) }
        // The others are the steward's.
        }
    }

    func lift(_ lifting: Lifting) {
        switch lifting {
        case .link(let from, let to):
            network.links[from][to] = Network.Link(lastArrival: network.links[from][to].lastArrival)
        case .partition:
            say("the network is whole again")
            network.heal()
        case .rivalry:
            rivalry = nil
            network.heal()
        case .overtaking:
            overtaking = nil
            network.heal()
        case .clock(let machine): machines[machine].clock.thaw(at: now)
        }
    }

    // MARK: - Network

    private func strikeNetwork(_ fault: Fault) {
        let from = faultDice.below(machines.count)
        let to = (from + faultDice.between(1, machines.count - 1)) % machines.count
        let duration = faultDice.duration(mean: 5 * Self.second)
        switch fault {
        case .loss:
            network.links[from][to].loss = faultDice.pick([0.05, 0.3, 0.9])
        case .delay:
            network.links[from][to].extraNanoseconds = faultDice.duration(mean: faultDice.pick([50, 500]) * 1_000_000)
        case .oneWayPartition:
            network.links[from][to].isCut = true
        case .partition: return partition(duration)
        case .reset: return reset(from)
        default: return  // Those of single messages are thrown with each.
        }
        say("\(fault.rawValue) from m\(from) to m\(to)")
        add(.lift(.link(from: from, to: to)), after: duration)
    }

    private func partition(_ duration: UInt64) {
        var sides = machines.map { _ in faultDice.below(2) }
        if let leader, faultDice.chance(0.5) { sides = sidesWithout(leader.machine) }
        cut(sides)
        add(.lift(.partition), after: duration)
    }

    func cut(_ sides: [Int]) {
        for from in machines.indices {
            for to in machines.indices { network.links[from][to].isCut = sides[from] != sides[to] }
        }
        say("partition \(sides)")
    }

    /// The leader, with at most one other, on one side.
    func sidesWithout(_ leader: Int) -> [Int] {
        let companion = faultDice.chance(0.4) ? faultDice.below(machines.count) : leader
        return machines.map { $0.number == leader || $0.number == companion ? 1 : 0 }
    }

    /// Whoever has a connection to the machine learns that it broke.
    func reset(_ machine: Int) {
        guard let process = machines[machine].process else { return }
        for other in machines {
            guard let peer = other.process, other.number != machine else { continue }
            add(.tell(peer, .raft(.unreachable(process.identity.memberID))), after: laneDelay())
            // As if nobody listened there, which need not be true.
            if faultDice.chance(0.5) {
                add(.tell(peer, .raft(.refused(process.identity.memberID))), after: laneDelay())
            }
        }
    }

    // MARK: - Disk

    private func strikeDisk(_ fault: Fault, _ number: Int) {
        let machine = Int32(number)
        guard machines[number].nodeID != nil else { return }
        if fault == .lostTail { return beginLosingTail(number) }
        if fault.isDamage {
            guard mayDamage(number) else { return }
        } else if machines[number].process == nil {
            return
        }
        if fault.isDamage { harm(number) }
        let soon = Int64(faultDice.between(1, 60))
        switch fault {
        case .powerCut: return crash(number, powerCut: true)
        case .torn: wd_arm_crash(machine, soon, faultDice.chance(0.5) ? 1 : 0)
        case .readError: wd_arm_read_error(machine, soon)
        case .stall: machines[number].stalledUntil = now + faultDice.duration(mean: 3 * Self.second)
        case .noSpace: wd_arm_full(machine, soon, Int64(faultDice.between(1, 40)))
        case .syncFailure: wd_arm_sync_failure(machine, Int64(faultDice.between(1, 20)))
        case .misdirectedWrite: wd_arm_misdirect(machine, soon)
        case .lostWrite: wd_arm_lost_write(machine, soon)
        case .bitFlip: return flip(number, in: ["log.db", "log.db-wal", "kv.db", "kv.db-wal", "durable.mark"])
        default: return
        }
        say("\(fault.rawValue) on m\(number)")
    }

    /// Fewer than half of the voters may have lost what they promised to keep, whichever of the configurations that are in
    /// somebody's log comes to count; and one that keeps more than the log must be left.
    func mayDamage(_ number: Int) -> Bool {
        guard leader != nil, let id = machines[number].nodeID, steward.lost.isEmpty, !machines[number].isDamaged,
            !isChangeUnderWay
        else { return false }
        func isWhole(_ voter: NodeID) -> Bool {
            machine(of: voter).map { !machines[$0].isDamaged && $0 != number } ?? false
        }
        // Those of members that are down, too: they come back with them.
        let configurations = machines.compactMap { machine in
            machine.nodeID.flatMap { _ in machine.process?.replica?.raft.configuration ?? machine.lastConfiguration }
        }
        return configurations.contains { $0.isVoter(id) }
            && configurations.allSatisfy { configuration in
                configuration.voters.isEmpty
                    || configuration.isQuorum(isWhole)
                        && configuration.members.contains { $0.role == .voter && isWhole($0.id) }
            }
    }

    func harm(_ number: Int) {
        machines[number].isDamaged = true
        if let id = machines[number].nodeID {
            machines[number].harmed = (id, machines[number].process?.replica?.raft.logEpoch ?? logEpochs[number] ?? 0)
        }
    }

    func flip(_ number: Int, in files: [String]) {
        if machines[number].process != nil { crash(number, powerCut: false) }
        let suffix = faultDice.pick(files)
        let offset = wd_flip(Int32(number), suffix, faultDice.next())
        guard offset >= 0 else { return }
        say("a bit flips at \(offset) of \(suffix) of m\(number)")
    }

    // MARK: - Clocks and processes

    private func strikeClock(_ fault: Fault, _ number: Int) {
        switch fault {
        case .drift:
            let rate = 0.95 + 0.1 * faultDice.unit()
            machines[number].clock.setRate(rate, at: now)
            say("the clock of m\(number) runs at \(rate)")
        case .freeze:
            let duration = faultDice.duration(mean: 3 * Self.second)
            machines[number].clock.freeze(until: now + duration, at: now)
            say("the clock of m\(number) stands still")
        default: break
        }
    }

    private func strikeProcess(_ fault: Fault, _ number: Int) {
        guard machines[number].process != nil else { return }
        switch fault {
        case .crash: crash(number, powerCut: false)
        case .pause:
            pause(faultDice.chance(0.4) ? leader?.machine ?? number : number)
        case .stop: stop(number)
        case .quickRestart: beginQuickRestart(number)
        case .wipe: if mayDamage(number) { wipe(number) }
        default: break
        }
    }

    private func pause(_ number: Int) {
        let duration = min(faultDice.duration(mean: 4 * Self.second), 60 * Self.second)
        if number == leader?.machine, plan.faults.contains(.partition), faultDice.chance(0.6) {
            return putToSleep(number, atLeast: duration)
        }
        standStill(number, for: duration)
        if let process = machines[number].process { ask(process, within: duration + Self.second) }
    }

    /// Its clients ask for much, and what is agreed on is slow to be applied and written.
    private func overload(_ number: Int) {
        guard let process = machines[number].process else { return }
        let duration = faultDice.duration(mean: 2 * Self.second)
        machines[number].overloadedUntil = now + duration
        say("m\(number) is overloaded for \(duration / 1_000_000) ms")
        // Where it is far, and one entry under way at a time, a few are too many.
        let isNarrow = plan.raft.messageBytesMax == 1 && plan.linkNanoseconds >= 10_000_000
        for _ in 0..<faultDice.between(20, isNarrow ? 25 : 150) {
            add(.ask(process, writes: true), after: faultDice.next() % duration)
        }
    }

    func standStill(_ number: Int, for duration: UInt64) {
        machines[number].pausedUntil = max(machines[number].pausedUntil, now + duration)
        say("m\(number) stands still for \(duration / 1_000_000) ms")
    }
}
