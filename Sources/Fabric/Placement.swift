/// Where replicas go: over domains first, then zones, then racks, then to where most is free.
extension FabricState {
    /// A place for a replica.
    package struct Site: Equatable, Sendable {
        package let node: String
        package let pool: String
    }

    /// What speaks for and against a node; the least is chosen.
    private struct Rank: Comparable {
        var sameDomain: Int
        var sameZone: Int
        var sameRack: Int
        var freeBytes: Int64
        var node: String

        static func < (a: Rank, b: Rank) -> Bool {
            (a.sameDomain, a.sameZone, a.sameRack, b.freeBytes, a.node)
                < (b.sameDomain, b.sameZone, b.sameRack, a.freeBytes, b.node)
        }
    }

    package func free(in pool: String, of node: Node) -> Int64 {
        guard let found = node.pools.first(where: { $0.name == pool }) else { return 0 }
        return found.capacityBytes - usage(of: node.name).allocatedBytes(in: pool)
    }

    /// The pool of a node with the most free, the first of several.
    private func roomiest(of node: Node) -> (pool: String, freeBytes: Int64)? {
        node.pools.map { ($0.name, free(in: $0.name, of: node)) }.max { ($0.1, $1.0) < ($1.1, $0.0) }
    }

    /// Why no replica can be placed on a node; nil when one can.
    private func objection(to node: Node, _ sizeBytes: Int64, _ taken: [String]) -> String? {
        if taken.contains(node.name) { return "it has a replica already" }
        if domainTable[node.domain]?.isActive != true { return "domain \(node.domain) is inactive" }
        if !node.isOnline { return "it is offline" }
        if node.isInMaintenance { return "it is in maintenance" }
        if node.isCordoned { return "it is cordoned" }
        let free = roomiest(of: node)?.freeBytes ?? 0
        return free < sizeBytes ? "\(max(0, free)) bytes are free in its roomiest pool" : nil
    }

    private func rank(_ node: Node, beside others: [Node]) -> Rank {
        let neighbours = others.filter { $0.domain == node.domain }
        let inZone = neighbours.filter { $0.zone == node.zone }
        return Rank(
            sameDomain: neighbours.count, sameZone: inZone.count, sameRack: inZone.count { $0.rack == node.rack },
            freeBytes: roomiest(of: node)?.freeBytes ?? 0, node: node.name)
    }

    /// Up to `count` places for replicas, away from each other and from those on `taken`.
    func place(_ count: Int, sizeBytes: Int64, beside taken: [String]) -> [Site] {
        var names = taken
        var others = taken.compactMap { nodeTable[$0] }
        var sites: [Site] = []
        let candidates = nodeTable.records().filter { objection(to: $0, sizeBytes, taken) == nil }
        while sites.count < count {
            let free = candidates.filter { !names.contains($0.name) }.map { (rank($0, beside: others), $0) }
            guard let best = free.min(by: { $0.0 < $1.0 })?.1, let pool = roomiest(of: best)?.pool else { break }
            sites.append(Site(node: best.name, pool: pool))
            names.append(best.name)
            others.append(best)
        }
        return sites
    }

    func lackOfSpace(_ sizeBytes: Int64) -> String {
        guard nodeTable.count > 0 else { return "no storage node is registered yet" }
        let reasons = nodeTable.records().prefix(5).compactMap { node in
            objection(to: node, sizeBytes, []).map { "\(node.name): \($0)" }
        }
        return "no node can take a replica of \(sizeBytes) bytes; \(reasons.joined(separator: "; "))"
    }

    // MARK: - Saying why

    /// How a node stood when a replica was to be placed.
    package struct Verdict: Equatable, Sendable {
        package let node: String
        package let domain: String
        /// Replicas in the same domain, zone and rack: fewer are better, the first difference decides.
        package let neighbours: (domain: Int, zone: Int, rack: Int)
        package let freeBytes: Int64
        /// Why it cannot take one.
        package let objection: String?
        /// It would be chosen.
        package let isChosen: Bool

        package static func == (a: Verdict, b: Verdict) -> Bool {
            (a.node, a.domain, a.freeBytes, a.objection, a.isChosen) == (
                b.node, b.domain, b.freeBytes, b.objection, b.isChosen
            )
                && a.neighbours == b.neighbours
        }
    }

    /// For each of `count` replicas, one after the other, what speaks for and against every node now; best first.
    package func explain(_ count: Int, sizeBytes: Int64, beside taken: [String] = []) -> [[Verdict]] {
        var names = taken
        return (0..<count).map { _ in
            let others = names.compactMap { nodeTable[$0] }
            let chosen = place(1, sizeBytes: sizeBytes, beside: names).first?.node
            let verdicts = nodeTable.records().map { node in
                (rank(node, beside: others), objection(to: node, sizeBytes, names), node.domain)
            }
            .sorted { ($0.1 == nil ? 0 : 1, $0.0) < ($1.1 == nil ? 0 : 1, $1.0) }
            if let chosen { names.append(chosen) }
            return verdicts.map { rank, objection, domain in
                Verdict(
                    node: rank.node, domain: domain, neighbours: (rank.sameDomain, rank.sameZone, rank.sameRack),
                    freeBytes: rank.freeBytes, objection: objection, isChosen: rank.node == chosen)
            }
        }
    }
}
