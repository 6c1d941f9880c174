internal import Raft
internal import Replication
internal import Synchronization
internal import Transport

/// What peers say of this member, and the images they sent it. Thread-safe.
final class PeerReports: Sendable {
    private struct State {
        var received = IncomingSnapshots()
        /// How often each peer said, since it last talked to this member, that it was removed or has forgotten what it promised.
        var turnedAway: [NodeID: (refusal: PeerRefusal, times: Int)] = [:]
        var voters: [NodeID] = []
        /// Whom a member that just joined was told of.
        var hinted: Set<NodeID> = []
    }

    /// A report may be a race with apply; only repeated ones count.
    private static let timesTurnedAwayMax = 6
    private let state = Mutex(State())
    private let directory: PeerDirectory
    private let onEnd: @Sendable (MemberEnd) -> Void

    init(directory: PeerDirectory, onEnd: @escaping @Sendable (MemberEnd) -> Void) {
        self.directory = directory
        self.onEnd = onEnd
    }

    // MARK: - What they say

    func setVoters(_ voters: [NodeID]) { state.withLock { $0.voters = voters } }
    func addHint(_ id: NodeID) { state.withLock { _ = $0.hinted.insert(id) } }

    /// A peer that this member called will not talk to it. No single word ends a member: whoever has a peer's address could say it.
    /// A majority of the voters that this member knows must, and nothing is written down because of it.
    func noteTurnedAway(by peer: NodeID, _ refusal: PeerRefusal) {
        guard refusal == .removed || refusal == .forgotten && directory.isUnconfirmed else { return }
        let isAgreed = state.withLock { state in
            let times = state.turnedAway[peer].map { $0.refusal == refusal ? $0.times : 0 } ?? 0
            state.turnedAway[peer] = (refusal, times + 1)
            let voters = state.voters.isEmpty ? Array(state.hinted) : state.voters
            let agreeing = voters.count { voter in
                state.turnedAway[voter].map { $0.refusal == refusal && $0.times >= Self.timesTurnedAwayMax } ?? false
            }
            return !voters.isEmpty && agreeing >= voters.count / 2 + 1
        }
        if isAgreed { onEnd(refusal == .removed ? .disowned : .forgotten) }
    }

    func noteWelcome(by peer: NodeID) {
        state.withLock { $0.turnedAway[peer] = nil }
    }

    // MARK: - What they sent

    func addReceived(_ mark: SnapshotMark, path: String) {
        state.withLock { $0.received.add(mark, path: path) }
    }

    /// The image of `mark`; nil when it is not here. Those before it go.
    func takeReceived(_ mark: SnapshotMark) -> String? {
        let (found, stale) = state.withLock { $0.received.take(mark) }
        for path in stale { try? SnapshotImage.remove(path) }
        return found
    }
}
