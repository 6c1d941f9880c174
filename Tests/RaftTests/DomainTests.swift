import Bytes
import Testing

@testable import Raft

/// Domains in consensus: what commits wait for, and who leads.
@Suite struct DomainTests {
    /// Five members, unless told two in the east and two in the west, a fifth in neither; 1 leads.
    private func sites(
        _ domains: [String] = ["east", "east", "west", "west", "third"], spread: UInt8 = 0, seed: UInt64 = 1
    ) -> Network {
        var network = Network(voters: [1, 2, 3, 4, 5], seed: seed)
        network.elect(1)
        var changes = domains.enumerated().map { ConfigurationChange.locate(NodeID($0 + 1), domain: $1) }
        if spread > 0 { changes.append(.spread(spread)) }
        network.post(.change(requestID: 1, .several(changes)), to: 1)
        network.settle()
        precondition(network[1].configuration[4]?.domain == domains[3])
        return network
    }

    @Test func aConfigurationWithDomainsComesBackFromItsBytes() throws {
        var policy = Policy()
        policy.domainsMin = 2
        policy.set("west", false)
        let members = [
            Member(id: 1, role: .voter, peerURLs: ["http://a"], domain: "east"),
            Member(id: 2, role: .witness, peerURLs: [], domain: "third"),
            Member(id: 3, role: .voter, peerURLs: ["http://c"]),
        ]
        for configuration in [
            Configuration(members), Configuration(members, policy: policy), Configuration(),
            Configuration(members, outgoing: [1, 2], policy: policy),
        ] {
            var reader = ByteReader(configuration.encoded())
            #expect(try Configuration(from: &reader) == configuration)
            #expect(reader.isAtEnd)
            for length in 0..<configuration.encoded().count {
                var short = ByteReader(Array(configuration.encoded().prefix(length)))
                #expect(throws: DecodingFault.self) { try Configuration(from: &short) }
            }
        }
    }

    @Test func withoutASecondDomainNothingIsCommitted() {
        var network = sites(spread: 2)
        network.propose("before", at: 1)
        network.settle()
        let committed = network[1].commit
        #expect(committed == network[1].log.lastIndex)
        // A majority remains, with a voter of a third domain; without the west there are two domains still.
        network.cutOff([3, 4])
        network.propose("two domains", at: 1)
        network.settle()
        #expect(network[1].commit == committed + 1)
        network.cutOff([3, 4, 5])
        network.propose("one domain", at: 1)
        network.settle()
        #expect(network[1].commit == committed + 1)
    }

    @Test func anInactiveDomainIsNotWaitedFor() {
        var network = Network(voters: [1, 2, 3])
        network.elect(1)
        network.post(
            .change(
                requestID: 1,
                .several([
                    .locate(1, domain: "east"), .locate(2, domain: "east"), .locate(3, domain: "west"), .spread(2),
                ])),
            to: 1)
        network.settle()
        network.cutOff([3])
        network.propose("waits", at: 1)
        network.settle()
        #expect(network[1].commit < network[1].log.lastIndex)
        // The change governs its own commit: it takes effect when it is appended.
        network.post(.change(requestID: 2, .setActive(domain: "west", false)), to: 1)
        network.settle()
        #expect(network[1].commit == network[1].log.lastIndex)
        // It does not come back before somebody there answers.
        for _ in 0..<30 {
            network.tick(1)
            network.settle()
        }
        network.post(.change(requestID: 3, .setActive(domain: "west", true)), to: 1)
        network.settle()
        #expect(network.hosts[1]?.refused.last == .unhealthy)
        network.heal()
        for _ in 0..<20 {
            network.tick(1)
            network.settle()
        }
        network.post(.change(requestID: 4, .setActive(domain: "west", true)), to: 1)
        network.settle()
        #expect(network[1].configuration.policy.inactive.isEmpty)
    }

    @Test("A new leader that cannot commit without a lost domain is told not to wait for it (found by the simulator)")
    func aNewLeaderIsToldNotToWait() throws {
        var network = Network(voters: [1, 2, 3])
        network.elect(3)
        network.post(
            .change(
                requestID: 1,
                .several([
                    .locate(1, domain: "east"), .locate(2, domain: "east"), .locate(3, domain: "west"), .spread(2),
                ])),
            to: 3)
        network.settle()
        network.propose("in the west only", at: 3)
        network.cutOff([3])
        for _ in 0..<100 where !network.leaders.contains(where: { $0 != 3 }) {
            for voter: NodeID in [1, 2] { network.tick(voter) }
            network.settle()
        }
        let leader = try #require(network.leaders.first { $0 != 3 })
        #expect(network[leader].commit < network[leader].log.lastIndex)
        network.post(.change(requestID: 2, .remove(3)), to: leader)
        #expect(network.hosts[leader]?.refused.last == .notReady)
        network.post(.change(requestID: 3, .setActive(domain: "west", false)), to: leader)
        network.settle()
        #expect(network[leader].commit == network[leader].log.lastIndex)
    }

    @Test func whatARelaxationPrecedesIsNotCommittedByItBeforeItIsItself() {
        var network = sites(["east", "east", "east", "west", "west"], spread: 2)
        network.cutOff([4, 5])
        let committed = network[1].commit
        network.propose("east only", at: 1)
        network.settle()
        #expect(network[1].commit == committed)
        // The change reaches nobody: nothing before it may count by it.
        network.cutOff([1])
        network.post(.change(requestID: 2, .setActive(domain: "west", false)), to: 1)
        network.settle()
        #expect(network[1].commit == committed)
    }

    @Test func nothingIsCommittedByARelaxationThatAnotherOneFollows() {
        var network = sites(["east", "east", "east", "west", "third"], spread: 3)
        network.cutOff([4])
        let committed = network[1].commit
        network.propose("east and third only", at: 1)
        network.settle()
        #expect(network[1].commit == committed)
        network.cutOff([1])
        for (requestID, domain) in [(2, "west"), (3, "third")] {
            network.post(.change(requestID: UInt64(requestID), .setActive(domain: domain, false)), to: 1)
            network.settle()
        }
        #expect(network[1].configuration.policy.inactive.count == 2)
        #expect(network[1].commit == committed)
        network.heal()
        network.cutOff([4, 5])
        for _ in 0..<10 {
            network.tick(1)
            network.settle()
        }
        #expect(network[1].commit == network[1].log.lastIndex)
    }

    @Test func domainsWithoutWhichNoQuorumRemainsAreNamed() {
        func layout(_ domains: String...) -> [String] {
            Configuration(
                domains.enumerated().map { Member(id: NodeID($0 + 1), role: .voter, peerURLs: [], domain: $1) }
            ).indispensableDomains
        }
        #expect(layout("a", "a", "b", "b", "c").isEmpty)
        #expect(layout("a", "b", "c").isEmpty)
        #expect(layout("a", "a", "b") == ["a"])
        #expect(layout("a", "a", "b", "b") == ["a", "b"])
        #expect(layout("a", "a", "a").isEmpty, "in one site there is nothing to survive")
    }

    @Test func theLeadGoesToWhereMostIsWritten() {
        var network = sites()
        for round in 0..<300 {
            if network.leaders != [1] { break }
            for number in 0..<4 { network.propose("w", at: 3, requestID: UInt64(1000 + round * 10 + number)) }
            network.tick(1)
            network.settle()
        }
        network.settle()
        let leader = network.leaders.first.flatMap { network[$0].configuration[$0]?.domain }
        #expect(leader == "west")
    }

    @Test func aFewWritesElsewhereMoveNothing() {
        var network = sites()
        for round in 0..<300 {
            if round.isMultiple(of: 10) { network.propose("w", at: 3, requestID: UInt64(1000 + round)) }
            network.tick(1)
            network.settle()
        }
        #expect(network.leaders == [1])
    }

    @Test func aLeaderWhoseDiskIsSlowHandsOver() {
        var network = sites()
        // Its disk takes everything and says nothing, while the others commit.
        network.stalledDisk = 1
        for round in 0..<40 {
            network.propose("w", at: 1, requestID: UInt64(1000 + round))
            network.tick(1)
            network.settle()
            if network.leaders != [1] { break }
        }
        #expect(network.leaders.count == 1 && network.leaders != [1])
    }

    @Test(
        "When the leader's site is lost, one of the others leads within a few ticks of the timeout", arguments: 1...50)
    func siteIsLost(seed: UInt64) throws {
        var dice = SplitMix64(seed: seed)
        var network = sites(seed: seed)
        network.tick(1)
        network.settle()
        // Some were at the end of a tick when they heard the leader last.
        for id: NodeID in 3...5 where dice.next() % 2 == 0 { network.tick(id) }
        network.cutOff([1, 2])
        let term = network[1].term
        for _ in 0..<network.settings.electionTicks + 2 {
            for id in ([3, 4, 5] as [NodeID]).shuffled(using: &dice) {
                network.tick(id)
                network.settle()
            }
        }
        let leader = try #require(([3, 4, 5] as [NodeID]).first { network[$0].role == .leader })
        #expect(network[leader].term == term + 1, "at the first try")
    }

    @Test("A voter that alone has the newest entry is not waited for", arguments: [4, 5] as [NodeID])
    func theNewestEntryIsAtOne(holder: NodeID) throws {
        var network = sites()
        network.tick(1)
        network.settle()
        network.cutOff([1, 2])
        network.cut.remove([1, holder])
        network.propose("on its way", at: 1)
        network.settle()
        network.cutOff([1, 2])
        for _ in 0..<network.settings.electionTicks + 4 {
            for id: NodeID in 3...5 {
                network.tick(id)
                network.settle()
            }
        }
        #expect(([3, 4, 5] as [NodeID]).contains { network[$0].role == .leader })
        #expect(network[holder].commit == network[1].log.lastIndex + 1)
    }
}
