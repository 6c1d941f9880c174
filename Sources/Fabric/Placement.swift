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

    /// Why no replica can be placed on a node; nil when one can.
    private func objection(to node: Standing, _ sizeBytes: Int64, _ taken: [String]) -> String? {
        if taken.contains(node.node) { return "it has a replica already" }
        if let obstacle = node.obstacle { return obstacle }
        let free = node.freeBytes
        return free < sizeBytes ? "\(max(0, free)) bytes are free in its roomiest pool" : nil
    }

    private func rank(_ node: Standing, beside others: [Standing]) -> Rank {
        var rank = Rank(sameDomain: 0, sameZone: 0, sameRack: 0, freeBytes: node.freeBytes, node: node.node)
        for other in others where other.domain == node.domain {
            rank.sameDomain += 1
            guard other.zone == node.zone else { continue }
            rank.sameZone += 1
            if other.rack == node.rack { rank.sameRack += 1 }
        }
        return rank
    }

    /// Up to `count` places for replicas, away from each other and from those on `taken`; none on `excluded`.
    func place(_ count: Int, sizeBytes: Int64, beside taken: [String], without excluded: [String] = []) -> [Site] {
        var names = taken + excluded
        var others = taken.compactMap { standings[$0] }
        var sites: [Site] = []
        while sites.count < count {
            var best: (rank: Rank, node: Standing)?
            for node in standings.rows() where node.obstacle == nil && node.freeBytes >= sizeBytes {
                guard !names.contains(node.node) else { continue }
                let rank = rank(node, beside: others)
                if best.map({ rank < $0.rank }) ?? true { best = (rank, node) }
            }
            guard let node = best?.node, let pool = node.roomiest?.name else { break }
            sites.append(Site(node: node.node, pool: pool))
            names.append(node.node)
            others.append(node)
        }
        return sites
    }

    func lackOfSpace(_ sizeBytes: Int64) -> String {
        guard nodeTable.count > 0 else { return "no storage node is registered yet" }
        let reasons = nodeTable.rows().prefix(5).compactMap { node in
            standings[node.name].flatMap { objection(to: $0, sizeBytes, []) }.map { "\(node.name): \($0)" }
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
            let others = names.compactMap { standings[$0] }
            let chosen = place(1, sizeBytes: sizeBytes, beside: names).first?.node
            let verdicts = standings.rows().map { node in
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
