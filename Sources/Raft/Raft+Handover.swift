/// Who leads: the lead goes to whoever serves best by it.
extension Raft {
    /// Ticks between two tries to hand the lead to a better placed member.
    private var handoverTicks: Int { 5 * electionTicks }

    /// So long it is counted where requests come from.
    private var writersTicks: Int { 10 * electionTicks }

    /// What speaks for another leader, the most pressing first.
    private enum Reason: Equatable {
        case isWitness
        /// Its state is damaged: it cannot be repaired while it leads.
        case isDamaged
        /// The others have had on disk for an election timeout what this member has not.
        case isSlow
        case hasLessPriority
        /// Most of what is written comes from this domain.
        case writersAreIn(String)
    }

    /// A witness never keeps the lead, nor does a member whose disk is slow, nor one while another of a higher priority could have it,
    /// nor one far from where most is written.
    mutating func handOver() {
        guard let current = leadership, current.transferTarget == nil else { return }
        // What a witness leads may need a state to be sent before anything is committed, and it has none.
        guard isWitness || hasCommittedInTerm && !configuration.isJoint else { return }
        let isPressing = isWitness || isSlow || isDamaged && possibleHeirs.contains { !isInVain($0) }
        if current.ticksToHandover > 0, !isPressing {
            leadership?.ticksToHandover = current.ticksToHandover - 1
            return
        }
        for reason in reasons {
            guard let heir = heir(because: reason) else { continue }
            let pause = handoverTicks
            leadership?.ticksToHandover = pause
            leadership?.writersDomain = nil
            return transfer(to: heir)
        }
    }

    private var reasons: [Reason] {
        if isWitness { return [.isWitness] }
        if isDamaged { return [.isDamaged] }
        let domain = leadership?.writersDomain.map { [Reason.writersAreIn($0)] } ?? []
        return (isSlow ? [.isSlow] : []) + [.hasLessPriority] + domain
    }

    private func heir(because reason: Reason) -> NodeID? {
        let own = configuration[id]?.priority ?? Member.defaultPriority
        let heirs = possibleHeirs.filter { peer in
            guard let member = mayLead(peer.id), peer.progress.match + settings.promotionLagMax >= log.lastIndex
            else { return false }
            switch reason {
            case .isWitness, .isDamaged: return true
            // Whoever is no better would give the lead back at once.
            case .isSlow: return peer.progress.match > log.durableIndex
            case .hasLessPriority: return member.priority > own
            case .writersAreIn(let domain): return member.domain == domain && member.priority >= own
            }
        }
        return notInVain(heirs).max { a, b in
            let (x, y) = (configuration[a.id]?.priority ?? 0, configuration[b.id]?.priority ?? 0)
            return (x, a.progress.match, b.id) < (y, b.progress.match, a.id)
        }?.id
    }

    /// Voters with state that are there, whole, and so may campaign. Whoever has not said yet how it stands is taken for whole by a
    /// witness only: the lead would go to and fro between two of whom one is damaged.
    private var possibleHeirs: [Leadership.Peer] {
        (leadership?.peers ?? []).filter { peer in
            guard mayLead(peer.id) != nil, isActive(peer.progress) else { return false }
            return peer.progress.health == .whole || peer.progress.health == nil && isWitness
        }
    }

    /// Who keeps state and votes. Between two sets of voters one of those who go may be the only one that a witness can hand over to.
    func mayLead(_ id: NodeID) -> Member? {
        let member = isWitness ? configuration.everybody.first { $0.id == id } : configuration[id]
        return member?.role == .voter ? member : nil
    }

    private func isInVain(_ heir: Leadership.Peer) -> Bool { leadership?.vainHeirs.contains(heir.id) == true }

    /// Without those that did not take the lead when they were to, unless there are no others.
    private func notInVain(_ heirs: [Leadership.Peer]) -> [Leadership.Peer] {
        let others = heirs.filter { !isInVain($0) }
        return others.isEmpty ? heirs : others
    }

    /// The voter best placed to take the lead: heard of lately, with the longest log.
    package var transferCandidate: NodeID? {
        notInVain(possibleHeirs).max { ($0.progress.match, $1.id) < ($1.progress.match, $0.id) }?.id
    }

    // MARK: - What is observed

    private var isSlow: Bool { (leadership?.ticksBehind ?? 0) >= electionTicks }

    mutating func countTicks() {
        guard var current = leadership else { return }
        for place in current.peers.indices { current.peers[place].progress.silentTicks += 1 }
        // A quorum of others had it a tick ago, and this member's disk has not.
        current.ticksBehind = log.durableIndex < current.committedBefore ? current.ticksBehind + 1 : 0
        current.committedBefore = commit
        current.writersTicks += 1
        if current.writersTicks >= writersTicks {
            current.writersDomain = current.writers.dominant(besides: configuration[id]?.domain ?? "")
            current.writers = WriterCount()
            current.writersTicks = 0
        }
        leadership = current
    }

    /// Counts requests by the domain of the member that they came to.
    mutating func noteWriter(_ proposer: NodeID, count: Int) {
        guard configuration.members.contains(where: { !$0.domain.isEmpty }),
            let domain = configuration[proposer]?.domain
        else { return }
        leadership?.writers.add(count, of: domain)
    }
}

/// How much is written from where.
struct WriterCount: Sendable {
    /// Fewer say nothing.
    private static let leastMax = 100
    private var domains: [(name: String, count: Int)] = []

    mutating func add(_ count: Int, of domain: String) {
        if let place = domains.firstIndex(where: { $0.name == domain }) {
            domains[place].count += count
        } else {
            domains.append((domain, count))
        }
    }

    /// The domain that three quarters of it come from, unless it is `own` or nobody's.
    func dominant(besides own: String) -> String? {
        let total = domains.reduce(0) { $0 + $1.count }
        let found = domains.first { $0.count * 4 >= total * 3 }
        guard total >= Self.leastMax, let name = found?.name, name != own, !name.isEmpty else { return nil }
        return name
    }
}
