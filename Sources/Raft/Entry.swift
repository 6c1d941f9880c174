internal import Bytes

/// Names one member of the fabric; never 0, never given out twice.
package typealias NodeID = UInt64
/// A Raft term; rises with every election.
package typealias Term = UInt64
/// The place of an entry in the log; the first entry is at 1.
package typealias Index = UInt64

/// One entry of the replicated log.
package struct Entry: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        /// What a new leader appends first, to commit the entries of earlier terms (Raft paper, section 8).
        case empty = 0
        /// A command for the state machine.
        case command = 1
        /// An encoded `ConfigurationEntry`.
        case configuration = 2
    }

    package let index: Index
    package let term: Term
    package let kind: Kind
    package let payload: [UInt8]
    /// CRC-32C of kind and payload, made where the entry was proposed and carried unchanged ever after.
    package let checksum: UInt32

    package init(index: Index, term: Term, proposal: Proposal) {
        self.init(
            index: index, term: term, kind: proposal.kind, payload: proposal.payload, checksum: proposal.checksum)
    }

    package init(index: Index, term: Term, kind: Kind, payload: [UInt8], checksum: UInt32) {
        self.index = index
        self.term = term
        self.kind = kind
        self.payload = payload
        self.checksum = checksum
    }

    /// If kind and payload are what was proposed.
    package var isIntact: Bool { checksum == Entry.checksum(kind: kind, payload: payload) }

    /// Bytes this entry takes in budgets: its payload and about what surrounds it.
    package var cost: Int { payload.count + 48 }

    package static func checksum(kind: Kind, payload: [UInt8]) -> UInt32 {
        var sum = CRC32C()
        sum.add(kind.rawValue)
        sum.add(payload)
        return sum.value
    }
}

/// What a member asks the leader to append.
package struct Proposal: Equatable, Sendable {
    /// Names the request at the member that made it; a refusal carries it back.
    package let id: UInt64
    package let kind: Entry.Kind
    package let payload: [UInt8]
    package let checksum: UInt32

    package init(id: UInt64, kind: Entry.Kind, payload: [UInt8]) {
        self.init(id: id, kind: kind, payload: payload, checksum: Entry.checksum(kind: kind, payload: payload))
    }

    package init(id: UInt64, kind: Entry.Kind, payload: [UInt8], checksum: UInt32) {
        self.id = id
        self.kind = kind
        self.payload = payload
        self.checksum = checksum
    }
}

/// What Raft keeps on stable storage beside its log (Raft paper, figure 2).
package struct HardState: Equatable, Sendable {
    package var term: Term
    /// Whom this member voted for in `term`.
    package var vote: NodeID?
    /// A commit index that was reached; it may be behind, for it is only a help at restart.
    package var commit: Index

    package init(term: Term = 0, vote: NodeID? = nil, commit: Index = 0) {
        self.term = term
        self.vote = vote
        self.commit = commit
    }
}

/// The state up to and with an index, in place of the log's beginning (Raft paper, section 7).
package struct SnapshotMark: Equatable, Sendable {
    package var index: Index
    package var term: Term
    package var configuration: Configuration

    package init(index: Index, term: Term, configuration: Configuration) {
        self.index = index
        self.term = term
        self.configuration = configuration
    }
}
