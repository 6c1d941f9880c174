internal import Raft

/// A member that lies within the format: an old process at a reused address, bits that flipped before the checksum was made, a stranger.
/// It says nothing that only a leader, a voter or a disk could know to be wrong: who speaks for those can do what a majority can.
extension World {
    /// What a liar makes of a message; nil when it makes nothing of it.
    func lie(like message: Message) -> Message? {
        var lie = message
        if network.dice.chance(0.3) {
            lie.term += 1 << UInt64(network.dice.between(33, 61))
            return lie
        }
        switch message.body {
        case .heartbeat(var beat):
            beat.commit = 1 << 40
            beat.stored = 1 << 40
            lie.body = .heartbeat(beat)
        case .heartbeatReply(let round, let epoch, let health, let promise):
            lie.body =
                network.dice.chance(0.5)
                ? .heartbeatReply(round: .max, logEpoch: epoch, health: health, promise: promise)
                : .heartbeatReply(round: round, logEpoch: epoch + 7, health: health, promise: promise)
        case .appendReply(let outcome, let epoch):
            lie.body =
                network.dice.chance(0.5)
                ? .appendReply(outcome, logEpoch: epoch + 7) : .appendReply(.lost(0), logEpoch: epoch)
        case .append(let previousIndex, let previousTerm, let entries, let commit, let epoch):
            guard previousIndex >= commit else { return nil }
            let strangers = Configuration([Member(id: 0xbad, role: .voter, peerURLs: [])])
            let entry = Entry(
                index: previousIndex + 1, term: message.term,
                proposal: Proposal(
                    id: 0, kind: .configuration,
                    payload: ConfigurationEntry(requestID: 0, configuration: strangers).encoded()))
            lie.body = .append(
                previousIndex: previousIndex, previousTerm: previousTerm, entries: [entry] + entries.dropFirst(),
                commit: commit, logEpoch: epoch)
        default: return nil
        }
        return lie
    }
}
