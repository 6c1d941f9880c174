import Testing

@testable import Raft

/// Statements of the Raft paper (P) and dissertation (D), and the errors others made with them, each as a test.
@Suite struct PaperTests {
    private func elected(_ voters: [NodeID] = [1, 2, 3], settings: Raft.Settings = Raft.Settings()) -> Network {
        var network = Network(voters: voters, settings: settings)
        network.elect(1)
        precondition(network[1].role == .leader)
        return network
    }

    // MARK: - Elections

    @Test("P 5.1: a message of a later term makes a leader or candidate a follower")
    func laterTermMakesFollower() {
        var network = elected()
        network.post(
            .message(
                Message(
                    from: 2, to: 1, term: 9,
                    body: .append(previousIndex: 2, previousTerm: 2, entries: [], commit: 0, logEpoch: 0))),
            to: 1)
        #expect(network[1].role == .follower)
        #expect(network[1].term == 9)
        #expect(network[1].leader == 2)
    }

    @Test("P 5.2: a member votes for at most one candidate in a term, also across a restart")
    func oneVotePerTerm() {
        var network = Network(voters: [1, 2, 3])
        let ask = { (from: NodeID) in
            Event.message(Message(from: from, to: 3, term: 5, body: .vote(lastIndex: 9, lastTerm: 1, transfer: false)))
        }
        network.post(ask(1), to: 3)
        #expect(network.wire.last?.body == .voteReply(granted: true))
        network.crash(3)
        network.restart(3)
        network.post(ask(2), to: 3)
        #expect(network.wire.last?.body == .voteReply(granted: false))
        network.post(ask(1), to: 3)
        #expect(network.wire.last?.body == .voteReply(granted: true))
    }

    @Test("P 5.2: no vote leaves before it is on disk")
    func voteWaitsForDisk() {
        var network = Network(voters: [1, 2, 3])
        network.writesAtOnce = false
        network.post(
            .message(Message(from: 1, to: 2, term: 5, body: .vote(lastIndex: 9, lastTerm: 1, transfer: false))), to: 2)
        #expect(network.wire.isEmpty)
        network.finishWrites(2)
        #expect(network.wire.last?.body == .voteReply(granted: true))
    }

    @Test(
        "P 5.2: nobody hears of a candidacy before the candidate's own vote is on disk, or it could lead a term twice")
    func candidacyWaitsForDisk() {
        var network = Network(voters: [1, 2, 3])
        network.writesAtOnce = false
        network.post(.campaign, to: 1)
        for _ in 0..<10 where !network.wire.isEmpty {
            network.deliver()
            for id in [2, 3] as [NodeID] {
                network.finishWrites(id)
                network.flush(id)
            }
        }
        #expect(network[1].role == .candidate)
        #expect(network[2].vote == nil && network[3].vote == nil)
    }

    @Test("A snapshot whose install is cut short leaves no commit index that the old log would pass for")
    func installCutShortCommitsNothing() {
        var raft = Network(voters: [1, 2, 3])[2]
        raft.receive(.snapshotReceived(SnapshotMark(index: 50, term: 3, configuration: raft.configuration), from: 1))
        _ = raft.takeReady()
        raft.receive(
            .message(Message(from: 3, to: 2, term: 9, body: .heartbeat(Message.Heartbeat(commit: 0, round: 0)))))
        #expect(raft.takeReady().hardState?.commit == Network.base)
        raft.receive(.installed(50))
        raft.receive(
            .message(Message(from: 3, to: 2, term: 10, body: .heartbeat(Message.Heartbeat(commit: 0, round: 0)))))
        #expect(raft.takeReady().hardState?.commit == 50)
    }

    @Test("A late refusal names the attempt that it refuses, not a later one")
    func lateRefusalNamesItsAttempt() {
        var network = elected()
        var raft = network[2]
        for attempt in [UInt64(1), 2] {
            let stamp = Stamp(start: raft.start, number: attempt)
            raft.receive(.message(Message(from: 3, to: 2, term: 2, body: .proposeRefused([7], stamp))))
        }
        // And one of an earlier life of this member says nothing at all.
        let stranger = Stamp(start: raft.start &+ 1, number: 3)
        raft.receive(.message(Message(from: 3, to: 2, term: 2, body: .proposeRefused([7], stranger))))
        #expect(raft.takeReady().proposalsDropped.map(\.attempt) == [1, 2])
        network.wire = []
    }

    @Test("P 5.4.1: no vote for a candidate whose log is behind", arguments: [(1, 1), (2, 1), (9, 1), (2, 2)])
    func noVoteForStaleLog(_ last: (index: Index, term: Term)) {
        var network = elected()
        network.propose("a", at: 1)
        network.settle()
        network.post(
            .message(
                Message(
                    from: 3, to: 2, term: 8, body: .vote(lastIndex: last.index, lastTerm: last.term, transfer: true))),
            to: 2)
        #expect(network.wire.last?.body == .voteReply(granted: false))
    }

    @Test("D 9.6: a member that was cut off does not raise the others' term when it returns")
    func preVoteKeepsTerm() {
        var network = elected()
        network.cutOff([3])
        network.tick(3, times: 200)
        network.settle()
        network.heal()
        network.tick(3, times: 30)
        network.settle()
        #expect(network[1].role == .leader)
        #expect(network[1].term == 2)
    }

    @Test("D 6.2: a leader without a majority steps down")
    func checkQuorum() {
        var network = elected()
        network.cutOff([1])
        network.tick(1, times: 25)
        network.settle()
        #expect(network[1].role == .follower)
        #expect(network[1].leader == nil)
    }

    @Test("D 4.2.3: a member that hears its leader helps nobody to depose it")
    func leaderIsProtected() {
        var network = elected()
        network.post(
            .message(Message(from: 3, to: 2, term: 9, body: .vote(lastIndex: 9, lastTerm: 8, transfer: false))), to: 2)
        #expect(network[2].term == 2)
        #expect(network.wire.isEmpty)
    }

    @Test("Pre-vote with check-quorum does not wedge a fabric whose leader has an old term")
    func staleLeaderLearns() {
        var network = elected()
        // Member 3 got to a later term somehow: its answers must reach the leader.
        network.hosts[3]?.disk.hardState.term = 7
        network.crash(3)
        network.restart(3)
        network.tick(1, times: 2)
        network.settle()
        #expect(network[1].term == 7)
        network.tick(1, times: 60)
        network.settle()
        #expect(network.leaders.count == 1)
    }

    @Test("D 3.10: the lead goes to the chosen member, and proposals meanwhile are turned away, not lost")
    func transfer() {
        var network = elected()
        network.post(.transfer(to: 3), to: 1)
        network.propose("x", at: 1, requestID: 77)
        network.settle()
        #expect(network.leaders == [3])
        #expect(network.hosts[1]?.dropped == [77])
    }

    // MARK: - Replication

    @Test("P 5.3: the consistency check refuses what does not follow, and a conflict is overwritten")
    func consistencyCheck() {
        var network = elected()
        network.cutOff([1])
        for n in 0..<5 { network.propose("lost\(n)", at: 1) }
        network.settle()
        network.tick(3, times: 10)
        network.elect(2)
        for n in 0..<3 { network.propose("kept\(n)", at: 2) }
        network.settle()
        network.heal()
        for _ in 0..<5 {
            network.tick(2)
            network.settle()
        }
        #expect(network.hosts[1]?.disk.entries == network.hosts[2]?.disk.entries)
        #expect(
            network.hosts[1]?.disk.state.map { String(decoding: $0, as: UTF8.self) } == ["kept0", "kept1", "kept2"])
    }

    @Test("P 5.4.2: an entry of an earlier term is not committed by counting")
    func figure8() {
        var network = Network(voters: [1, 2, 3, 4, 5])
        network.elect(1)
        // Term 2's entry reaches only 1 and 2.
        network.cutOff([1, 2])
        network.propose("old", at: 1)
        network.settle()
        network.heal()
        let old = network[1].log.lastIndex
        network.crash(1)
        for id in [3, 4, 5] as [NodeID] { network.tick(id, times: 10) }
        network.wire = []
        network.post(.campaign, to: 5)
        while network[5].role != .leader { network.deliver() }
        // Nobody hears of it.
        network.wire = []
        network.cutOff([5])
        network.restart(1)
        // Member 1 leads again and copies the old entry to a majority, but its own empty entry reaches nobody yet.
        for _ in 0..<2 where network[1].role != .leader {
            network.post(.campaign, to: 1)
            while network[1].role != .leader, !network.wire.isEmpty { network.deliver() }
        }
        #expect(network[1].role == .leader)
        let term = network[1].term
        for id in [2, 3, 4] as [NodeID] {
            network.post(
                .message(Message(from: id, to: 1, term: term, body: .appendReply(.matched(old), logEpoch: 0))), to: 1)
        }
        #expect(network[1].commit < old)
        for id in [2, 3] as [NodeID] {
            network.post(
                .message(Message(from: id, to: 1, term: term, body: .appendReply(.matched(old + 1), logEpoch: 0))),
                to: 1)
        }
        #expect(network[1].commit == old + 1)
    }

    @Test("P 5.3: a single member does not apply or answer before its disk has it")
    func singleMemberWaitsForDisk() {
        var network = Network(voters: [1])
        network.elect(1)
        network.writesAtOnce = false
        network.propose("a", at: 1)
        #expect(network.hosts[1]?.disk.state.isEmpty == true)
        network.finishWrites(1)
        network.flush(1)
        #expect(network.hosts[1]?.disk.state.count == 1)
    }

    @Test("An acknowledgement that arrives after the log was overwritten counts for nothing (append ABA)")
    func lateAcknowledgementOfOverwrittenEntries() {
        var log = Log(baseIndex: 1, baseTerm: 1, runs: [], lastIndex: 1, tail: [])
        func entry(_ index: Index, _ term: Term) -> Entry {
            Entry(index: index, term: term, proposal: Proposal(id: 0, kind: .command, payload: [UInt8(index)]))
        }
        log.append([entry(2, 2), entry(3, 2)])
        log.noteAppending(sequence: 1)
        log.truncate(from: 2)
        log.append([entry(2, 3), entry(3, 3)])
        log.noteAppending(sequence: 2)
        log.noteAppended(sequence: 1)
        #expect(log.durableIndex == 1)
        log.noteAppended(sequence: 2)
        #expect(log.durableIndex == 3)
    }

    @Test("A proposal that was passed to a leader of another term is refused, so that it can be proposed again safely")
    func forwardedProposalOfOtherTerm() {
        var network = elected()
        let proposal = Proposal(id: 42, kind: .command, payload: [1])
        let stamp = Stamp(start: 5, number: 1)
        network.post(.message(Message(from: 2, to: 1, term: 3, body: .propose([proposal], stamp))), to: 1)
        #expect(network.wire.last?.body == .proposeRefused([42], stamp))
        #expect(network[1].log.lastIndex == 2)
    }

    @Test("Requests that arrive twice are done once; of those that an earlier life may have taken nothing is said")
    func forwardedProposalArrivesTwice() {
        var network = elected()
        let proposal = Proposal(id: 42, kind: .command, payload: [1])
        let stamp = Stamp(start: 5, number: 1)
        let message = Message(from: 2, to: 1, term: network[1].term, body: .propose([proposal], stamp))
        for _ in 0..<3 { network.post(.message(message), to: 1) }
        #expect(network[1].log.lastIndex == 3)
        network.settle()
        network.wire = []
        let old = Message(from: 2, to: 1, term: 1, body: .propose([proposal], Stamp(start: 4, number: 1)))
        network.post(.message(old), to: 1)
        #expect(network.wire.isEmpty && network[1].log.lastIndex == 3)
    }

    @Test("A window bounds what is under way to a peer that does not answer")
    func windowBoundsWhatIsUnderWay() {
        var settings = Raft.Settings()
        settings.window = Window(bytesMax: 10_000, messagesMax: 16)
        settings.messageBytesMax = 1000
        var network = elected(settings: settings)
        network.cutOff([3])
        for n in 0..<400 { network.propose(String(repeating: "x", count: 100) + "\(n)", at: 1) }
        let appends = network.wire.filter { message in
            if case .append = message.body { message.to == 3 } else { false }
        }
        #expect(appends.count <= 16)
        network.settle()
        #expect(network[1].commit == network[1].log.lastIndex)
        network.heal()
        for _ in 0..<6 {
            network.tick(1)
            network.settle()
        }
        #expect(network[3].commit == network[1].commit)
    }

    @Test("A follower full of uncommitted entries still takes the one that commits them")
    func fullOfUncommittedEntriesGoesOn() {
        var settings = Raft.Settings()
        settings.unappliedBytesMax = 2000
        settings.uncommittedBytesMax = 100_000
        settings.messageBytesMax = 500
        var network = elected(settings: settings)
        network.writesAtOnce = false
        for n in 0..<40 { network.propose(String(repeating: "x", count: 100) + "\(n)", at: 1) }
        network.finishWrites(1)
        network.crash(1)
        network.wire = []
        network.writesAtOnce = true
        network.restart(1)
        for _ in 0..<60 {
            for id in network.ids { network.tick(id) }
            network.settle()
        }
        #expect(network.leaders.count == 1)
        guard let leader = network.leaders.first else { return }
        #expect(network[leader].commit == network[leader].log.lastIndex)
        #expect(network.hosts[2]?.disk.state == network.hosts[1]?.disk.state)
    }

    // MARK: - Reads

    @Test("D 6.4: a leader answers reads only after an entry of its term is committed and a majority confirmed it")
    func readNeedsMajority() {
        var network = elected()
        network.cutOff([1])
        network.post(.readIndex([5]), to: 1)
        network.settle()
        #expect(network.hosts[1]?.readStates.isEmpty == true)
        network.heal()
        network.post(.readIndex([6]), to: 1)
        network.settle()
        #expect(network.hosts[1]?.readStates.map(\.id) == [5, 6])
    }

    @Test("An old heartbeat's answer confirms no later read")
    func oldRoundConfirmsNothing() {
        var network = elected()
        network.post(.readIndex([1]), to: 1)
        network.settle()
        network.wire = []
        network.post(.readIndex([2]), to: 1)
        network.wire = []
        let late = Message(
            from: 2, to: 1, term: 2, body: .heartbeatReply(round: 1, logEpoch: 0, health: .whole, promise: 0))
        network.post(.message(late), to: 1)
        #expect(network.hosts[1]?.readStates.map(\.id) == [1])
    }

    @Test("Reads of a leader that is deposed are dropped, not answered")
    func deposedLeaderDropsReads() {
        var network = elected()
        network.cutOff([1])
        network.post(.readIndex([5]), to: 1)
        network.post(
            .message(Message(from: 2, to: 1, term: 9, body: .heartbeat(Message.Heartbeat(commit: 0, round: 0)))), to: 1)
        let ready = network[1]
        #expect(ready.role == .follower)
        #expect(network.hosts[1]?.readStates.isEmpty == true)
    }

    // MARK: - Membership

    @Test("The 2015 correction: no change before an entry of the term is committed; and one at a time")
    func oneChangeAtATime() {
        var network = elected()
        let add = { (id: NodeID) in
            Event.change(requestID: id, .add(Member(id: id, role: .joining, peerURLs: ["http://n\(id)"])))
        }
        network.post(add(4), to: 1)
        network.post(add(5), to: 1)
        #expect(network.hosts[1]?.refused == [.notReady])
        var fresh = Network(voters: [1, 2, 3])
        fresh.post(.campaign, to: 1)
        while fresh[1].role != .leader { fresh.deliver() }
        fresh.post(add(4), to: 1)
        #expect(fresh.hosts[1]?.refused == [.notReady])
    }

    @Test("D 4.1: a configuration takes effect when it is appended, and is undone when its entry is cut off the log")
    func configurationIsUndone() {
        var network = elected()
        network.cutOff([1])
        network.post(.change(requestID: 1, .remove(3)), to: 1)
        #expect(network[1].configuration.voters == [1, 2])
        network.tick(3, times: 10)
        network.elect(2)
        network.heal()
        for _ in 0..<4 {
            network.tick(2)
            network.settle()
        }
        #expect(network[1].configuration.voters == [1, 2, 3])
    }

    @Test("A learner does not count, and does not campaign")
    func learnerHasNoVote() {
        var network = Network(voters: [1, 2], learners: [3])
        network.elect(1)
        network.cutOff([2])
        network.propose("a", at: 1)
        network.settle()
        #expect(network[1].commit < network[1].log.lastIndex)
        network.tick(3, times: 100)
        #expect(network[3].role == .follower)
    }

    @Test("A learner answers a candidate that knows it as a voter")
    func learnerVotesForWhoKnowsBetter() {
        var network = Network(voters: [1, 2], learners: [3])
        network.post(
            .message(Message(from: 1, to: 3, term: 5, body: .vote(lastIndex: 1, lastTerm: 1, transfer: false))), to: 3)
        #expect(network.wire.last?.body == .voteReply(granted: true))
    }

    @Test("The last voter cannot be removed, nor one whose loss would leave no majority")
    func removalsThatWouldStopTheFabric() {
        var single = Network(voters: [1])
        single.elect(1)
        single.post(.change(requestID: 1, .remove(1)), to: 1)
        #expect(single.hosts[1]?.refused == [.lastVoter])
        var network = elected()
        network.crash(2)
        network.tick(1, times: 10)
        network.settle()
        network.tick(1, times: 9)
        network.settle()
        network.post(.change(requestID: 1, .remove(3)), to: 1)
        #expect(network.hosts[1]?.refused == [.unhealthy])
        network.post(.change(requestID: 2, .remove(2)), to: 1)
        network.settle()
        #expect(network[1].configuration.voters == [1, 3])
    }

    @Test("D 4.2.2: who was removed by an entry that only it has still campaigns, or two members would be stuck")
    func removedMemberWithTheLongerLogLeadsOnceMore() {
        var network = elected([1, 2])
        network.cutOff([1])
        network.post(.change(requestID: 1, .remove(1)), to: 1)
        #expect(network[1].configuration.voters == [2])
        network.crash(1)
        network.wire = []
        network.restart(1)
        network.heal()
        for _ in 0..<100 {
            for id in [1, 2] as [NodeID] { network.tick(id) }
            network.settle()
        }
        #expect(network.leaders == [2])
        #expect(network[2].configuration.voters == [2])
    }

    // MARK: - Snapshots

    @Test("P 7: an old snapshot changes nothing, and one that the log already holds installs nothing")
    func needlessSnapshots() {
        var network = elected()
        for n in 0..<5 { network.propose("\(n)", at: 1) }
        network.settle()
        let before = network[2].log
        let old = SnapshotMark(index: 3, term: 2, configuration: network[1].configuration)
        network.post(.snapshotReceived(old, from: 1), to: 2)
        #expect(network[2].log.lastIndex == before.lastIndex)
        #expect(network.wire.last?.body == .appendReply(.matched(network[2].commit), logEpoch: 0))
    }

    @Test("Two snapshots in quick succession: the second waits for the first")
    func twoSnapshots() {
        let network = Network(voters: [1, 2, 3])
        var raft = network[2]
        let configuration = raft.configuration
        raft.receive(.snapshotReceived(SnapshotMark(index: 50, term: 3, configuration: configuration), from: 1))
        #expect(raft.takeReady().install?.index == 50)
        raft.receive(.snapshotReceived(SnapshotMark(index: 60, term: 3, configuration: configuration), from: 1))
        #expect(raft.takeReady().install == nil)
        raft.receive(.installed(50))
        raft.receive(.snapshotReceived(SnapshotMark(index: 60, term: 3, configuration: configuration), from: 1))
        #expect(raft.takeReady().install?.index == 60)
    }
}
