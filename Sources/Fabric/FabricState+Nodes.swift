/// Nodes: registered, heard of, lost, removed.
extension FabricState {
    mutating func put(_ spec: NodeSpec, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> Node {
        try FabricLimits.check(spec)
        let known = nodeTable[spec.name]
        try expect(expected, known, spec.name)
        if domainTable[spec.domain]?.kind == .witness {
            throw .conflict("domain \"\(spec.domain)\" is a witness: it has no storage nodes")
        }
        guard known != nil || nodeTable.count < FabricLimits.nodesMax else {
            throw .noSpace("there are \(FabricLimits.nodesMax) nodes, and may not be more")
        }
        if let known { try expectRoom(spec, known) }
        if domainTable[spec.domain] == nil { _ = try make(spec.domain, kind: .data, trace) }
        var node =
            known
            ?? Node(
                name: spec.name, domain: spec.domain, labels: spec.labels, pools: [], addresses: [], ttl: spec.ttl,
                changedAt: trace.at)
        node.domain = spec.domain
        node.labels = spec.labels
        node.pools = spec.pools
        node.addresses = spec.addresses
        hold(&node, ttl: spec.ttl, trace)
        guard node != known else { return node }
        node = put(node, trace)
        if known == nil {
            note(.node, node.name, "registered in \(node.domain)", trace)
        } else if known?.isOnline == false {
            _ = settle([node.name], trace)
            note(.node, node.name, "online", trace)
        }
        return node
    }

    /// What lies on it must still fit.
    private func expectRoom(_ spec: NodeSpec, _ known: Node) throws(FabricRefusal) {
        let held = usage(of: known.name)
        if known.domain != spec.domain {
            guard held.volumeCount == 0 else {
                throw .conflict(
                    "node \"\(known.name)\" has replicas of \(held.volumeCount) volumes: it cannot leave domain \"\(known.domain)\""
                )
            }
            try expectNothingAttached(to: known.name)
        }
        for pool in known.pools where held.allocatedBytes(in: pool.name) > 0 {
            guard spec.pools.contains(where: { $0.name == pool.name }) else {
                throw .conflict("pool \"\(pool.name)\" of node \"\(known.name)\" has replicas")
            }
        }
    }

    private func expectNothingAttached(to node: String) throws(FabricRefusal) {
        guard let volume = volumeTable.rows().first(where: { $0.attachment?.node == node }) else { return }
        throw .conflict("volume \"\(volume.name)\" is attached to \"\(node)\": detach it first")
    }

    /// Grants or renews its lease.
    private mutating func hold(_ node: inout Node, ttl: Int64, _ trace: Trace) {
        if node.isOnline, node.ttl == ttl {
            add(.renew(node.lease))
            return
        }
        if node.isOnline { add(.end(node.lease)) } else { node.changedAt = trace.at }
        meta.lastLease += 1
        node.ttl = ttl
        node.lease = leases.id(meta.lastLease)
        add(.grant(node.lease, ttl: ttl))
    }

    /// Nodes' leases are among other ids from now on.
    package mutating func setLeases(_ leases: NodeLeases) {
        self.leases = leases
    }

    /// The nodes that hold a lease get another, among the ids that are the nodes' now.
    mutating func exchangeLeases(_ trace: Trace) -> Int {
        let holders = Array(nodeTable.rows().filter { $0.isOnline && !leases.contains($0.lease) })
        for var node in holders {
            add(.end(node.lease))
            meta.lastLease += 1
            node.lease = leases.id(meta.lastLease)
            add(.grant(node.lease, ttl: node.ttl))
            put(node, trace)
        }
        return holders.count
    }

    private func existingNode(_ name: String, _ expected: Int64?) throws(FabricRefusal) -> Node {
        guard let node = nodeTable[name] else { throw .notFound(.node, name) }
        try expect(expected, node, name)
        return node
    }

    mutating func setNode(
        _ name: String, isCordoned: Bool?, isInMaintenance: Bool?, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Node {
        let known = try existingNode(name, expected)
        var node = known
        node.isCordoned = isCordoned ?? node.isCordoned
        node.isInMaintenance = isInMaintenance ?? node.isInMaintenance
        guard node != known else { return known }
        if node.isInMaintenance != known.isInMaintenance { node.changedAt = trace.at }
        node = put(node, trace)
        if node.isCordoned != known.isCordoned {
            note(.node, name, node.isCordoned ? "cordoned" : "uncordoned", trace)
        }
        if node.isInMaintenance != known.isInMaintenance {
            let stale = settle([name], trace)
            note(
                .node, name, "\(node.isInMaintenance ? "in" : "out of") maintenance, \(stale) replicas stale", trace)
        }
        return node
    }

    mutating func removeNode(_ name: String, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> FabricResult {
        let node = try existingNode(name, expected)
        try expectNothingAttached(to: name)
        let volumes = usage(of: name).volumes.compactMap { volumeTable[$0] }
        let needing = volumes.filter { volume in
            volume.replica(on: name)?.state != .stale
                || !volume.replicas.contains { $0.node != name && $0.state == .current }
        }
        guard needing.isEmpty else {
            throw .conflict(
                "\(needing.count) volumes need node \"\(name)\", such as \"\(needing[0].name)\": cordon it and let them go first"
            )
        }
        for var volume in volumes {
            volume.replicas.removeAll { $0.node == name }
            put(volume, trace)
        }
        if node.isOnline { add(.end(node.lease)) }
        remove(node)
        note(.node, name, "removed", trace)
        return .removed
    }

    /// The leases of nodes ended, of all at the same moment: none missed what another still took. Answers how many.
    mutating func endLeases(_ ids: [Int64], _ trace: Trace) -> Int {
        let lost = Array(nodeTable.rows().filter { $0.isOnline && ids.contains($0.lease) })
        for var node in lost {
            add(.end(node.lease))
            node.lease = 0
            node.changedAt = trace.at
            put(node, trace)
        }
        _ = settle(lost.map(\.name), trace)
        for node in lost { note(.node, node.name, "offline", trace) }
        return lost.count
    }

    /// These nodes came or went. Answers how many replicas became stale by it.
    mutating func settle(_ nodes: [String], _ trace: Trace) -> Int {
        var stale = 0
        for id in Set(nodes.flatMap { usage(of: $0).volumes }).sorted() {
            guard let known = volumeTable[id] else { continue }
            let volume = settled(known, trace)
            guard volume != known || state(of: volume) != known.state else { continue }
            stale += volume.replicas.count { $0.state == .stale } - known.replicas.count { $0.state == .stale }
            put(volume, trace)
        }
        return stale
    }

    /// Replicas out of reach miss whatever is written from now on. As long as one within reach has everything, they are stale; the last
    /// ones that have everything keep their standing, for nothing can be written without them.
    func settled(_ known: Volume, _ trace: Trace) -> Volume {
        var volume = known
        let isWritable = currentReplicas(of: known) > 0
        for place in volume.replicas.indices where !isAvailable(volume.replicas[place].node) {
            switch volume.replicas[place].state {
            case .current where isWritable, .resyncing:
                volume.replicas[place].become(.stale, at: changeRevision, trace)
            default: continue
            }
        }
        return volume
    }
}

extension VolumeReplica {
    mutating func become(_ state: State, at revision: Int64, _ trace: Trace) {
        self.state = state
        generation = revision
        since = trace.at
    }
}
