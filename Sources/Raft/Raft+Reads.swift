internal import Bytes

/// Linearizable reads without a log write (D 6.4), many to a round of heartbeats.
extension Raft {
    mutating func readIndex(_ ids: [UInt64], from reader: NodeID) {
        guard role == .leader else {
            if let leader, reader == id {
                send(.readIndex(ids), to: leader)
            } else if reader == id {
                ready.readsDropped += ids
            }
            return
        }
        if hasLease || (makes(.readsWithoutAsking) && hasCommittedInTerm) {
            answer(Leadership.ReadRound(number: 0, index: commit, requests: ids.map { (reader, $0) }))
        } else {
            leadership?.unnumberedReads += ids.map { (reader, $0) }
        }
    }

    /// Gives the reads at hand a round of their own: only heartbeats sent after a read arrived can confirm it.
    mutating func startReadRound() {
        guard hasCommittedInTerm || makes(.readsBeforeOwnTermIsCommitted), let reads = leadership?.unnumberedReads,
            !reads.isEmpty
        else { return }
        leadership?.unnumberedReads = []
        broadcastHeartbeat()
        guard let number = leadership?.round else { return }
        leadership?.rounds.append(Leadership.ReadRound(number: number, index: commit, requests: reads))
        // Alone it is its own quorum.
        releaseReads()
    }

    /// Answers the reads of every round that a majority confirmed.
    mutating func releaseReads() {
        guard let current = leadership, !current.rounds.isEmpty else { return }
        let majority = configuration.reachedByQuorum { voter in
            voter == id ? .max : current.progress(of: voter)?.roundAcknowledged ?? 0
        }
        while let round = leadership?.rounds.first, round.number <= majority {
            leadership?.rounds.removeFirst()
            answer(round)
        }
    }

    private mutating func answer(_ round: Leadership.ReadRound) {
        var remote: [(reader: NodeID, ids: [UInt64])] = []
        for request in round.requests {
            if request.from == id {
                ready.readStates.append(Ready.ReadState(id: request.id, index: round.index))
            } else if let place = remote.firstIndex(where: { $0.reader == request.from }) {
                remote[place].ids.append(request.id)
            } else {
                remote.append((request.from, [request.id]))
            }
        }
        for (reader, ids) in remote {
            send(.readIndexReply(ids, index: round.index), to: reader)
            leadership?.note(reader, awaits: round.index)
        }
    }
}
