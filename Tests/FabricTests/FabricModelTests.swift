import Bytes
import Fabric
import Testing

/// Random schedules of everything that can happen, beside a model of the data that replicas really have.
@Suite struct FabricModelTests {
    @Test(arguments: 0..<100) func aReplicaThatCountsHasEverything(seed: UInt64) throws {
        var world = FabricWorld(seed: seed)
        for _ in 0..<400 { try world.step() }
        try world.heal()
    }

    @Test func aRefusedCommandChangesNothing() throws {
        var fabric = FabricState()
        let bad: [FabricCommand.Action] = [
            .activate("east"), .deactivate("east", force: true), .removeDomain("east"), .removeNode("e1"),
            .createVolume(VolumeSpec(name: "v", sizeBytes: 1)), .createVolume(VolumeSpec(name: "", sizeBytes: 1)),
            .createVolume(VolumeSpec(name: "vol-1", sizeBytes: 1)), .deleteVolume(.name("v")),
            .attach(.id(1), node: "e1", force: true), .putNode(NodeSpec(name: "e1", domain: "a b")),
            .putNode(NodeSpec(name: "e1", domain: "east", ttl: 0)), .putDomain(DomainSpec(name: "-")),
        ]
        for action in bad {
            guard case .failure = fabric.apply(FabricCommand(action, Trace(at: 1, by: ""))) else {
                Issue.record("\(action) was not refused")
                continue
            }
            #expect(fabric.isEmpty)
            #expect(fabric.takeChanges().isEmpty)
        }
    }
}

/// A fabric and what a perfect observer knows of it.
private struct FabricWorld {
    private struct Disk {
        /// The last write that each replica has, by volume.
        var versions: [Int64: Int] = [:]
    }

    private var fabric = FabricState()
    /// The same, from bytes only.
    private var stored: [StoredKey: [UInt8]] = [:]
    private struct StoredKey: Hashable {
        var kind: RecordKind
        var key: [UInt8]
    }
    private var random: SplitMix
    private var now: Int64 = 1_700_000_000_000
    private var disks: [String: Disk] = [:]
    /// Writes that were acknowledged, by volume.
    private var written: [Int64: Int] = [:]
    private var liveLeases: Set<Int64> = []
    private var tokens: [Int64: Int64] = [:]
    private var names = 0
    /// The generation that each replica was reported current for last, by volume and node.
    private var sent: [Int64: [String: Int64]] = [:]
    private static let domains = ["east", "west", "north"]

    init(seed: UInt64) {
        random = SplitMix(state: seed)
        for domain in Self.domains {
            for number in 1...2 {
                _ = apply(.putNode(spec("\(domain)-\(number)", domain)))
            }
        }
    }

    private func spec(_ name: String, _ domain: String) -> NodeSpec {
        NodeSpec(
            name: name, domain: domain, labels: Labels([("zone", name)]),
            pools: [Pool(name: "fast", capacityBytes: 1000), Pool(name: "slow", capacityBytes: 2000)])
    }

    private mutating func apply(
        _ action: FabricCommand.Action, expected: Int64? = nil
    ) -> Result<FabricResult, FabricRefusal> {
        var writer = ByteWriter()
        let command = FabricCommand(action, Trace(at: now, by: "test", reason: "because"), expected: expected)
        command.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        let decoded = try? FabricCommand(from: &reader)
        #expect(decoded == command && reader.isAtEnd)
        let before = fabric.revision
        let result = fabric.apply(command).map(\.result)
        let changes = fabric.takeChanges()
        #expect(fabric.revision - before == (changes.isEmpty ? 0 : 1), "one command, one revision")
        for change in changes { stored[StoredKey(kind: change.kind, key: change.key)] = change.body }
        for effect in fabric.takeLeaseEffects() {
            switch effect {
            case .grant(let id, _): #expect(liveLeases.insert(id).inserted)
            case .renew(let id): #expect(liveLeases.contains(id))
            case .end(let id): liveLeases.remove(id)
            }
        }
        return result
    }

    private mutating func pick<T>(_ items: [T]) -> T? { items.isEmpty ? nil : items[random.below(items.count)] }

    mutating func step() throws {
        now += Int64(random.below(20)) * 30_000
        let volumes = Array(fabric.volumes())
        let nodes = Array(fabric.nodes)
        switch random.below(17) {
        case 0, 1:
            names += 1
            let size = Int64(1 + random.below(80))
            let spec = VolumeSpec(name: "v\(names)", sizeBytes: size, replication: 1 + random.below(3))
            if case .success(.volume(let volume)) = apply(.createVolume(spec)) {
                for replica in volume.replicas { disks[replica.node, default: Disk()].versions[volume.id] = 0 }
                written[volume.id] = 0
            }
        case 2: if let volume = pick(volumes), random.below(4) == 0 { _ = apply(.deleteVolume(.id(volume.id))) }
        case 3, 4:
            if let node = pick(nodes), node.isOnline {
                _ = apply(.expireNodes(term: 1, [LeaseMark(id: node.lease, generation: 1)]))
            }
        case 5, 6: if let node = pick(nodes) { _ = apply(.putNode(spec(node.name, node.domain))) }
        case 7: if let domain = pick(Self.domains) { _ = apply(.deactivate(domain, force: random.below(2) == 0)) }
        case 8, 9: if let domain = pick(Self.domains) { _ = apply(.activate(domain)) }
        case 10:
            if let node = pick(nodes) {
                _ = apply(
                    .setNode(node.name, isCordoned: random.below(3) == 0, isInMaintenance: random.below(3) == 0))
            }
        case 11:
            if let volume = pick(volumes), let node = pick(nodes) {
                _ = apply(.attach(.id(volume.id), node: node.name, force: random.below(3) == 0))
            }
        case 12: if let volume = pick(volumes) { _ = apply(.detach(.id(volume.id), token: 0)) }
        case 13: if let volume = pick(volumes) { reportFault(of: volume) }
        case 14: replan()
        case 15: repeatReport()
        default: finishResync(mayLoseSource: true)
        }
        for _ in 0..<3 { if let volume = pick(volumes) { write(to: volume.id) } }
        try check()
    }

    private mutating func reportFault(of volume: Volume) {
        guard let replica = pick(volume.replicas) else { return }
        // An old generation is void.
        let generation = replica.generation - Int64(random.below(2))
        let result = apply(.report(.id(volume.id), node: replica.node, .stale, generation: generation))
        if generation != replica.generation { #expect(throws: FabricRefusal.self) { try result.get() } }
    }

    private mutating func replan() {
        var start: Int64? = 0
        while let from = start {
            let found = fabric.inNeedOfPlan(from: from, count: 7, at: now)
            start = found.next
            if !found.ids.isEmpty { _ = apply(.replan(found.ids)) }
        }
    }

    /// A node that was told to resync copies from one that has everything, and says so.
    private mutating func finishResync(mayLoseSource: Bool) {
        let all = fabric.volumes().flatMap { volume in
            volume.replicas.filter { $0.state == .resyncing }.map { (volume, $0) }
        }
        guard let (volume, replica) = pick(all) else { return }
        guard let source = volume.replicas.first(where: { $0.state == .current && fabric.isAvailable($0.node) }) else {
            return
        }
        copy(volume.id, from: source.node, to: replica.node)
        // Where it copied from may be lost before it says so.
        if mayLoseSource, random.below(4) == 0, let lease = fabric.node(source.node)?.lease {
            _ = apply(.expireNodes(term: 1, [LeaseMark(id: lease, generation: 1)]))
        }
        // Meanwhile something may happen that makes it miss a write.
        if random.below(4) == 0 {
            write(to: volume.id)
            copy(volume.id, from: source.node, to: replica.node)
        }
        sent[volume.id, default: [:]][replica.node] = replica.generation
        _ = apply(.report(.id(volume.id), node: replica.node, .current, generation: replica.generation))
    }

    /// What a node reported long ago arrives once more, when it has been told to resync again.
    private mutating func repeatReport() {
        for volume in Array(fabric.volumes()) {
            for replica in volume.replicas where replica.state == .resyncing {
                guard let generation = sent[volume.id]?[replica.node] else { continue }
                _ = apply(.report(.id(volume.id), node: replica.node, .current, generation: generation))
            }
        }
    }

    private mutating func copy(_ volume: Int64, from source: String, to target: String) {
        let version = disks[source]?.versions[volume]
        disks[target, default: Disk()].versions[volume] = version
    }

    /// A write by whoever is attached goes to all replicas that count and are within reach, and needs one.
    private mutating func write(to id: Int64) {
        guard let volume = fabric.volume(.id(id)), let holder = volume.attachment, fabric.isAvailable(holder.node),
            holder.token == volume.lastToken
        else { return }
        let targets = volume.replicas.filter { $0.state == .current && fabric.isAvailable($0.node) }
        guard !targets.isEmpty else { return }
        written[id, default: 0] += 1
        for target in targets { disks[target.node]?.versions[id] = written[id] }
    }

    private mutating func check() throws {
        var usage: [String: Int64] = [:]
        for volume in fabric.volumes() {
            #expect(Set(volume.replicas.map(\.node)).count == volume.replicas.count)
            #expect(volume.lastToken >= tokens[volume.id] ?? 0, "tokens rise")
            tokens[volume.id] = volume.lastToken
            let reachable = fabric.currentReplicas(of: volume)
            #expect(volume.state == (reachable == 0 ? .down : reachable < volume.replication ? .degraded : .up))
            let current = volume.replicas.filter { $0.state == .current }
            try #require(!current.isEmpty, "\(volume.name) has no replica that counts")
            for replica in current where fabric.isAvailable(replica.node) {
                let has = disks[replica.node]?.versions[volume.id]
                #expect(has == written[volume.id], "\(volume.name) on \(replica.node) counts, and has missed a write")
            }
            if current.contains(where: { fabric.isAvailable($0.node) }) {
                #expect(current.allSatisfy { fabric.isAvailable($0.node) })
            } else {
                #expect(current.contains { disks[$0.node]?.versions[volume.id] == written[volume.id] })
            }
            for replica in volume.replicas { usage["\(replica.node)/\(replica.pool)", default: 0] += volume.sizeBytes }
        }
        for node in fabric.nodes {
            for pool in node.pools {
                let used = fabric.usage(of: node.name).allocatedBytes(in: pool.name)
                #expect(used == usage["\(node.name)/\(pool.name)"] ?? 0)
                #expect(used <= pool.capacityBytes)
            }
            #expect(node.isOnline == liveLeases.contains(node.lease))
        }
        if random.below(20) == 0 { try checkStored() }
    }

    /// What is stored is all there is.
    private func checkStored() throws {
        var loaded = FabricState()
        for (key, body) in stored { try loaded.load(key.kind, body) }
        #expect(loaded.revision == fabric.revision)
        #expect(Array(loaded.domains) == Array(fabric.domains))
        #expect(Array(loaded.nodes) == Array(fabric.nodes))
        #expect(Array(loaded.volumes()) == Array(fabric.volumes()))
        #expect(loaded.nodes.allSatisfy { loaded.usage(of: $0.name) == fabric.usage(of: $0.name) })
        #expect(loaded.explain(3, sizeBytes: 50) == fabric.explain(3, sizeBytes: 50))
    }

    /// When all is well again every volume has as many replicas as it should, all current, as far apart as can be.
    mutating func heal() throws {
        for domain in Self.domains { _ = apply(.activate(domain)) }
        for node in Array(fabric.nodes) {
            _ = apply(.putNode(spec(node.name, node.domain)))
            _ = apply(.setNode(node.name, isCordoned: false, isInMaintenance: false))
        }
        now += 2 * FabricState.patienceMilliseconds
        for _ in 0..<2000 {
            replan()
            if !fabric.volumes().contains(where: { $0.replicas.contains { $0.state == .resyncing } }) { break }
            finishResync(mayLoseSource: false)
            try check()
        }
        for volume in fabric.volumes() {
            #expect(volume.state == .up)
            #expect(volume.replicas.count == volume.replication, "\(volume)")
        }
    }
}

struct SplitMix {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((z ^ (z >> 31)) % UInt64(bound))
    }
}
