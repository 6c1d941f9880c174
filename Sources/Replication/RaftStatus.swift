package import Raft

/// What the consensus lane says of itself after each round.
package struct RaftStatus: Sendable {
    package struct Peer: Sendable {
        package var id: NodeID
        package var match: Index
        package var isActive: Bool
        /// 0 while it is not known.
        package var roundTripNanoseconds: UInt64
    }

    package var term: Term = 0
    package var leader: NodeID?
    package var role = Raft.Role.follower
    package var commit: Index = 0
    package var lastIndex: Index = 0
    package var firstIndex: Index = 0
    package var applied: Index = 0
    package var pending = 0
    /// As of the end of the log; `Membership` is as of what is applied.
    package var configuration: Configuration
    /// Empty unless this member leads.
    package var peers: [Peer]
    /// It is damaged, and may go to be repaired.
    package var isSpared = false

    package init() {
        // Not where they are declared: each status that is published would make them first.
        configuration = Configuration()
        peers = []
    }

    init(
        term: Term, leader: NodeID?, role: Raft.Role, commit: Index, lastIndex: Index, firstIndex: Index,
        applied: Index, pending: Int, configuration: Configuration, peers: [Peer], isSpared: Bool
    ) {
        self.term = term
        self.leader = leader
        self.role = role
        self.commit = commit
        self.lastIndex = lastIndex
        self.firstIndex = firstIndex
        self.applied = applied
        self.pending = pending
        self.configuration = configuration
        self.peers = peers
        self.isSpared = isSpared
    }
}
