internal import Raft
internal import Replication

/// Three leaders, one after the other: the third commits what the first left behind and the second will replace, if it counts
/// only who has it (P 5.4.2, figure 8).
struct Overtaking {
    enum Stage {
        /// The first alone has an entry.
        case first(machine: Int)
        /// The second has another in its place, and alone has it, too.
        case second(machine: Int)
        /// The third has just told the others of the first's.
        case third(machine: Int)
    }
    var stage: Stage
}

extension World {
    func beginOvertaking() {
        guard overtaking == nil, rivalry == nil, let leader,
            (leader.replica?.raft.configuration.voters.count ?? 0) > 2
        else { return }
        overtaking = Overtaking(stage: .first(machine: leader.machine))
        say("m\(leader.machine) will be overtaken")
        cutOffOnly(leader.machine)
        add(.ask(leader, writes: true), after: 0)
        add(.lift(.overtaking), after: 40 * Self.second)
    }

    private func cutOffOnly(_ number: Int) { cut(machines.map { $0.number == number ? 1 : 0 }) }

    /// A member has just become leader.
    func goOnOvertaking(_ process: SimulatedProcess) {
        switch overtaking?.stage {
        case .first(let machine)? where machine != process.machine:
            overtaking?.stage = .second(machine: process.machine)
            say("m\(process.machine) overtakes")
            cutOffOnly(process.machine)
        case .second(let machine)? where machine != process.machine:
            overtaking?.stage = .third(machine: process.machine)
            say("m\(process.machine) takes the lead back")
        default: break
        }
    }

    /// What is about to arrive is the moment to cut somebody off.
    func overtake(at message: Message) {
        guard isTroubled else { return }
        switch (overtaking?.stage, message.body) {
        case (.first(let machine)?, .voteReply(granted: true)):
            // It may win; whom it leads then must not hear of it.
            guard let candidate = self.machine(of: message.to), candidate != machine else { return }
            silence(candidate)
        case (.third(let machine)?, .appendReply(.matched(let index), _)):
            guard let raft = machines[machine].process?.replica?.raft, raft.id == message.to, index > raft.commit,
                index < raft.log.lastIndex
            else { return }
            silence(machine)
            if let process = machines[machine].process { add(.cutOff(process), after: Self.second / 1000) }
        default: break
        }
    }

    /// Nobody hears it any more, but it hears the others.
    private func silence(_ number: Int) {
        for other in machines.indices where other != number { network.links[number][other].isCut = true }
    }
}
