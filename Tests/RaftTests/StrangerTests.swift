import Testing

@testable import Raft

/// Messages that no member would send: they may disturb, but they end nothing, and what is committed stays.
@Suite struct StrangerTests {
    private func elected(_ voters: [NodeID] = [1, 2, 3]) -> Network {
        var network = Network(voters: voters)
        network.elect(1)
        network.propose("a", at: 1)
        network.settle()
        return network
    }

    private func contradictions(_ raft: inout Raft, after message: Message) -> [Contradiction] {
        _ = raft.takeReady()
        raft.receive(.message(message))
        return raft.takeReady().contradictions
    }

    /// Ticks everybody until somebody leads and has committed something.
    private func goOn(_ network: inout Network, ticks: Int = 400) -> Bool {
        let before = network.ids.map { network[$0].commit }.max() ?? 0
        for tick in 0..<ticks {
            for id in network.ids { network.tick(id) }
            network.settle()
            guard let leader = network.leaders.first else { continue }
            if tick % 10 == 0 { network.propose("on", at: leader) }
            network.settle()
            let isWell = network.ids.count { network[$0].commit > before } > network.ids.count / 2
            if isWell { return true }
        }
        return false
    }

    @Test("A term to which no election can have led is refused, from whatever message", arguments: 0..<6)
    func termJump(kind: Int) {
        let bodies: [Message.Body] = [
            .heartbeat(Message.Heartbeat(commit: 0, round: 1)), .voteReply(granted: true),
            .vote(lastIndex: 1 << 40, lastTerm: 1 << 61, transfer: true), .timeoutNow,
            .append(previousIndex: 0, previousTerm: 0, entries: [], commit: 0, logEpoch: 0),
            .preVoteReply(granted: false),
        ]
        var network = elected()
        let term = network[2].term
        for far in [term + 1 << 33, 1 << 62 - 1] as [Term] {
            let found = contradictions(&network[2], after: Message(from: 3, to: 2, term: far, body: bodies[kind]))
            #expect(found == [.termJump(from: 3, to: far)])
            #expect(network[2].term == term)
        }
        let last = goOn(&network)
        #expect(last)
    }

    @Test("What is not on disk yet is no answer to what was lost")
    func lossNamesWhatIsDurable() {
        var network = elected()
        let (durable, term) = (network[2].log.durableIndex, network[2].term)
        network.writesAtOnce = false
        let entry = Entry(
            index: network[2].log.lastIndex + 1, term: term, proposal: Proposal(id: 0, kind: .empty, payload: []))
        let append = Message.Body.append(
            previousIndex: durable, previousTerm: term, entries: [entry], commit: 0, logEpoch: network[2].logEpoch)
        network[2].receive(.message(Message(from: 1, to: 2, term: term, body: append)))
        let beat = Message.Heartbeat(commit: durable + 20, round: 9, logEpoch: network[2].logEpoch)
        network[2].receive(.message(Message(from: 1, to: 2, term: term, body: .heartbeat(beat))))
        let answers = network[2].takeReady().messages.compactMap { message in
            if case .appendReply(.lost(let index), _) = message.body { index } else { nil as Index? }
        }
        #expect(network[2].log.lastIndex == durable + 1)
        #expect(answers == [durable])
    }

    @Test("Another entry in the place of a committed one is refused, and ends nothing")
    func overwriting() {
        var network = elected()
        let (term, commit) = (network[2].term, network[2].commit)
        let before = network[2].log.entries(from: commit, through: commit, costMax: .max)
        let other = Entry(
            index: commit, term: term + 1, proposal: Proposal(id: 1, kind: .command, payload: Array("other".utf8)))
        // The entry before the one in question is past, too: a leader that knew so little would have sent it long ago.
        network[2].receive(
            .message(
                Message(
                    from: 3, to: 2, term: term + 1,
                    body: .append(previousIndex: commit - 1, previousTerm: 1, entries: [other], commit: 0, logEpoch: 0))
            ))
        // From the commit index on what differs is refused one by one.
        let same = network[2].log.term(at: commit) ?? 0
        let far = Entry(index: commit + 1, term: term + 1, proposal: Proposal(id: 2, kind: .empty, payload: []))
        let found = contradictions(
            &network[2],
            after: Message(
                from: 3, to: 2, term: term + 1,
                body: .append(previousIndex: commit, previousTerm: same, entries: [far], commit: 0, logEpoch: 0)))
        #expect(found.isEmpty)
        #expect(network[2].log.entries(from: commit, through: commit, costMax: .max) == before)
        let last = goOn(&network)
        #expect(last)
    }

    @Test(
        "A leader that speaks of more than was acknowledged makes nobody forget its log, and holds up elections for a while only"
    )
    func commitFromNowhere() {
        var network = elected()
        for id in network.ids {
            let liar: NodeID = id == 3 ? 2 : 3
            let beat = Message.Heartbeat(commit: 1 << 40, round: 1, stored: 1 << 40)
            let stored = network[id].storedIndex
            let lie = Message(from: liar, to: id, term: network[id].term + 1, body: .heartbeat(beat))
            let found = contradictions(&network[id], after: lie)
            #expect(found == [.commitBeyondLog(from: liar, index: 1 << 40)])
            #expect(network[id].commit <= network[id].log.lastIndex)
            #expect(network[id].storedIndex == stored, "or a witness cuts off what others lack (seed 90176)")
        }
        let last = goOn(&network)
        #expect(last)
    }

    @Test("A member that lost what it had acknowledged, and does not know, gets it again from its leader")
    func silentlyLostEntries() {
        var network = elected()
        for n in 0..<5 { network.propose("\(n)", at: 1) }
        network.settle()
        let whole = network[2].log.lastIndex
        network.crash(2)
        network.hosts[2]?.disk.entries.removeLast(3)
        network.hosts[2]?.disk.applied = whole - 4
        network.restart(2)
        #expect(network[2].log.lastIndex == whole - 3)
        for _ in 0..<3 {
            network.tick(1)
            network.settle()
        }
        #expect(network[2].log.lastIndex == network[1].log.lastIndex)
        #expect(network[2].commit == network[1].commit)
    }

    @Test("A member whose disk forgot that its tail was replaced commits nothing of the old tail")
    func silentlyLostReplacement() throws {
        var network = elected()
        network.cutOff([1])
        for n in 0..<6 { network.propose("old \(n)", at: 1) }
        let old = try #require(network.hosts[1]?.disk)
        for _ in 0..<(5 * network.settings.electionTicks) {
            for id in [2, 3] as [NodeID] { network.tick(id) }
            network.settle()
        }
        let leader = try #require(network.leaders.last { $0 != 1 })
        for n in 0..<3 { network.propose("new \(n)", at: leader) }
        network.heal()
        for _ in 0..<3 {
            network.tick(leader)
            network.settle()
        }
        #expect(network[1].log.lastIndex == network[leader].log.lastIndex)
        network.crash(1)
        let mark = try #require(network.hosts[1]?.disk.hardState)
        network.hosts[1]?.disk = old
        network.hosts[1]?.disk.hardState = HardState(term: mark.term, vote: mark.vote, commit: old.hardState.commit)
        network.restart(1)
        // Heartbeats come first.
        for _ in 0..<3 {
            network.tick(leader)
            network.settle(without: { if case .append = $0.body { true } else { false } })
        }
        #expect(network[1].commit == old.hardState.commit)
        for _ in 0..<3 {
            network.tick(leader)
            network.settle()
        }
        #expect(network.hosts[1]?.disk.state == network.hosts[leader]?.disk.state)
        #expect(network[1].loss == nil && network[1].commit == network[leader].commit)
    }

    @Test("A member that lost something votes only for candidates that have it, until it has waited in vain")
    func losersDoNotVote() {
        var network = elected()
        let (term, last) = (network[2].term, network[2].log.lastIndex)
        let beat = Message.Heartbeat(commit: last + 5, round: 1)
        // With each heartbeat.
        for _ in 0..<2 { network[2].receive(.message(Message(from: 1, to: 2, term: term, body: .heartbeat(beat)))) }
        _ = network[2].takeReady()
        func ask(_ index: Index, _ logTerm: Term) -> NodeID? {
            let vote = Message.Body.vote(lastIndex: index, lastTerm: logTerm, transfer: true)
            network[2].receive(.message(Message(from: 3, to: 2, term: network[2].term + 1, body: vote)))
            return network[2].vote
        }
        #expect(ask(last + 4, term) == nil)
        #expect(ask(last + 5, term) == 3)
        #expect(ask(last + 4, term) == nil)
        for _ in 0..<(10 * network.settings.electionTicks - 1) { network[2].receive(.tick) }
        #expect(ask(last + 4, term) == nil)
        network[2].receive(.tick)
        #expect(network[2].takeReady().contradictions.contains(.lossUnresolved(index: last + 5)))
        #expect(ask(last + 4, term) == 3)
    }

    @Test("What a leader said once holds up elections for two timeouts")
    func saidOnce() {
        var network = elected()
        let (term, last) = (network[2].term, network[2].log.lastIndex)
        let beat = Message.Heartbeat(commit: 1 << 40, round: 1)
        network[2].receive(.message(Message(from: 1, to: 2, term: term, body: .heartbeat(beat))))
        for _ in 0..<(2 * network.settings.electionTicks) { network[2].receive(.tick) }
        let vote = Message.Body.vote(lastIndex: last, lastTerm: term, transfer: true)
        network[2].receive(.message(Message(from: 3, to: 2, term: network[2].term + 1, body: vote)))
        #expect(network[2].vote == 3)
    }

    @Test("A member that is slow to get back what it lost elects nobody without it, across restarts, too")
    func slowRecovery() {
        var network = elected()
        network.cut = [[1, 3], [3, 1], [2, 3], [3, 2]]
        for n in 0..<5 { network.propose("\(n)", at: 1) }
        network.settle()
        let whole = network[2].log.lastIndex
        #expect(network[1].commit == whole, "acknowledged by 1 and 2")
        for _ in 0..<2 {
            network.crash(2)
            if network[2].log.lastIndex == whole {
                network.hosts[2]?.disk.entries.removeLast(3)
                network.hosts[2]?.disk.applied = whole - 4
            }
            network.restart(2)
            // Heartbeats come, and what is missing does not.
            for _ in 0..<(5 * network.settings.electionTicks) {
                for id in [1, 2] as [NodeID] { network.tick(id) }
                network.settle(without: { if case .append = $0.body { true } else { false } })
            }
            #expect(network[2].log.lastIndex == whole - 3)
            #expect(network[2].loss?.index == whole)
        }
        // The leader dies, and a member that has nothing of it asks.
        network.crash(1)
        network.cut = []
        for _ in 0..<(5 * network.settings.electionTicks) {
            for id in [2, 3] as [NodeID] { network.tick(id) }
            network.settle()
            #expect(network.leaders.isEmpty)
        }
        network.restart(1)
        let isWell = goOn(&network)
        #expect(isWell)
        #expect(network[2].loss == nil)
        #expect(network.ids.allSatisfy { network[$0].commit >= whole })
    }

    @Test("Who missed a jump of the term, or is new, finds back to the others", arguments: [2, 40])
    func missedTermJump(jumps: Int) throws {
        var network = elected()
        network.crash(3)
        for _ in 0..<jumps {
            for id in [1, 2] as [NodeID] {
                let beat = Message.Body.heartbeat(Message.Heartbeat(commit: 0, round: 1))
                network.post(
                    .message(Message(from: 3 - id, to: id, term: network[1].term + (1 << 32 - 1), body: beat)), to: id)
            }
            network.wire = []
            let isWell = goOn(&network)
            #expect(isWell)
        }
        network.restart(3)
        network.addEmpty(4)
        let leader = try #require(network.leaders.first)
        network.post(.change(requestID: 1, .add(Member(id: 4, role: .learner, peerURLs: ["http://n4"]))), to: leader)
        for _ in 0..<(20 * network.settings.electionTicks) {
            for id in network.ids { network.tick(id) }
            network.settle()
        }
        for id in network.ids { #expect(network[id].commit == network[1].commit) }
        #expect(network[4].configuration[4] != nil)
    }

    @Test("Who took jumps of the term that nobody else heard of finds back to the others", arguments: [2, 40])
    func lonelyTermJump(jumps: Int) {
        var network = elected()
        network.cutOff([3])
        for _ in 0..<jumps {
            let beat = Message.Body.heartbeat(Message.Heartbeat(commit: 0, round: 1))
            network.post(.message(Message(from: 1, to: 3, term: network[3].term + (1 << 32 - 1), body: beat)), to: 3)
        }
        network.wire = []
        network.propose("meanwhile", at: 1)
        network.settle()
        network.heal()
        for _ in 0..<(20 * network.settings.electionTicks) {
            for id in network.ids { network.tick(id) }
            network.settle()
        }
        let isWell = goOn(&network)
        #expect(isWell)
        for id in network.ids {
            #expect(network[id].commit == network[1].commit && network[id].term == network[1].term)
        }
    }

    @Test("However long far terms were refused, thousands of jumps that come at once move the term by one of them")
    func manyTermJumps() {
        var network = elected()
        let raft = network[2]
        func jump(_ distance: Term) -> Message {
            let beat = Message.Body.heartbeat(Message.Heartbeat(commit: 0, round: 1))
            return Message(from: 3, to: 2, term: network[2].term + distance, body: beat)
        }
        for _ in 0..<(40 * network.settings.electionTicks) {
            network[2].receive(.message(jump(1 << 60)))
            network[2].receive(.tick)
        }
        #expect(network[2].term - raft.term < 1 << 32, "none of these was taken")
        let before = network[2].term
        for _ in 0..<(1 << 14) { network[2].receive(.message(jump(1 << 48))) }
        #expect(network[2].term == before + 1 << 48)
        for _ in 0..<100 { network[2].receive(.message(jump(1 << 47))) }
        #expect(network[2].term == before + 1 << 48)
        network[2].receive(.message(jump(1 << 61)))
        #expect(network[2].term == before + 1 << 48)
    }

    @Test("A later entry that a leader names shortens no doubt that it had repeated")
    func laterLoss() {
        var network = elected()
        let (term, last) = (network[2].term, network[2].log.lastIndex)
        for index in [last + 3, last + 3, last + 5] {
            let beat = Message.Body.heartbeat(Message.Heartbeat(commit: index, round: 1))
            network[2].receive(.message(Message(from: 1, to: 2, term: term, body: beat)))
        }
        for _ in 0..<(10 * network.settings.electionTicks - 1) { network[2].receive(.tick) }
        #expect(network[2].loss?.index == last + 5)
    }

    @Test("An answer for a log that there never was shuts nobody out")
    func logFromNowhere() {
        var network = elected()
        network.post(
            .message(Message(from: 2, to: 1, term: network[1].term, body: .appendReply(.matched(1), logEpoch: 9))),
            to: 1)
        network.post(
            .message(
                Message(
                    from: 3, to: 1, term: network[1].term,
                    body: .heartbeatReply(round: 1, logEpoch: .max, health: .whole, promise: 0))), to: 1)
        for _ in 0..<3 {
            network.tick(1)
            network.settle()
        }
        network.propose("b", at: 1)
        network.settle()
        for id in [2, 3] as [NodeID] { #expect(network[id].log.lastIndex == network[1].log.lastIndex) }
        #expect(network[1].commit == network[1].log.lastIndex)
    }

    @Test("A round of heartbeats that was never sent confirms no read")
    func roundFromNowhere() {
        var network = elected()
        network.cutOff([1])
        network.post(.readIndex([5]), to: 1)
        for id in [2, 3] as [NodeID] {
            let reply = Message.Body.heartbeatReply(round: .max, logEpoch: 0, health: .whole, promise: 0)
            network.post(.message(Message(from: id, to: 1, term: network[1].term, body: reply)), to: 1)
        }
        #expect(network.hosts[1]?.readStates.isEmpty == true)
    }

    @Test("A configuration that replaces all voters at once is not taken up")
    func configurationFromNowhere() {
        var network = elected()
        for voters in [[], [99], [1, 98, 99]] as [[NodeID]] {
            let next = Configuration(voters.map { Member(id: $0, role: .voter, peerURLs: ["http://x\($0)"]) })
            for id in network.ids {
                let raft = network[id]
                let entry = Entry(
                    index: raft.log.lastIndex + 1, term: raft.term + 1,
                    proposal: Proposal(
                        id: 1, kind: .configuration,
                        payload: ConfigurationEntry(requestID: 0, configuration: next).encoded()))
                let append = Message.Body.append(
                    previousIndex: raft.log.lastIndex, previousTerm: raft.log.lastTerm, entries: [entry], commit: 0,
                    logEpoch: 0)
                network.post(.message(Message(from: id % 3 + 1, to: id, term: raft.term + 1, body: append)), to: id)
                #expect(network[id].configuration.voters == [1, 2, 3])
            }
        }
        network.wire = []
        let last = goOn(&network)
        #expect(last)
    }

    @Test("A configuration that never was committed does not keep its holder from those that were")
    func doomedConfiguration() {
        let other = Member(id: 9, role: .voter, peerURLs: ["http://x9"])
        for doomed in [4, 5] as [NodeID] {
            var network = elected()
            let raft = network[2]
            let voters = raft.configuration.members
            let (last, term) = (raft.log.lastIndex, raft.term)
            func append(_ entries: [(Term, Configuration?)], from sender: NodeID, term: Term) -> Event {
                let entries = entries.enumerated().map { place, entry in
                    let payload = entry.1.map { ConfigurationEntry(requestID: 0, configuration: $0).encoded() }
                    return Entry(
                        index: last + 1 + Index(place), term: entry.0,
                        proposal: Proposal(
                            id: 0, kind: payload == nil ? .empty : .configuration, payload: payload ?? []))
                }
                let body = Message.Body.append(
                    previousIndex: last, previousTerm: raft.log.lastTerm, entries: entries, commit: last, logEpoch: 0)
                return .message(Message(from: sender, to: 2, term: term, body: body))
            }
            let never = Configuration(voters + [Member(id: doomed, role: .voter, peerURLs: ["http://x\(doomed)"])])
            network.post(append([(term + 1, never)], from: 1, term: term + 1), to: 2)
            network.settle()
            #expect(network[2].configuration == never)
            let chosen = Configuration(voters + [other])
            network.post(append([(term + 2, nil), (term + 2, chosen)], from: 3, term: term + 2), to: 2)
            #expect(network[2].configuration == chosen)
            #expect(network[2].log.lastIndex == last + 2)
        }
    }

    @Test("Who is removed hears of it, also where the others are a quorum without it", arguments: [2, 3])
    func removedMemberHears(count: Int) {
        var network = elected(Array(1...NodeID(count)))
        network.post(.change(requestID: 1, .remove(2)), to: 1)
        network.settle()
        #expect(network[2].configuration[2] == nil)
        #expect(network[2].applied >= network[2].configurationIndex, "it applied its removal")
        #expect(network[1].peerProgress.allSatisfy { $0.id != 2 }, "nothing more is sent to it")
    }

    @Test(
        "Whatever members are told, none ends, terms and commits never fall, and the fabric goes on", arguments: 1...200
    )
    func liar(seed: UInt64) {
        var network = elected(seed % 2 == 0 ? [1, 2, 3] : [1, 2, 3, 4, 5])
        var liar = Liar(seed: seed)
        var known: [NodeID: (term: Term, commit: Index)] = [:]
        for _ in 0..<300 {
            let id = network.ids[Int(liar.random.next() % UInt64(network.ids.count))]
            switch liar.random.next() % 10 {
            case 0..<5: network.post(.message(liar.message(to: id, in: network)), to: id)
            case 5..<7: network.tick(id)
            case 7: network.propose("p", at: id)
            default: if !network.wire.isEmpty { network.deliver() }
            }
            let raft = network[id]
            if let before = known[id] { #expect(raft.term >= before.term && raft.commit >= before.commit) }
            #expect(raft.commit <= raft.log.lastIndex && raft.applied <= raft.commit)
            known[id] = (raft.term, raft.commit)
        }
        network.wire = []
        let isWell = goOn(&network, ticks: 2000)
        #expect(isWell)
    }
}

/// Makes messages up that fit the format: from members, of terms and indexes near and far. It neither acknowledges nor votes in
/// others' names, nor tells what is in the log that it is committed, nor sends configurations: with those a liar can do what a
/// majority can.
private struct Liar {
    var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    private mutating func pick<T>(_ choices: [T]) -> T { choices[Int(random.next() % UInt64(choices.count))] }

    private mutating func number(near: UInt64) -> UInt64 {
        let far: [UInt64] = [0, 1, 1 << 20, 1 << 33, 1 << 40, 1 << 62 - 1]
        return pick([near, near, near + 1, near + 2, near - min(near, 1), near - min(near, 3)] + [pick(far)])
    }

    mutating func message(to id: NodeID, in network: Network) -> Message {
        let raft = network[id]
        let from = pick(network.ids.filter { $0 != id } + [77])
        return Message(from: from, to: id, term: number(near: raft.term), body: body(for: raft))
    }

    private mutating func body(for raft: Raft) -> Message.Body {
        let last = raft.log.lastIndex
        switch random.next() % 11 {
        case 0: return .preVote(lastIndex: number(near: last), lastTerm: number(near: raft.term))
        case 1:
            return .vote(
                lastIndex: number(near: last), lastTerm: number(near: raft.term), transfer: random.next() % 2 == 0)
        case 2, 3: return append(for: raft)
        case 4:
            return .appendReply(
                .conflict(rejected: number(near: last), hint: number(near: last), hintTerm: number(near: raft.term)),
                logEpoch: 0)
        case 5: return .appendReply(pick([.staleTerm, .lost(number(near: last))]), logEpoch: 0)
        case 6:
            return .heartbeat(
                Message.Heartbeat(
                    commit: pick([raft.commit, raft.commit - min(raft.commit, 2), last, last + 1, 1 << 40]),
                    commitTerm: pick([0, raft.term]),
                    round: random.next(), logEpoch: pick([0, 0, 0, 1]),
                    electionMilliseconds: pick([0, 1000, .max]), stored: number(near: last)))
        case 7: return .timeoutNow
        case 8: return .proposeRefused([random.next()], Stamp(start: raft.start, number: random.next()))
        case 9: return .readIndex([random.next()])
        default: return .readIndexReply([random.next()], index: number(near: last))
        }
    }

    private mutating func append(for raft: Raft) -> Message.Body {
        let previous = number(near: raft.log.lastIndex)
        let previousTerm = raft.log.term(at: previous) ?? number(near: raft.term)
        let entries = (0..<random.next() % 3).map { place in
            Entry(
                index: previous + 1 + place, term: max(raft.term, previousTerm),
                proposal: Proposal(id: random.next(), kind: .command, payload: [UInt8(place)]))
        }
        return .append(
            previousIndex: previous, previousTerm: previousTerm, entries: entries, commit: min(previous, raft.commit),
            logEpoch: pick([0, 0, 1]))
    }
}
