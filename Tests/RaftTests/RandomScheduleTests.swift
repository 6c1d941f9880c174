import Testing

@testable import Raft

/// Random schedules with loss, duplication, reordering, cuts, crashes and membership changes: the paper's safety
/// properties hold after every step (P figure 3), and once all is well the fabric goes on.
@Suite struct RandomScheduleTests {
    @Test(arguments: UInt64(1)...150) func safetyHolds(seed: UInt64) {
        var run = Run(seed: seed)
        for _ in 0..<1500 { run.step() }
        run.recover()
    }

    @Test("Beside a witness every quorum has a member that holds what was committed", arguments: UInt64(1)...120)
    func copiesAreKept(seed: UInt64) {
        var run = Run(seed: seed, witness: seed % 3 == 0 ? 5 : 3)
        for _ in 0..<4000 { run.calmStep() }
        run.recover()
    }
}

private struct Run {
    var network: Network
    var random: SplitMix64
    var proposals = 0
    /// What was committed anywhere, by index: it may never differ (state machine safety, leader completeness).
    var committed: [Index: Entry] = [:]
    var leaderOfTerm: [Term: NodeID] = [:]
    /// The highest commit index when a read began.
    var readFloor: [UInt64: Index] = [:]
    /// What is sent to it arrives late.
    var slow: NodeID?
    let seed: UInt64
    let hasWitness: Bool

    init(seed: UInt64, witness: NodeID? = nil) {
        self.seed = seed
        hasWitness = witness != nil
        random = SplitMix64(seed: seed)
        var settings = Raft.Settings()
        settings.recentBytesMax = 400
        settings.messageBytesMax = 300
        settings.window = Window(bytesMax: 1000, messagesMax: 4)
        if hasWitness { settings.promotionLagMax = 8 }
        let voters: [NodeID] = seed % 3 == 0 ? [1, 2, 3, 4, 5] : [1, 2, 3]
        let members = voters.map { id in
            Member(id: id, role: id == witness ? .witness : .voter, peerURLs: ["http://n\(id)"])
        }
        network = Network(configuration: Configuration(members), settings: settings, seed: seed)
        network.writesAtOnce = false
    }

    mutating func chance(_ percent: UInt64) -> Bool { random.next() % 100 < percent }
    mutating func anyone() -> NodeID { network.ids[Int(random.next() % UInt64(network.ids.count))] }

    mutating func step() {
        let id = anyone()
        switch random.next() % 100 {
        case 0..<35: deliverSomething()
        case 35..<60:
            network.finishWrites(id)
            network.flush(id)
        case 60..<80: network.tick(id)
        case 80..<88: propose(at: id)
        case 88..<92: read(at: id)
        case 92: if network.hosts[id]?.isUp == true { network.crash(id) }
        case 93, 94: if network.hosts[id]?.isUp == false { network.restart(id, seed: random.next()) }
        case 95: network.cut.insert([id, anyone()])
        case 96: network.heal()
        case 97: compact(id)
        case 98: change(at: id)
        default: network.post(.transfer(to: anyone()), to: id)
        }
        check()
    }

    /// Few faults, so that memberships change often; whoever leads is asked.
    mutating func calmStep() {
        let id = anyone()
        let asked = network.leaders.max { network[$0].term < network[$1].term } ?? id
        switch random.next() % 1000 {
        case 0..<550: deliverSomething()
        case 550..<750:
            network.finishWrites(id)
            network.flush(id)
        case 750..<850: network.tick(id)
        case 850..<910: propose(at: asked)
        case 910..<945: compact(id)
        case 945..<975: change(at: asked)
        case 975..<980: network.cut.insert([id, anyone()])
        case 980..<985: network.heal()
        case 985..<987: if network.hosts[id]?.isUp == true { network.crash(id) }
        case 987..<997: if network.hosts[id]?.isUp == false { network.restart(id, seed: random.next()) }
        case 997: slow = chance(50) ? nil : anyone()
        default: network.post(.transfer(to: anyone()), to: asked)
        }
        check()
    }

    mutating func deliverSomething() {
        guard !network.wire.isEmpty else { return }
        let place = chance(70) ? 0 : Int(random.next() % UInt64(network.wire.count))
        if network.wire[place].to == slow, chance(80) { return network.wire.append(network.wire.remove(at: place)) }
        if chance(5) { network.wire.append(network.wire[place]) }
        if chance(5) {
            network.wire.remove(at: place)
        } else {
            network.deliver(place)
        }
        if network.wire.count > 300 { network.wire.removeFirst(100) }
    }

    mutating func propose(at id: NodeID) {
        proposals += 1
        network.propose("p\(proposals)", at: id)
    }

    mutating func read(at id: NodeID) {
        let readID = random.next()
        readFloor[readID] = committed.keys.max() ?? 0
        network.post(.readIndex([readID]), to: id)
    }

    mutating func compact(_ id: NodeID) {
        guard let host = network.hosts[id], host.isUp, host.disk.applied > host.disk.baseIndex else { return }
        let target = host.raft.isWitness ? min(host.disk.applied, host.raft.storedIndex) : host.disk.applied - 1
        if target > host.disk.baseIndex { network.compact(id, to: target) }
    }

    mutating func change(at id: NodeID) {
        let isWitness = hasWitness && chance(30)
        let newcomer = NodeID((isWitness ? 20 : 10) + random.next() % 2)
        if network.hosts[newcomer] == nil { network.addEmpty(newcomer, seed: random.next()) }
        let member = Member(
            id: newcomer, role: isWitness ? .joiningWitness : .joining, peerURLs: ["http://n\(newcomer)"],
            replaces: hasWitness && chance(50) ? anyone() : nil)
        network.post(.change(requestID: 1, chance(60) ? .add(member) : .remove(anyone())), to: id)
    }

    // MARK: - Checks

    mutating func check() {
        for id in network.ids {
            guard let host = network.hosts[id] else { continue }
            if host.isUp, host.raft.role == .leader {
                let known = leaderOfTerm[host.raft.term] ?? id
                #expect(known == id, "seed \(seed): two leaders in term \(host.raft.term)")
                leaderOfTerm[host.raft.term] = id
            }
            checkApplied(host, id)
            for state in host.readStates {
                let floor = readFloor[state.id] ?? 0
                #expect(
                    state.index >= floor, "seed \(seed): a read at \(state.index), but \(floor) was committed before")
            }
            network.hosts[id]?.readStates = []
        }
        checkLogMatching()
        if hasWitness { checkCopies() }
    }

    /// Where no disk is lost, every quorum has a member with state that has all that was committed, or a witness whose log still
    /// holds what such members lack. Two witnesses may both have been sent an image while a member was away: see DESIGN.md.
    func checkCopies() {
        guard let last = committed.keys.max() else { return }
        let newest = committed.keys.filter { committed[$0]?.kind == .configuration }.max() ?? 0
        for id in network.leaders where network[id].log.lastIndex >= newest {
            let raft = network[id]
            guard newest == 0 || raft.log.term(at: newest) == committed[newest]?.term || raft.log.baseIndex > newest,
                raft.configuration.voters.count(where: raft.configuration.isWitness) < 2
            else { continue }
            for index in Set(network.ids.map { network[$0].log.baseIndex } + [last]) where index <= last {
                let isLost = raft.configuration.isQuorum { !holds($0, committed[index], at: index) }
                #expect(!isLost, "seed \(seed): entry \(index) is missing at a quorum\n\(members)")
            }
        }
    }

    /// If the entry at `index`, or the state that came of it, is on a member's disk.
    private func holds(_ id: NodeID, _ entry: Entry?, at index: Index) -> Bool {
        guard let entry, let host = network.hosts[id] else { return true }
        if index <= host.disk.baseIndex { return !host.raft.isWitness }
        return host.disk.entries.contains(entry)
    }

    mutating func checkApplied(_ host: Network.Host, _ id: NodeID) {
        for entry in host.disk.entries where entry.index <= host.disk.applied {
            if let known = committed[entry.index] {
                #expect(known == entry, "seed \(seed): member \(id) applied another entry at \(entry.index)")
            } else {
                committed[entry.index] = entry
            }
        }
    }

    /// P figure 3, log matching: same index and term, same entry.
    func checkLogMatching() {
        var seen: [Index: [Term: Entry]] = [:]
        for id in network.ids {
            for entry in network.hosts[id]?.disk.entries ?? [] {
                if let other = seen[entry.index]?[entry.term] {
                    #expect(other == entry, "seed \(seed): logs do not match at \(entry.index)")
                }
                seen[entry.index, default: [:]][entry.term] = entry
            }
        }
    }

    /// Every member in a line, for a failure's message.
    var members: String {
        network.ids.map { id in
            let raft = network[id]
            let members = raft.configuration.members.map {
                "\($0.id)\($0.isVoting ? "" : "?")\($0.isWitness ? "w" : "")"
            }
            return
                "\(id) \(raft.role) term \(raft.term) log \(raft.log.baseIndex)..\(raft.log.lastIndex)/\(raft.log.lastTerm)"
                + " commit \(raft.commit) applied \(raft.applied) members \(members.joined(separator: " "))"
        }.joined(separator: "\n")
    }

    /// Ends all faults: within bounded time there is a leader, and a new proposal reaches every member's state.
    mutating func recover() {
        network.heal()
        network.writesAtOnce = true
        for id in network.ids where network.hosts[id]?.isUp == false { network.restart(id, seed: random.next()) }
        for id in network.ids {
            network.finishWrites(id)
            network.flush(id)
        }
        var marker = 0
        for round in 0..<400 {
            for id in network.ids { network.tick(id) }
            network.settle(limit: 100_000)
            if round % 20 == 10, let leader = network.leaders.max(by: { network[$0].term < network[$1].term }) {
                marker += 1
                network.propose("end\(marker)", at: leader)
                network.settle(limit: 100_000)
            }
        }
        check()
        let leader = network.leaders.max { network[$0].term < network[$1].term }
        #expect(leader != nil, "seed \(seed): no leader after all faults ended\n\(members)")
        guard let leader else { return }
        let state = network.hosts[leader]?.disk.state
        #expect(state?.last == Array("end\(marker)".utf8), "seed \(seed): the fabric does not go on")
        for member in network[leader].configuration.members {
            #expect(network.hosts[member.id]?.disk.state == state, "seed \(seed): member \(member.id) differs")
        }
    }
}
