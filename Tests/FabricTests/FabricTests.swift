import Fabric
import Testing

@Suite struct FabricTests {
    private var fabric = FabricState()
    private var now: Int64 = 1000

    @discardableResult
    private mutating func apply(_ action: FabricCommand.Action, expected: Int64? = nil) throws -> FabricResult {
        now += 1
        defer {
            _ = fabric.takeChanges()
            _ = fabric.takeLeaseEffects()
        }
        return try fabric.apply(FabricCommand(action, Trace(at: now, by: "me"), expected: expected)).get().result
    }

    private mutating func addNode(
        _ name: String, _ domain: String, zone: String = "", rack: String = "", bytes: Int64 = 1000
    ) throws {
        var labels = Labels()
        if !zone.isEmpty { labels["zone"] = zone }
        if !rack.isEmpty { labels["rack"] = rack }
        try apply(
            .putNode(
                NodeSpec(name: name, domain: domain, labels: labels, pools: [Pool(name: "p", capacityBytes: bytes)])))
    }

    private mutating func addVolume(_ name: String, _ replication: Int, bytes: Int64 = 100) throws -> Volume {
        let spec = VolumeSpec(name: name, sizeBytes: bytes, replication: replication)
        guard case .volume(let volume) = try apply(.createVolume(spec)) else { throw Missing() }
        return volume
    }

    private struct Missing: Error {}

    private func volume(_ name: String) throws -> Volume { try #require(fabric.volume(.name(name))) }

    private mutating func replan() throws {
        let found = fabric.inNeedOfPlan(from: 0, count: 1000, at: now)
        if !found.ids.isEmpty { try apply(.replan(found.ids)) }
    }

    // MARK: - Placement

    @Test mutating func replicasSpreadOverDomainsThenZonesThenRacksThenSpace() throws {
        try addNode("e1", "east", zone: "a", rack: "1")
        try addNode("e2", "east", zone: "a", rack: "2", bytes: 5000)
        try addNode("e3", "east", zone: "b", rack: "1")
        #expect(try addVolume("one", 1).replicas.map(\.node) == ["e2"])
        #expect(try addVolume("zones", 2).replicas.map(\.node) == ["e2", "e3"])
        #expect(try addVolume("racks", 3).replicas.map(\.node) == ["e2", "e3", "e1"])
        try addNode("w1", "west", bytes: 300)
        #expect(try addVolume("domains", 2).replicas.map(\.node) == ["e2", "w1"])
    }

    @Test mutating func nothingIsPlacedWhereItCannotBe() throws {
        try addNode("e1", "east", bytes: 50)
        try addNode("e2", "east")
        try apply(.setNode("e2", isCordoned: true, isInMaintenance: nil))
        #expect(throws: FabricRefusal.self) { try addVolume("v", 1) }
        let verdicts = try #require(fabric.explain(1, sizeBytes: 100).first)
        #expect(verdicts.map(\.objection) == ["it is cordoned", "50 bytes are free in its roomiest pool"])
        try apply(.setNode("e2", isCordoned: false, isInMaintenance: nil))
        #expect(try addVolume("v", 2).replicas.map(\.node) == ["e2"])
        #expect(try volume("v").state == .degraded)
    }

    // MARK: - Domains go and come

    @Test mutating func aDeactivatedDomainsReplicasAreStaleUntilResynced() throws {
        for node in ["e1", "w1"] { try addNode(node, node == "e1" ? "east" : "west") }
        _ = try addVolume("v", 2)
        try apply(.attach(.name("v"), node: "w1", force: false))
        let held = try volume("v").lastToken
        let epoch = try #require(fabric.domain("west")?.epoch)
        try apply(.deactivate("west", force: false))
        #expect(fabric.domain("west")?.epoch == epoch + 1)
        #expect(try volume("v").state == .degraded)
        #expect(try volume("v").attachment == nil)
        #expect(try volume("v").lastToken > held, "whoever held it is fenced off")
        #expect(fabric.summaries()["west"]?.sync == .notInSync)
        try replan()
        #expect(try volume("v").replica(on: "w1")?.state == .stale, "not while its domain is inactive")
        try apply(.activate("west"))
        try replan()
        let replica = try #require(try volume("v").replica(on: "w1"))
        #expect(replica.state == .resyncing)
        #expect(fabric.summaries()["west"]?.sync == .syncInProgress)
        #expect(throws: FabricRefusal.self) {
            try apply(.report(.name("v"), node: "w1", .current, generation: replica.generation - 1))
        }
        try apply(.report(.name("v"), node: "w1", .current, generation: replica.generation))
        #expect(try volume("v").state == .up)
        #expect(fabric.summaries()["west"]?.sync == .inSync)
    }

    @Test mutating func theLastReplicaKeepsItsStanding() throws {
        for node in ["e1", "w1"] { try addNode(node, node == "e1" ? "east" : "west") }
        _ = try addVolume("v", 2)
        try apply(.deactivate("west", force: false))
        #expect(throws: FabricRefusal.self) { try apply(.deactivate("east", force: false)) }
        try apply(.deactivate("east", force: true))
        #expect(try volume("v").state == .down)
        #expect(throws: FabricRefusal.self) { try apply(.attach(.name("v"), node: "e1", force: true)) }
        try apply(.activate("west"))
        try replan()
        #expect(try volume("v").state == .down, "what is in the west missed writes, or may have")
        try apply(.activate("east"))
        #expect(try volume("v").state == .degraded)
    }

    @Test mutating func replicasAreMadeAnewElsewhereAndTheSurplusGoes() throws {
        for (node, domain) in [("e1", "east"), ("e2", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        #expect(try volume("v").replicas.map(\.node) == ["e1", "w1"])
        try apply(.deactivate("west", force: false))
        try replan()
        let planned = try #require(try volume("v").replica(on: "e2"))
        try apply(.report(.name("v"), node: "e2", .current, generation: planned.generation))
        #expect(try volume("v").state == .up)
        try apply(.activate("west"))
        try replan()
        let back = try #require(try volume("v").replica(on: "w1"))
        try apply(.report(.name("v"), node: "w1", .current, generation: back.generation))
        try replan()
        #expect(try volume("v").replicas.map(\.node) == ["e1", "w1"], "spread again")
    }

    @Test mutating func aNodeThatIsAwayForLongIsReplaced() throws {
        for (node, domain) in [("e1", "east"), ("e2", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        let lease = try #require(fabric.node("e1")?.lease)
        try apply(.expireNodes(term: 1, [LeaseMark(id: lease, generation: 1)]))
        #expect(fabric.node("e1")?.isOnline == false)
        try replan()
        #expect(try volume("v").replica(on: "e2") == nil, "it may come back")
        now += FabricState.patienceMilliseconds
        try replan()
        #expect(try volume("v").replica(on: "e2")?.state == .resyncing)
    }

    @Test mutating func aReportOfAnEarlierReplicaOnTheSameNodeIsVoid() throws {
        for (node, domain) in [("a1", "a"), ("b1", "b"), ("c1", "c")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        try apply(.deactivate("b", force: false))
        try replan()
        let first = try #require(try volume("v").replica(on: "c1")?.generation)
        try apply(.report(.name("v"), node: "c1", .current, generation: first))
        try apply(.activate("b"))
        try replan()
        let back = try #require(try volume("v").replica(on: "b1")?.generation)
        try apply(.report(.name("v"), node: "b1", .current, generation: back))
        try replan()
        #expect(try volume("v").replicas.map(\.node) == ["a1", "b1"])
        try apply(.deactivate("b", force: false))
        try replan()
        #expect(try volume("v").replica(on: "c1")?.state == .resyncing)
        #expect(throws: FabricRefusal.self) {
            try apply(.report(.name("v"), node: "c1", .current, generation: first))
        }
    }

    @Test mutating func nodesThatAreLostTogetherMissedNothing() throws {
        for (node, domain) in [("e1", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        let marks = fabric.nodes.map { LeaseMark(id: $0.lease, generation: 1) }
        try apply(.expireNodes(term: 1, marks))
        #expect(try volume("v").replicas.allSatisfy { $0.state == .current })
        #expect(try volume("v").state == .down)
        try addNode("e1", "east")
        #expect(try volume("v").state == .degraded, "either is enough")
        #expect(try volume("v").replica(on: "w1")?.state == .stale)
    }

    @Test mutating func whatIsMadeAnewIsAsFarAwayAsWhatWasLost() throws {
        for (node, domain, bytes) in [
            ("e1", "east", 5000), ("e2", "east", 4000), ("w1", "west", 3000), ("w2", "west", 2000),
        ] {
            try addNode(node, domain, bytes: Int64(bytes))
        }
        _ = try addVolume("v", 2)
        #expect(try volume("v").replicas.map(\.node) == ["e1", "w1"])
        let lease = try #require(fabric.node("w1")?.lease)
        try apply(.expireNodes(term: 1, [LeaseMark(id: lease, generation: 1)]))
        now += FabricState.patienceMilliseconds
        try replan()
        #expect(try volume("v").replicas.map(\.node) == ["e1", "w1", "w2"])
    }

    @Test mutating func poolsThatShrinkAreCountedToo() throws {
        let all = Int64(1) << 60
        for number in 0..<10 {
            let pools = (0...number).map { Pool(name: "p\($0)", capacityBytes: $0 == number ? all : 0) }
            try apply(.putNode(NodeSpec(name: "e1", domain: "east", pools: pools)))
            _ = try addVolume("v\(number)", 1, bytes: all)
        }
        let node = try #require(fabric.node("e1"))
        #expect(fabric.allocatedBytes(on: node) == .max)
        #expect(fabric.summaries()["east"]?.allocatedBytes == .max)
    }

    @Test mutating func onlySoManyAreResyncedOnOneNodeAtATime() throws {
        for (node, domain) in [("e1", "east"), ("w1", "west")] { try addNode(node, domain, bytes: 1_000_000) }
        for number in 0..<40 { _ = try addVolume("v\(number)", 2) }
        try apply(.deactivate("west", force: false))
        try apply(.activate("west"))
        try replan()
        try replan()
        #expect(fabric.usage(of: "w1").resyncing == FabricState.resyncsPerNodeMax)
    }

    // MARK: - Attachment

    @Test mutating func anAttachmentHasARisingTokenAndOneHolder() throws {
        for (node, domain) in [("e1", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        try apply(.attach(.name("v"), node: "e1", force: false))
        let first = try volume("v").lastToken
        #expect(try volume("v").attachment?.token == first)
        #expect(throws: FabricRefusal.self) { try apply(.attach(.name("v"), node: "w1", force: false)) }
        try apply(.attach(.name("v"), node: "e1", force: false))
        #expect(try volume("v").lastToken > first, "who attaches again fences its earlier self")
        #expect(throws: FabricRefusal.self) { try apply(.detach(.name("v"), token: first)) }
        let lease = try #require(fabric.node("e1")?.lease)
        try apply(.revokeLease(lease))
        try apply(.attach(.name("v"), node: "w1", force: false))
        let third = try #require(try volume("v").attachment?.token)
        try apply(.detach(.name("v"), token: third))
        #expect(try volume("v").lastToken > third)
        let last = try volume("v").lastToken
        try apply(.deleteVolume(.name("v")))
        #expect(try addVolume("v", 2).lastToken > last, "also of another volume of that name")
    }

    @Test mutating func aNodeThatIsAttachedToStays() throws {
        for (node, domain) in [("e1", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 1)
        try apply(.attach(.name("v"), node: "w1", force: false))
        #expect(try volume("v").replica(on: "w1") == nil)
        #expect(throws: FabricRefusal.self) { try apply(.removeNode("w1")) }
        #expect(throws: FabricRefusal.self) { try addNode("w1", "east") }
        try apply(.detach(.name("v"), token: 0))
        try addNode("w1", "east")
        try apply(.removeNode("w1"))
    }

    // MARK: - Conditions

    @Test mutating func aConditionThatDoesNotHoldChangesNothing() throws {
        try addNode("e1", "east")
        let revision = try #require(fabric.node("e1")?.mark.modRevision)
        #expect(throws: FabricRefusal.self) {
            try apply(.setNode("e1", isCordoned: true, isInMaintenance: nil), expected: revision + 1)
        }
        #expect(throws: FabricRefusal.self) { try apply(.putDomain(DomainSpec(name: "east")), expected: 0) }
        try apply(.setNode("e1", isCordoned: true, isInMaintenance: nil), expected: revision)
        #expect(fabric.node("e1")?.isCordoned == true)
        #expect(throws: FabricRefusal.self) { try apply(.removeNode("e1"), expected: revision) }
    }

    @Test mutating func aNodeStaysAsLongAsAVolumeNeedsIt() throws {
        for (node, domain) in [("e1", "east"), ("w1", "west")] { try addNode(node, domain) }
        _ = try addVolume("v", 2)
        #expect(throws: FabricRefusal.self) { try apply(.removeNode("w1")) }
        #expect(throws: FabricRefusal.self) { try apply(.removeDomain("west")) }
        try apply(.deactivate("west", force: false))
        try apply(.removeNode("w1"))
        try apply(.removeDomain("west"))
        #expect(try volume("v").replicas.map(\.node) == ["e1"])
    }

    @Test mutating func oldEventsGo() throws {
        try addNode("e1", "east")
        for number in 0..<(FabricState.eventsMax * 3 / 2) {
            try apply(.setNode("e1", isCordoned: number.isMultiple(of: 2), isInMaintenance: nil))
        }
        let kept = fabric.events().reduce(0) { count, _ in count + 1 }
        #expect(kept >= FabricState.eventsMax && kept <= FabricState.eventsMax * 11 / 10)
    }
}
