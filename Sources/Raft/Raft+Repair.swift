/// Members that found their state damaged leave to be repaired one at a time, and only where that takes nothing from the fabric.
extension Raft {
    /// Keeps to the one that may go until it is whole again, or gone for good; else chooses the next.
    mutating func chooseWhomToSpare() {
        guard let current = leadership else { return }
        if let known = current.spared, let progress = current.progress(of: known) {
            guard progress.health == .whole, isActive(progress) else { return }
        }
        let next = current.peers.first { peer in
            peer.progress.health == .damaged && isActive(peer.progress) && canSpare(peer.id)
        }
        leadership?.spared = next?.id
    }

    /// If the leader has just said that the others can do without this member, which is damaged, until it has everything back.
    package var isSpared: Bool {
        isDamaged && wasSpared && role == .follower && leader != nil && electionElapsed < electionTicks
    }

    /// If without this member those that are whole, and have all that is committed, are a quorum. This one leads them, and has the
    /// state that it fetches.
    func canSpare(_ id: NodeID) -> Bool {
        guard !isWitness, !isDamaged, hasCommittedInTerm, let current = leadership else { return false }
        func isWhole(_ voter: NodeID) -> Bool {
            if voter == self.id { return true }
            guard voter != id, let progress = current.progress(of: voter) else { return false }
            return isActive(progress) && progress.health == .whole && progress.match >= commit
        }
        let spread = configuration.reachedBySpread { isWhole($0) ? 1 : 0 } ?? 1
        return configuration.isQuorum(isWhole) && spread == 1
    }
}
