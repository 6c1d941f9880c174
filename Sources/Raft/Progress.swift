internal import Bytes

/// What a leader knows of one peer's log (P figure 2: nextIndex and matchIndex).
struct Progress: Sendable {
    enum State: Equatable, Sendable {
        /// Looking for the place where the logs agree: one message, then wait for an answer or a heartbeat's.
        case probing(waiting: Bool)
        /// The logs agree: send ahead within the window.
        case replicating
        /// The peer gets a snapshot; nothing else is sent meanwhile.
        case snapshot
    }

    private(set) var state: State = .probing(waiting: false)
    /// The peer has everything up to this on disk.
    private(set) var match: Index
    /// It had acknowledged everything up to this, and lost some of it.
    private var matchBeforeLoss: Index = 0
    /// What to send next.
    private(set) var next: Index
    /// The highest commit index it was told.
    var commitSent: Index = 0
    /// Ticks since it answered; a newcomer counts as if it just had, and so has time to show itself.
    var silentTicks = 0
    /// The latest round of heartbeats it confirmed.
    var roundAcknowledged: UInt64 = 0
    /// Which log of the peer's this is about: see `Raft.logEpoch`.
    private(set) var logEpoch: UInt64 = 0
    /// The round of heartbeats in which that was heard first.
    private var epochRound: UInt64 = 0
    /// Nil before it answered a heartbeat.
    var health: Message.Health?
    var roundTrip = RoundTrip()
    /// Until when, by the leader's clock, it elects nobody else: see `Raft.leaseUntil`.
    var boundUntil: UInt64 = 0
    /// Entries for it are being read from disk.
    var isReadingLog = false
    /// Nothing came back between two heartbeats, though it lacks entries: ask where it is.
    private(set) var isStuck = false
    private var matchAtHeartbeat: Index = 0
    private var inflight = Queue<(lastIndex: Index, bytes: Int)>()
    private(set) var inflightBytes = 0

    init(match: Index, next: Index) {
        self.match = match
        self.next = next
    }

    /// The last entry that the peer acknowledged. What it lost of them it is told of until it has it again: it must not vote as if it
    /// had never had it.
    var acknowledged: Index { max(match, matchBeforeLoss) }

    func canSend(window: Window) -> Bool {
        if isReadingLog { return false }
        switch state {
        case .probing(let waiting): return !waiting
        case .replicating where isStuck: return true
        case .replicating: return hasRoom(in: window)
        case .snapshot: return false
        }
    }

    func hasRoom(in window: Window) -> Bool {
        inflight.count < window.messagesMax && inflightBytes < window.bytesMax
    }

    mutating func becomeProbing() {
        becomeProbing(after: match)
    }

    private mutating func becomeProbing(after index: Index) {
        state = .probing(waiting: false)
        // Of a peer that lost its log the old place is as good a guess as any; a refusal says where it is.
        next = index == 0 ? next : index + 1
        forgetInflight()
    }

    mutating func becomeReplicating() {
        state = .replicating
        next = match + 1
        // What was sent while the logs differed may have been refused, and the commit index with it.
        commitSent = 0
        forgetInflight()
    }

    mutating func becomeSnapshot() {
        state = .snapshot
        forgetInflight()
    }

    private mutating func forgetInflight() {
        inflight.removeAll()
        inflightBytes = 0
        isReadingLog = false
        isStuck = false
    }

    mutating func noteSent(lastIndex: Index, bytes: Int) {
        switch state {
        case .replicating:
            isStuck = false
            if lastIndex >= next {
                inflight.append((lastIndex, bytes))
                inflightBytes += bytes
                next = lastIndex + 1
            }
        case .probing: state = .probing(waiting: true)
        case .snapshot: preconditionFailure("entries sent to a peer that awaits a snapshot")
        }
    }

    /// Notes of which log the peer speaks. False when it is one it has lost since; a new one is not known to have anything.
    /// - Parameters:
    ///   - round: the latest round of heartbeats.
    ///   - answered: the round that this is an answer to; nil of what answers none.
    mutating func note(logEpoch epoch: UInt64, at round: UInt64, answered: UInt64? = nil) -> Bool {
        if epoch == logEpoch { return true }
        // Epochs never fall. An answer of an earlier one to what was sent after the later one was heard of shows that the later
        // one was made up.
        let isDisproved = answered.map { $0 > epochRound && $0 <= round } ?? false
        guard epoch > logEpoch || isDisproved && !makes(.believesAnyEpoch) else { return false }
        logEpoch = epoch
        epochRound = round
        match = 0
        matchBeforeLoss = 0
        if state != .snapshot { becomeProbing(after: 0) }
        return true
    }

    /// The peer's log agrees up to `index`. Answers if that is news.
    mutating func noteMatch(_ index: Index) -> Bool {
        let isNews = index > match
        match = max(match, index)
        next = max(next, match + 1)
        while let first = inflight.first, first.lastIndex <= index {
            inflightBytes -= first.bytes
            inflight.removeFirst()
        }
        return isNews
    }

    /// The peer shares nothing after `lastIndex` any more, though it had acknowledged more. What it has up to there may be what was
    /// replaced: an append shows where the logs agree.
    mutating func noteLoss(lastIndex: Index) {
        guard lastIndex < match else { return }
        matchBeforeLoss = acknowledged
        match = 0
        next = min(next, lastIndex + 1)
        if state != .snapshot { becomeProbing(after: lastIndex) }
    }

    /// The peer refused what followed `rejected`. Answers if the refusal is no leftover of an earlier exchange.
    mutating func noteConflict(rejected: Index, retry: Index) -> Bool {
        if state == .replicating {
            guard rejected > match else { return false }
            becomeProbing()
        } else {
            guard next - 1 == rejected else { return false }
        }
        next = max(min(rejected, retry + 1), match + 1)
        // What it had acknowledged it cannot refuse, unless it is late or a liar made it: no haste, or the two would only keep busy.
        if case .probing = state { state = .probing(waiting: rejected <= match) }
        return true
    }

    /// A heartbeat was answered: the peer is there, so what it has not answered may be lost.
    mutating func noteHeartbeatReply(lastIndex: Index) {
        switch state {
        case .probing: state = .probing(waiting: false)
        case .replicating: isStuck = match < lastIndex && match == matchAtHeartbeat
        case .snapshot: break
        }
        matchAtHeartbeat = match
    }

    /// The peer has the snapshot of `index` and installs it; nil when it did not get it.
    mutating func noteSnapshotSent(index: Index?) {
        becomeProbing()
        if let index { next = max(next, index + 1) }
        // Either way it is asked after its next heartbeat's answer, not at once.
        state = .probing(waiting: true)
    }
}

/// How much may be under way to one peer.
package struct Window: Sendable {
    package var bytesMax: Int
    package var messagesMax: Int

    package init(bytesMax: Int = 4 << 20, messagesMax: Int = 512) {
        self.bytesMax = bytesMax
        self.messagesMax = messagesMax
    }
}
