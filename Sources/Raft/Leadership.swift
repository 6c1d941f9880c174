/// What only a leader knows.
struct Leadership: Sendable {
    struct Peer: Sendable {
        let id: NodeID
        var progress: Progress
        /// It waits to hear that what it asked for, up to here, is committed.
        var awaited: Index = 0
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
    /// Who was to take the lead, had an election timeout for it, and did not: others are tried first.
    private(set) var vainHeirs: [NodeID] = []
    /// A damaged member that may be away until it has everything back: one at a time.
    var spared: NodeID?
    var uncommittedBytes = 0
    /// Numbers rounds of heartbeats; never used twice in a leadership.
    var round: UInt64 = 0
    var rounds = Queue<ReadRound>()
    /// When the latest rounds were sent, by the shell's clock.
    private var sendTimes = Queue<UInt64>()
    /// Somebody was told to campaign at once, with which the promises that leases stand on ended.
    var hasGivenUpLeases = false
    var ticksToHandover = 0
    /// For so many ticks in a row this member's disk lacked what was committed a tick before.
    var ticksBehind = 0
    var committedBefore: Index = 0
    var writers = WriterCount()
    var writersTicks = 0
    /// Where most of what was written lately came from, if that is another domain.
    var writersDomain: String?
    /// When followers have to hear what is committed though there is nothing else to send; nil when they know.
    var newsDue: UInt64?
    /// Reads that wait for the next round.
    var unnumberedReads: [(from: NodeID, id: UInt64)] = []

    /// Each witness's log begins after this at the latest: what came before it may lack, cut off or in the image that it was sent. In
    /// earlier leaderships none can have been told of more than its leader had committed.
    private(set) var witnessesBegin: Index

    init(firstIndex: Index) {
        self.firstIndex = firstIndex
        witnessesBegin = firstIndex - 1
    }

    mutating func noteWitnessesBegin(after index: Index) {
        witnessesBegin = max(witnessesBegin, index)
    }

    /// The time to take the lead is over.
    mutating func endTransfer() {
        if let heir = transferTarget, !vainHeirs.contains(heir) { vainHeirs.append(heir) }
        transferTarget = nil
    }

    /// Numbers another round of heartbeats.
    mutating func beginRound(at time: UInt64) {
        round += 1
        sendTimes.append(time)
        if sendTimes.count > Self.sendTimesMax { sendTimes.removeFirst() }
    }

    private static let sendTimesMax = 512

    /// When a round was sent; nil when that is long ago.
    func sendTime(of number: UInt64) -> UInt64? {
        guard number <= round, round - number < sendTimes.count else { return nil }
        return sendTimes[sendTimes.count - 1 - Int(round - number)]
    }

    /// A peer asked for something that takes effect once `index` is committed.
    mutating func note(_ id: NodeID, awaits index: Index) {
        guard let place = place(of: id) else { return }
        peers[place].awaited = max(peers[place].awaited, index)
    }

    func progress(of id: NodeID) -> Progress? {
        peers.first { $0.id == id }?.progress
    }

    func place(of id: NodeID) -> Int? {
        peers.firstIndex { $0.id == id }
    }
}
