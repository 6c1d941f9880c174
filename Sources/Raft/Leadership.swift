/// What only a leader knows.
struct Leadership: Sendable {
    struct Peer: Sendable {
        let id: NodeID
        var progress: Progress
    }

    /// Reads that one round of heartbeats confirms.
    struct ReadRound: Sendable {
        let number: UInt64
        /// The commit index when the round began (D 6.4, step 1).
        let index: Index
        var requests: [(from: NodeID, id: UInt64)]
    }

    /// The first entry of this leadership; once it is committed, reads and membership changes may go on.
    let firstIndex: Index
    /// All members but the leader, by ascending id.
    var peers: [Peer] = []
    var transferTarget: NodeID?
    var uncommittedBytes = 0
    /// Numbers rounds of heartbeats; never used twice in a leadership.
    var round: UInt64 = 0
    var rounds = Queue<ReadRound>()
    /// Reads that wait for the next round.
    var unnumberedReads: [(from: NodeID, id: UInt64)] = []

    init(firstIndex: Index) {
        self.firstIndex = firstIndex
    }

    func progress(of id: NodeID) -> Progress? {
        peers.first { $0.id == id }?.progress
    }

    func place(of id: NodeID) -> Int? {
        peers.firstIndex { $0.id == id }
    }
}
