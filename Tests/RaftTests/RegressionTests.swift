import Testing

@testable import Raft

/// What others got wrong, and we: each by itself.
@Suite struct RegressionTests {
    private func elected(_ voters: [NodeID] = [1, 2, 3], settings: Raft.Settings = Raft.Settings()) -> Network {
        var network = Network(voters: voters, settings: settings)
        network.elect(1)
        precondition(network[1].role == .leader)
        return network
    }

    private func heartbeat(_ network: inout Network) {
        network.tick(1)
        network.settle()
    }

    // MARK: - Membership

    @Test("A leader that is removed with entries in flight commits them, then names an heir")
    func removedLeaderWithEntriesInFlight() {
        var network = elected()
        network.post(.change(requestID: 1, .remove(1)), to: 1)
        for n in 0..<3 { network.propose("\(n)", at: 1) }
        network.settle()
        #expect(network[1].role != .leader)
        let leader = network.leaders.first
        #expect(leader != nil && leader != 1)
        guard let leader else { return }
        network.propose("after", at: leader)
        network.settle()
        let texts = network.hosts[leader]?.disk.state.map { String(decoding: $0, as: UTF8.self) }
        #expect(texts == ["0", "1", "2", "after"])
    }

    @Test("A learner whose log is better than a candidate's that counts on its vote is elected itself (seed 81000657)")
    func neededLearner() {
        let members = [1, 2].map { Member(id: $0, role: .voter, peerURLs: []) }
        let configuration = Configuration(members + [Member(id: 3, role: .learner, peerURLs: [])])
        let log = Log(baseIndex: 1, baseTerm: 1, runs: [Log.TermRun(firstIndex: 2, term: 5)], lastIndex: 2, tail: [])
        var raft = Raft(
            id: 3, settings: Raft.Settings(), hardState: HardState(term: 5, vote: nil, commit: 1), log: log,
            configuration: configuration, applied: 2, seed: 1)
        func waits(_ raft: inout Raft) -> Bool {
            for _ in 0..<100 { raft.receive(.tick) }
            let asked = raft.takeReady().messages.contains { if case .preVote = $0.body { true } else { false } }
            return !asked
        }
        #expect(waits(&raft))
        raft.receive(
            .message(Message(from: 2, to: 3, term: 6, body: .preVote(lastIndex: 2, lastTerm: 4))))
        #expect(!waits(&raft))
    }

    @Test("A voter whose removal another uncommitted change follows can be elected (seed 9001936)")
    func removedBeforeARelaxation() throws {
        var members = [1, 2, 3].map { Member(id: $0, role: .voter, peerURLs: []) }
        let before = Configuration(members)
        members.removeLast()
        var policy = Policy()
        policy.set("west", false)
        let entries = [Configuration(members), Configuration(members, policy: policy)].enumerated().map {
            let payload = ConfigurationEntry(requestID: 0, configuration: $1).encoded()
            return Entry(
                index: Index($0 + 2), term: 5, proposal: Proposal(id: 0, kind: .configuration, payload: payload))
        }
        let log = Log(
            baseIndex: 1, baseTerm: 1, runs: [Log.TermRun(firstIndex: 2, term: 5)], lastIndex: 3, tail: entries)
        var raft = Raft(
            id: 3, settings: Raft.Settings(), hardState: HardState(term: 5, vote: nil, commit: 1), log: log,
            configuration: before, applied: 1, seed: 1)
        for _ in 0..<100 { raft.receive(.tick) }
        #expect(raft.takeReady().messages.contains { if case .preVote = $0.body { true } else { false } })
    }

    @Test("A snapshot brings the configuration of its index, whatever the member had before")
    func snapshotBringsItsConfiguration() {
        let network = elected()
        var raft = network[2]
        let three = Configuration([4, 5, 6].map { Member(id: $0, role: .voter, peerURLs: []) })
        raft.receive(.snapshotReceived(SnapshotMark(index: 90, term: 2, configuration: three), from: 1))
        _ = raft.takeReady()
        raft.receive(.installed(90))
        #expect(raft.configuration == three && !raft.isVoter)
    }

    @Test("A peer that lost what replaced its tail is asked where the logs agree")
    func lossOfAReplacement() {
        var progress = Progress(match: 100, next: 101)
        progress.becomeReplicating()
        // Its log ends at 95, but from 92 on with entries of an earlier term.
        progress.noteLoss(lastIndex: 95)
        #expect(progress.next == 96 && progress.acknowledged == 100)
        _ = progress.noteConflict(rejected: 95, retry: 91)
        #expect(progress.next == 92)
    }

    @Test("A commit index beyond the log, as data loss leaves it, is no commit index")
    func commitBeyondTheLog() {
        let log = Log(baseIndex: 1, baseTerm: 1, runs: [], lastIndex: 1, tail: [])
        let raft = Raft(
            id: 1, settings: Raft.Settings(), hardState: HardState(term: 5, vote: nil, commit: 80), log: log,
            configuration: Configuration([Member(id: 1, role: .voter, peerURLs: [])]), applied: 1, seed: 1)
        #expect(raft.commit == 1)
    }

    @Test("D 4.3: between two sets of voters both must agree")
    func jointNeedsBothMajorities() {
        let old = Configuration([1, 2, 3].map { Member(id: $0, role: .voter, peerURLs: ["http://n\($0)"]) })
        let newcomers = [4, 5].map { Member(id: $0, role: .learner, peerURLs: ["http://n\($0)"]) }
        let changes =
            newcomers.map { ConfigurationChange.add($0) } + [.promote(4), .promote(5), .remove(2), .remove(3)]
        guard let joint = try? old.applying(.several(changes)) else {
            Issue.record("the change is refused")
            return
        }
        #expect(joint.isJoint && joint.voters == [1, 4, 5] && joint.outgoing == [1, 2, 3])
        #expect(!joint.isQuorum { [1, 4, 5].contains($0) })
        #expect(!joint.isQuorum { [1, 2, 3].contains($0) })
        #expect(joint.isQuorum { [1, 2, 4].contains($0) })
        #expect(joint.reachedByQuorum { [1: 9, 2: 3, 3: 1, 4: 8, 5: 7][$0] ?? 0 } == 3)
        #expect(joint.afterJoint.voters == [1, 4, 5] && joint.everybody.map(\.id) == [1, 2, 3, 4, 5])
    }

    @Test("A member takes another one's place in one step")
    func replacement() {
        var network = elected()
        network.addEmpty(4)
        network.post(
            .change(requestID: 1, .add(Member(id: 4, role: .joining, peerURLs: ["http://n4"], replaces: 3))), to: 1)
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.voters == [1, 2, 4])
        #expect(!network[1].configuration.isJoint && network[1].configuration[3] == nil)
    }

    // MARK: - Who leads

    @Test("A witness hands the lead over, and takes no proposals meanwhile")
    func witnessHandsOver() {
        var network = elected()
        network.addEmpty(4)
        network.post(.change(requestID: 1, .add(Member(id: 4, role: .joiningWitness, peerURLs: ["http://n4"]))), to: 1)
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.isWitness(4) && network[1].configuration.voters.contains(4))
        network.cut = [[1, 2], [1, 3], [1, 4]]
        network.tick(2, times: 15)
        network.tick(3, times: 15)
        network.tick(4, times: 15)
        // The witness happens to be the first that is heard.
        network.wire = []
        network.elect(4)
        #expect(network[4].role == .leader || network[4].leader != nil)
        network.propose("x", at: 4)
        for _ in 0..<5 {
            network.tick(4)
            network.settle()
        }
        #expect(network[4].role != .leader)
        #expect(network.leaders.contains { $0 == 2 || $0 == 3 })
    }

    @Test("The voter of the highest priority gets the lead")
    func priority() {
        var network = elected()
        network.post(.change(requestID: 1, .prioritize(3, 200)), to: 1)
        network.settle()
        for _ in 0..<10 { heartbeat(&network) }
        #expect(network[3].role == .leader)
    }

    @Test("A member that lost its log does not get the lead, whatever its priority (seed 5004193)")
    func lostLogGetsNoLead() {
        var network = elected()
        network.propose("a", at: 1)
        network.settle()
        network.hosts[2]?.disk.entries = []
        network[2] = recovering(network)
        for tick in 0..<60 {
            network.tick(1)
            if tick == 5 { network.post(.change(requestID: 1, .prioritize(2, 200)), to: 1) }
            network.settle(without: { message in if case .append = message.body { message.to == 2 } else { false } })
            #expect(!network[1].isTransferring && network[1].role == .leader)
        }
        for _ in 0..<60 { heartbeat(&network) }
        #expect(!network[2].isRecovering && network[2].role == .leader)
    }

    @Test("An heir that does not take the lead gives way to another")
    func heirInVain() {
        var network = elected()
        heartbeat(&network)
        #expect(network[1].transferCandidate == 2)
        network.post(.transfer(to: 2), to: 1)
        for _ in 0..<15 {
            network.settle(without: { $0.body == .timeoutNow })
            network.tick(1)
        }
        network.settle(without: { $0.body == .timeoutNow })
        #expect(network[1].role == .leader && network[1].transferCandidate == 3)
    }

    @Test(
        "Of damaged members one at a time may go to be repaired, and none where the rest is no majority of whole ones")
    func damagedLeaveInTurn() {
        var network = Network(voters: [1, 2, 3, 4, 5])
        network.elect(1)
        for id: NodeID in [2, 3] { network.post(.damaged, to: id) }
        for _ in 0..<5 { heartbeat(&network) }
        #expect([2, 3].filter { network[$0].isSpared } == [2])
        // Another one is not enough for a majority of those that are whole.
        network.post(.damaged, to: 4)
        for _ in 0..<5 { heartbeat(&network) }
        #expect(network.ids.filter { network[$0].isSpared } == [])
    }

    @Test("A damaged leader hands over to one that is whole, whatever its own priority, and then may go")
    func damagedLeaderHandsOver() {
        var network = elected()
        network.post(.change(requestID: 1, .prioritize(1, 200)), to: 1)
        network.settle()
        for id: NodeID in [1, 2] { network.post(.damaged, to: id) }
        func goOn() {
            for _ in 0..<100 {
                for id in network.ids { network.tick(id) }
                network.settle()
            }
        }
        goOn()
        #expect(network[3].role == .leader)
        #expect(!network[1].isSpared && !network[2].isSpared, "only one of three is whole")
        var whole = network[2]
        whole.isDamaged = false
        network[2] = whole
        goOn()
        #expect(network[3].role == .leader && network[1].isSpared)
    }

    // MARK: - Leases

    private func leasing() -> Network {
        var settings = Raft.Settings()
        settings.mayHavePromised = true
        var network = Network(voters: [1, 2, 3], settings: settings)
        for id in network.ids { network[id].now = 10_000_000_000 }
        network.elect(1)
        network.post(.change(requestID: 1, .readByLease(true)), to: 1)
        network.settle()
        heartbeat(&network)
        return network
    }

    @Test("D 6.4.1: within its lease a leader answers reads without asking; after it, it asks")
    func leaseReads() {
        var network = leasing()
        network.post(.readIndex([1]), to: 1)
        #expect(network.wire.isEmpty && network.hosts[1]?.readStates.map(\.id) == [1])
        // 1000 ms less the drift of two clocks.
        network[1].now += 910_000_000
        network.post(.readIndex([2]), to: 1)
        #expect(!network.wire.isEmpty && network.hosts[1]?.readStates.map(\.id) == [1])
    }

    @Test("A leader that told another to campaign builds on no lease")
    func noLeaseAfterHandover() {
        var network = leasing()
        network.post(.transfer(to: 2), to: 1)
        network.wire = []
        network.tick(1, times: 10)
        network.wire = []
        network.post(.readIndex([3]), to: 1)
        #expect(network.hosts[1]?.readStates.isEmpty == true)
    }

    @Test("A follower is bound by what it may have promised before it was restarted")
    func promisesOutliveRestarts() {
        var network = leasing()
        network.crash(2)
        network.restart(2)
        #expect(network[2].isBoundByPromise)
        let vote = Message(from: 3, to: 2, term: 9, body: .vote(lastIndex: 99, lastTerm: 8, transfer: false))
        network.post(.message(vote), to: 2)
        #expect(network[2].vote != 3)
    }

    @Test("A follower is bound by its promise also when a refusal has brought it the candidate's term")
    func promisesBindInEveryTerm() {
        var network = leasing()
        let term = network[2].term + 1
        network.post(
            .message(Message(from: 3, to: 2, term: term, body: .preVoteReply(granted: false))), to: 2)
        #expect(network[2].term == term && network[2].isBoundByPromise)
        let vote = Message(from: 3, to: 2, term: term, body: .vote(lastIndex: 99, lastTerm: 8, transfer: false))
        network.post(.message(vote), to: 2)
        #expect(network[2].vote == nil)
        network[2].now += 2_000_000_000
        network.post(.message(vote), to: 2)
        #expect(network[2].vote == 3)
    }

    @Test("Who is the last voter only by an entry that may be cut off is bound like everybody")
    func promisesBindTheLastVoter() {
        var network = leasing()
        network.cut = [[1, 2], [1, 3]]
        network.post(.change(requestID: 1, .several([.remove(1), .remove(3)])), to: 1)
        network.post(.change(requestID: 2, .remove(3)), to: 1)
        #expect(network[1].configuration.isJoint)
        var raft = network[2]
        guard let entry = network[1].log.entries(from: network[1].log.lastIndex, through: .max, costMax: .max)?.first
        else {
            Issue.record("the change is not in the leader's log")
            return
        }
        raft.append([entry])
        #expect(raft.configuration.voters == [2] && raft.isBoundByPromise)
        raft.receive(.campaign)
        #expect(raft.role == .follower)
    }

    @Test("Asking again and again for a transfer to a member that is away ends with the transfer")
    func repeatedTransfers() {
        var network = elected()
        network.cut = [[1, 2], [1, 3]]
        for _ in 0..<25 {
            network.post(.transfer(to: 2), to: 1)
            network.tick(1)
        }
        #expect(network[1].role == .follower)
    }

    @Test("A healthy fabric takes a change at any time", arguments: 0..<12)
    func changeAtAnyTime(ticks: Int) {
        var network = elected()
        for _ in 0..<ticks { heartbeat(&network) }
        network.tick(1)
        // Nobody has answered this tick's heartbeat yet.
        network.post(.change(requestID: 1, .remove(3)), to: 1)
        #expect(network.hosts[1]?.refused == [])
    }

    // MARK: - Lost logs

    @Test("A witness that cannot commit without a lost site hands the lead over all the same (found by the simulator)")
    func witnessHandsOverWithoutCommitting() throws {
        var network = Network(voters: [1, 2])
        network.elect(1)
        network.addEmpty(3)
        network.post(.change(requestID: 1, .add(Member(id: 3, role: .joiningWitness, peerURLs: ["http://n3"]))), to: 1)
        for _ in 0..<20 { heartbeat(&network) }
        network.post(
            .change(
                requestID: 2,
                .several([
                    .locate(1, domain: "east"), .locate(2, domain: "west"), .locate(3, domain: "third"), .spread(2),
                ])),
            to: 1)
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.policy.domainsMin == 2 && network[1].commit == network[1].log.lastIndex)
        network.crash(2)
        network.crash(1)
        network.restart(1)
        network.tick(3, times: 30)
        let term = network[3].term
        network.elect(3)
        for _ in 0..<50 where network[3].role == .leader {
            network.tick(3)
            network.settle()
        }
        #expect(network[1].role == .leader && network[1].term == term + 2, "it was elected and handed over")
    }

    @Test("A witness that is removed has no state to send either")
    func removedWitness() {
        var configuration = Configuration(
            [1, 2, 3].map { Member(id: $0, role: $0 == 3 ? .witness : .voter, peerURLs: []) })
        let log = Log(baseIndex: 1, baseTerm: 1, runs: [], lastIndex: 1, tail: [])
        var raft = Raft(
            id: 3, settings: Raft.Settings(), hardState: HardState(term: 1, vote: nil, commit: 1), log: log,
            configuration: configuration, applied: 1, seed: 1)
        #expect(raft.isWitness)
        if let next = try? configuration.applying(.remove(3)) { configuration = next }
        raft.configuration = configuration
        #expect(raft.isWitness && !raft.configuration.isWitness(3))
    }

    @Test("A witness gets its vote when all that keep state have what it does not")
    func witnessAfterAnImage() {
        var network = elected([1, 2])
        network.addEmpty(4)
        network.cut = [[1, 4]]
        network.post(.change(requestID: 1, .add(Member(id: 4, role: .joiningWitness, peerURLs: ["http://n4"]))), to: 1)
        network.settle()
        guard var raft = network.hosts[1]?.raft else { return }
        // As if the witness had begun with an image that 2 does not reach yet.
        raft.propose([Proposal(id: 9, kind: .command, payload: [])], from: 1, Stamp(start: 0, number: 0))
        let place = raft.leadership?.place(of: 4) ?? 0
        raft.leadership?.peers[place].progress = Progress(match: raft.log.lastIndex, next: raft.log.lastIndex + 1)
        raft.leadership?.peers[place].progress.becomeReplicating()
        raft.leadership?.noteWitnessesBegin(after: raft.log.lastIndex)
        raft.promoteCaughtUp()
        #expect(raft.configuration[4]?.role == .joiningWitness)
        let behind = raft.leadership?.place(of: 2) ?? 0
        _ = raft.leadership?.peers[behind].progress.noteMatch(raft.log.lastIndex)
        raft.promoteCaughtUp()
        #expect(raft.configuration[4]?.role == .witness)
    }

    @Test("A newcomer gets its vote when it has what a witness may have cut off (seed 4100206)")
    func newcomerBehindAWitness() {
        var settings = Raft.Settings()
        settings.messageBytesMax = 1
        var network = Network(voters: [1], settings: settings)
        network.elect(1)
        network.addEmpty(2)
        network.post(.change(requestID: 1, .add(Member(id: 2, role: .joiningWitness, peerURLs: ["http://n2"]))), to: 1)
        for _ in 0..<20 { heartbeat(&network) }
        for n in 0..<20 { network.propose("\(n)", at: 1) }
        for _ in 0..<5 { heartbeat(&network) }
        let cut = network[2].storedIndex
        #expect(network[1].configuration.isWitness(2) && cut == network[1].log.lastIndex)
        // It has an old image, gets five entries, and hears of the others later.
        network.addEmpty(4)
        network.hosts[4]?.disk.baseIndex = Network.base
        network.hosts[4]?.disk.baseTerm = 1
        network.hosts[4]?.disk.applied = Network.base
        network.hosts[4]?.disk.hardState = HardState(term: 1, vote: nil, commit: Network.base)
        network.restart(4)
        network.post(.change(requestID: 2, .add(Member(id: 4, role: .joining, peerURLs: ["http://n4"]))), to: 1)
        for _ in 0..<20 {
            network.tick(1)
            network.settle(without: { message in
                if case .append(let previous, _, _, _, _) = message.body {
                    message.to == 4 && (6..<cut).contains(previous)
                } else {
                    false
                }
            })
        }
        #expect(network[4].log.lastIndex > 1 && network[4].log.lastIndex < cut)
        #expect(network[1].configuration[4]?.role == .joining)
        #expect(network[2].storedIndex == cut, "the witness keeps what the newcomer lacks")
        for _ in 0..<30 { heartbeat(&network) }
        #expect(network[1].configuration[4]?.role == .voter)
        #expect(network[2].storedIndex > cut)
    }

    /// 1 and 2 keep state, 3 is a witness; 4 has come to take the place of 2, and is cut off once it has its vote. Then the witness is
    /// sent an image.
    private func replacing() -> Network {
        let members = [1, 2, 3].map { Member(id: $0, role: $0 == 3 ? .witness : .voter, peerURLs: []) }
        var network = Network(configuration: Configuration(members))
        network.elect(1)
        network.addEmpty(4)
        let newcomer = Member(id: 4, role: .joining, peerURLs: ["http://n4"], replaces: 2)
        network.post(.change(requestID: 1, .add(newcomer)), to: 1)
        for _ in 0..<20 where !network[1].configuration.isJoint {
            network.tick(1)
            network.settle(without: { message in
                // Nobody hears of the change that gives it its vote.
                guard case .append(_, _, let entries, _, _) = message.body else { return false }
                return entries.contains { $0.kind == .configuration && $0.index > 3 }
            })
        }
        network.cut = [[1, 4], [2, 4], [3, 4]]
        beginWitnessesLate(&network)
        return network
    }

    /// As if the leader 1 had sent each witness an image of all that it has.
    private func beginWitnessesLate(_ network: inout Network) {
        let last = network[1].log.lastIndex
        network.hosts[1]?.raft.leadership?.noteWitnessesBegin(after: last)
    }

    @Test("Beside a witness nobody goes before who comes instead has what the witness lacks (seed 7994583)")
    func leaversBesideAWitness() {
        var network = replacing()
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.isJoint, "only 1 and 2 have what 4 lacks")
        #expect(network[1].commit == network[1].log.lastIndex, "what is written meanwhile is committed")
        network.cut = []
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.voters == [1, 3, 4] && !network[1].configuration.isJoint)
    }

    @Test("Who comes and is lost for good before it has everything is taken out again, and all is as before")
    func newcomerLostBesideAWitness() {
        var network = replacing()
        network.crash(4)
        for _ in 0..<20 { heartbeat(&network) }
        network.post(.change(requestID: 2, .remove(2)), to: 1)
        #expect(network[1].configuration.isJoint, "another change has to wait")
        network.post(.change(requestID: 3, .remove(4)), to: 1)
        for _ in 0..<5 { heartbeat(&network) }
        for id in [1, 2, 3] as [NodeID] {
            #expect(network[id].configuration.voters == [1, 2, 3] && !network[id].configuration.isJoint)
        }
    }

    @Test("Beside a witness a member is removed when those that stay have what the witness lacks")
    func removalBesideAWitness() {
        let members = [1, 2, 3, 4].map { Member(id: $0, role: $0 == 3 ? .witness : .voter, peerURLs: []) }
        var network = Network(configuration: Configuration(members))
        network.elect(1)
        network.cut = [[1, 4], [2, 4], [3, 4]]
        network.propose("a", at: 1)
        network.settle()
        beginWitnessesLate(&network)
        network.post(.change(requestID: 1, .remove(2)), to: 1)
        network.settle()
        #expect(network[1].configuration.voters == [1, 2, 3, 4], "4 lacks what 1 and 2 have")
        network.cut = []
        for _ in 0..<20 { heartbeat(&network) }
        network.post(.change(requestID: 2, .remove(2)), to: 1)
        for _ in 0..<5 { heartbeat(&network) }
        #expect(network[1].configuration.voters == [1, 3, 4])
    }

    @Test("Where several go at once and one that stays is lost meanwhile, they go all the same (seed 8203540)")
    func memberLostWhileOthersGo() {
        let members = (1...5).map { Member(id: $0, role: $0 == 5 ? .witness : .voter, peerURLs: []) }
        var network = Network(configuration: Configuration(members))
        network.elect(1)
        network.post(.change(requestID: 1, .several([.remove(2), .remove(3)])), to: 1)
        beginWitnessesLate(&network)
        network.crash(4)
        for _ in 0..<20 { heartbeat(&network) }
        #expect(network[1].configuration.voters == [1, 4, 5] && !network[1].configuration.isJoint)
    }

    @Test("Beside witnesses dead members are removed, one after the other, while the rest has everything")
    func deadMembersBesideAWitness() {
        for (witnesses, dead) in [([5], [3, 4]), ([4, 5], [2, 3]), ([3, 4], [2])] as [([NodeID], [NodeID])] {
            let ids: [NodeID] = witnesses == [3, 4] ? [1, 2, 3, 4] : [1, 2, 3, 4, 5]
            let members = ids.map { Member(id: $0, role: witnesses.contains($0) ? .witness : .voter, peerURLs: []) }
            var network = Network(configuration: Configuration(members))
            for id in dead { network.crash(id) }
            network.elect(1)
            network.propose("a", at: 1)
            for _ in 0..<5 { heartbeat(&network) }
            for id in dead {
                network.post(.change(requestID: id, .remove(id)), to: 1)
                for _ in 0..<5 { heartbeat(&network) }
            }
            #expect(network[1].configuration.voters == ids.filter { !dead.contains($0) }, "witnesses \(witnesses)")
        }
    }

    @Test("A recovering member is told again and again up to where all is committed")
    func recoveryIsToldAgain() {
        var network = elected()
        network.propose("a", at: 1)
        network.settle()
        network.hosts[2]?.disk.entries = []
        network[2] = recovering(network)
        for _ in 0..<3 { heartbeat(&network) }
        // As if the last message that could tell it had been lost.
        var again = network[2]
        again.isRecovering = true
        again.recoveredAt = nil
        network[2] = again
        for _ in 0..<3 { heartbeat(&network) }
        #expect(!network[2].isRecovering)
    }

    private func recovering(_ network: Network) -> Raft {
        let log = Log(baseIndex: Network.base, baseTerm: 1, runs: [], lastIndex: Network.base, tail: [])
        return Raft(
            id: 2, settings: network.settings, hardState: HardState(term: network[2].term, vote: 1, commit: 1),
            log: log,
            configuration: network[2].configuration, applied: Network.base, seed: 3, logEpoch: 1, isRecovering: true)
    }

    @Test("A member that lost its log votes for nobody until it has everything back")
    func lostLogDoesNotVote() {
        var network = elected()
        network.propose("a", at: 1)
        network.settle()
        network.hosts[2]?.disk.entries = []
        network[2] = recovering(network)
        network.tick(2, times: 40)
        #expect(network[2].role == .follower)
        let vote = Message(from: 3, to: 2, term: 9, body: .vote(lastIndex: 99, lastTerm: 8, transfer: true))
        var asked = network[2]
        asked.receive(.message(vote))
        let answers = asked.takeReady().messagesWhenDurable.map(\.body)
        #expect(answers == [.voteReply(granted: false)])
        network.wire = []
        for _ in 0..<5 { heartbeat(&network) }
        #expect(!network[2].isRecovering && network[2].log.lastIndex == network[1].log.lastIndex)
    }

    @Test("An acknowledgement of a log that was lost since is void")
    func acknowledgementOfALostLog() {
        var network = elected()
        network.cut = [[1, 2], [1, 3]]
        network.propose("x", at: 1)
        network.settle()
        let index = network[1].log.lastIndex
        let term = network[1].term
        // The leader hears of the new log, then of what the old one had.
        let news = Message.Body.heartbeatReply(round: 0, logEpoch: 1, health: .recovering, promise: 0)
        network.post(.message(Message(from: 2, to: 1, term: term, body: news)), to: 1)
        let late = Message.Body.appendReply(.matched(index), logEpoch: 0)
        network.post(.message(Message(from: 2, to: 1, term: term, body: late)), to: 1)
        #expect(network[1].commit < index)
    }

    // MARK: - Elections

    @Test("Two whose turn it is do not campaign at the same tick for ever (seed 730146)", arguments: 0...15)
    func electionsInStep(ticksBefore: Int) {
        var network = Network(voters: [1, 2])
        network.elect(1)
        heartbeat(&network)
        // It leads no longer for it hears nobody, and the other one hears nobody either.
        network.cutOff([1])
        for _ in 0..<50 where network[1].role == .leader { heartbeat(&network) }
        network.heal()
        network.tick(2, times: ticksBefore)
        for _ in 0..<100 where network.leaders.isEmpty {
            network.tick(1)
            network.tick(2)
            network.settle()
        }
        #expect(network.leaders.count == 1)
    }

    // MARK: - Timing

    @Test("Followers take the election timeout from the leader, within bounds")
    func timeoutsFollowTheLeader() {
        let network = elected()
        var raft = network[2]
        let term = raft.term
        for (told, ticks) in [(UInt32(3000), 30), (500, 10), (.max, 80)] {
            let beat = Message.Heartbeat(commit: 0, round: 1, electionMilliseconds: told)
            raft.receive(.message(Message(from: 1, to: 2, term: term, body: .heartbeat(beat))))
            #expect(raft.electionTicks == ticks)
        }
    }

    @Test("One member that answers late does not slow down elections")
    func oneSlowMemberChangesNothing() {
        var network = elected()
        for round in 1...30 {
            network.cut = [[1, 3]]
            heartbeat(&network)
            network[1].now += 20_000_000_000
            let late = Message.Body.heartbeatReply(round: UInt64(round), logEpoch: 0, health: .whole, promise: 0)
            network.post(.message(Message(from: 3, to: 1, term: network[1].term, body: late)), to: 1)
        }
        #expect(network[1].role == .leader && network[1].electionTicks == network.settings.electionTicks)
    }
}
