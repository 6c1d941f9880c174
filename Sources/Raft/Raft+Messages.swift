internal import Bytes

/// Messages from peers: first the rules of terms, then each kind's own.
extension Raft {
    mutating func receive(_ message: Message) {
        guard message.to == id else { return }
        guard termBound.lets(message.term, from: term) else {
            ready.contradictions.append(.termJump(from: message.from, to: message.term))
            return
        }
        if message.from == id {
            // The own vote, back from the disk.
            if case .voteReply(let granted) = message.body, message.term == term, role == .candidate {
                countVote(from: id, granted: granted)
            }
            return
        }
        if message.term > term {
            guard adopt(message) else { return }
        } else if message.term < term {
            refuseStale(message)
            return
        }
        dispatch(message)
    }

    /// A message of a later term. Answers if the caller handles it.
    private mutating func adopt(_ message: Message) -> Bool {
        switch message.body {
        case .preVote, .vote:
            if case .vote(_, _, transfer: true) = message.body {
                becomeFollower(term: message.term, leader: nil)
                return true
            }
            // A member that hears a leader helps nobody to depose it (D 4.2.3).
            let hearsLeader = leader != nil && electionElapsed < electionTicks
            if hearsLeader || isBoundByPromise { return false }
            if case .vote = message.body { becomeFollower(term: message.term, leader: nil) }
        case .preVoteReply(granted: true):
            break  // It answers the term that we asked about, which is not ours yet.
        case .append, .heartbeat:
            becomeFollower(term: message.term, leader: message.from)
        case .propose, .proposeRefused, .change, .changeRefused, .readIndex, .readIndexReply:
            // Requests between members move no terms: replication and elections do.
            break
        default:
            becomeFollower(term: message.term, leader: nil)
        }
        return true
    }

    /// A message of an earlier term. Its sender may be a leader that a pre-vote with check-quorum would never depose
    /// otherwise: it must learn that its term is over.
    private mutating func refuseStale(_ message: Message) {
        switch message.body {
        case .append, .heartbeat: send(.appendReply(.staleTerm, logEpoch: logEpoch), to: message.from)
        case .preVote: sendWhenDurable(.preVoteReply(granted: false), to: message.from)
        case .propose, .proposeRefused, .change, .changeRefused, .readIndex, .readIndexReply: dispatch(message)
        default: break
        }
    }

    private mutating func dispatch(_ message: Message) {
        switch message.body {
        case .preVote(let lastIndex, let lastTerm):
            handleVoteRequest(
                message, lastIndex: lastIndex, lastTerm: lastTerm, isRehearsal: true, isTransfer: false)
        case .vote(let lastIndex, let lastTerm, let isTransfer):
            handleVoteRequest(
                message, lastIndex: lastIndex, lastTerm: lastTerm, isRehearsal: false, isTransfer: isTransfer)
        case .preVoteReply(let granted):
            if role == .preCandidate && (!granted || message.term == term + 1) {
                countVote(from: message.from, granted: granted)
            }
        case .voteReply(let granted):
            if role == .candidate {
                countVote(from: message.from, granted: granted)
            } else if granted, role == .preCandidate, vote == id {
                // It came too late: votes take longer than elections wait for them.
                electionTicks = min(2 * electionTicks, Self.electionTicksMax(settings))
            }
        case .append, .heartbeat, .timeoutNow: dispatchFromLeader(message)
        case .appendReply(let outcome, let epoch): handleAppendReply(outcome, from: message.from, epoch)
        case .heartbeatReply(let round, let epoch, let health, let promise):
            handleHeartbeatReply(round: round, from: message.from, epoch, health, promise: promise)
        case .propose(let proposals, let stamp):
            guard isFirst(stamp, of: message) else { return }
            if role == .leader && message.term == term {
                propose(proposals, from: message.from, stamp)
            } else {
                drop(proposals.map(\.id), of: message.from, stamp)
            }
        case .proposeRefused(let ids, let stamp):
            if stamp.start == start { ready.proposalsDropped += ids.map { ($0, stamp.number) } }
        case .change(let requestID, let change, let stamp):
            guard isFirst(stamp, of: message) else { return }
            self.change(change, requestID: requestID, from: message.from, stamp)
        case .changeRefused(let requestID, let refusal): ready.changesRefused.append((requestID, refusal))
        case .readIndex(let ids): readIndex(ids, from: message.from)
        case .readIndexReply(let ids, let index):
            ready.readStates += ids.map { Ready.ReadState(id: $0, index: index) }
        }
    }

    /// If requests arrive for the first time. Of those that arrived before, or may have in an earlier life of this member,
    /// nothing is said: they may have been appended, and a refusal would have them proposed twice.
    private mutating func isFirst(_ stamp: Stamp, of message: Message) -> Bool {
        (message.term > startTerm && seen.note(stamp, from: message.from)) || makes(.doesRequestsTwice)
    }

    private mutating func dispatchFromLeader(_ message: Message) {
        // One leader per term (P 5.2); two would be a broken invariant, but a peer's bytes may not stop this member.
        guard role != .leader else { return }
        if case .timeoutNow = message.body {
            campaign(transfer: true)
            return
        }
        if role != .follower || leader != message.from { becomeFollower(term: term, leader: message.from) }
        electionElapsed = 0
        switch message.body {
        case .append(let previousIndex, let previousTerm, let entries, let leaderCommit, let epoch):
            handleAppend(
                from: message.from, previousIndex: previousIndex, previousTerm: previousTerm, entries: entries,
                leaderCommit: leaderCommit, epoch)
        case .heartbeat(let beat):
            if installing == nil, beat.logEpoch == logEpoch, noteCommit(of: beat, from: message.from) {
                storedIndex = max(storedIndex, min(beat.stored, commit))
            }
            adopt(electionMilliseconds: beat.electionMilliseconds)
            wasSpared = beat.sparesReceiver
            send(
                .heartbeatReply(
                    round: beat.round, logEpoch: logEpoch, health: health,
                    promise: beat.asksForPromise ? promise() : 0),
                to: message.from)
        default: break
        }
    }

    /// What a leader says was acknowledged and is committed is committed here if the logs agree there. If they do not, this disk
    /// lost it and may hold what it replaced, or this is no leader, which is believed in nothing else either: false.
    private mutating func noteCommit(of beat: Message.Heartbeat, from leader: NodeID) -> Bool {
        if beat.commit > log.lastIndex {
            if makes(.commitsWhatLiarsSay) { commit = log.lastIndex }
            noteLoss(of: beat.commit, to: leader)
            return makes(.commitsWhatLiarsSay)
        }
        guard beat.commit > commit, beat.commitTerm > 0 else { return true }
        guard log.term(at: beat.commit) == beat.commitTerm || makes(.commitsBeyondWhatIsShared) else {
            noteLoss(of: beat.commit, to: leader)
            return false
        }
        commit = beat.commit
        noteFound(through: commit)
        return true
    }

    /// AppendEntries at a follower (P figure 2, receiver implementation).
    private mutating func handleAppend(
        from sender: NodeID, previousIndex: Index, previousTerm: Term, entries: [Entry], leaderCommit: Index,
        _ knownEpoch: UInt64
    ) {
        guard installing == nil else { return }
        // Behind with applying what is committed, it takes no more: the leader's window closes, and memory stays bounded.
        // What is not committed is no reason: that may wait for the very entry that comes here.
        guard log.recentBytes < settings.unappliedBytesMax || applied >= commit else { return }
        guard isWellFormed(entries, after: previousIndex, previousTerm) else { return }
        let isSame = log.term(at: previousIndex) == previousTerm
        if previousIndex < commit {
            noteFound(through: commit)
            noteRecovery(through: commit, leaderCommit, knownEpoch)
            reply(.matched(commit), to: sender)
            return
        }
        guard isSame || (makes(.ignoresPreviousTerm) && log.term(at: previousIndex) != nil) else {
            // 2. Reply false if the log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm. The
            // hint skips all entries of terms above the leader's (P 5.3, last paragraphs).
            let hint = log.lastIndex(notAfter: previousIndex, termAtMost: previousTerm)
            reply(.conflict(rejected: previousIndex, hint: hint.index, hintTerm: hint.term), to: sender)
            return
        }
        let lastNew = previousIndex + Index(entries.count)
        if let fresh = entries.firstIndex(where: { log.term(at: $0.index) != $0.term }) {
            // 3. If an existing entry conflicts with a new one, delete it and all that follow it. 4. Append the rest.
            let first = entries[fresh].index
            guard first > commit else {
                ready.contradictions.append(.overwrites(from: sender, index: first))
                return
            }
            guard areConfigurationsLegal(Array(entries[fresh...])) || makes(.takesAnyConfiguration) else {
                ready.contradictions.append(.changesAllVoters(from: sender, index: lastNew))
                return
            }
            truncate(from: first)
            append(Array(entries[fresh...]))
        }
        // 5. commitIndex = min(leaderCommit, index of last new entry)
        commit = max(commit, min(leaderCommit, lastNew))
        noteRecovery(through: lastNew, leaderCommit, knownEpoch)
        noteFound(through: lastNew)
        reply(.matched(lastNew), to: sender)
    }

    /// What is said of the log waits until the log is durable.
    private mutating func reply(_ outcome: Message.AppendOutcome, to leader: NodeID) {
        if makes(.acknowledgesBeforeSync) { send(.appendReply(outcome, logEpoch: logEpoch), to: leader) }
        sendWhenDurable(.appendReply(outcome, logEpoch: logEpoch), to: leader)
    }

    /// A member that lost its log and now agrees with the leader up to `index`: when that is all the leader had committed,
    /// an entry of its own term among it, and the leader knew of the loss before it said so, then nothing that was ever
    /// committed with the help of the lost log is missing here.
    private mutating func noteRecovery(through index: Index, _ leaderCommit: Index, _ knownEpoch: UInt64) {
        guard isRecovering, knownEpoch == logEpoch, leaderCommit <= index, log.term(at: leaderCommit) == term else {
            return
        }
        recoveredAt = leaderCommit
        finishRecovery()
    }

    private func isWellFormed(_ entries: [Entry], after previousIndex: Index, _ previousTerm: Term) -> Bool {
        var index = previousIndex
        var lastTerm = previousTerm
        for entry in entries {
            guard entry.index == index + 1, entry.term >= lastTerm, entry.term <= term else { return false }
            index = entry.index
            lastTerm = entry.term
        }
        return true
    }

    /// If each configuration among `entries` can come after the one before it.
    private func areConfigurationsLegal(_ entries: [Entry]) -> Bool {
        // What the log holds from the first of them on is about to be cut.
        var before = configuration(before: entries[0].index)
        for entry in entries where entry.kind == .configuration {
            guard let next = try? ConfigurationEntry(decoding: entry.payload).configuration else { return false }
            guard next.canFollow(before) else { return false }
            before = next
        }
        return true
    }

    /// The newest configuration that stands before `index`.
    private func configuration(before index: Index) -> Configuration {
        if configurationIndex < index { return configuration }
        return configurationsBefore.last { $0.index < index }?.configuration ?? Configuration()
    }

    private mutating func truncate(from index: Index) {
        guard index <= log.lastIndex else { return }
        log.truncate(from: index)
        // The disk may still hold what was cut: the next append starts no later than here.
        unsavedFrom = min(unsavedFrom ?? index, index)
        if !makes(.keepsCutConfigurations) { dropConfigurations(from: index) }
    }

    // MARK: - Snapshots at a follower

    mutating func receiveSnapshot(_ mark: SnapshotMark, from sender: NodeID) {
        guard role != .leader, installing == nil else { return }
        if mark.index <= commit {
            reply(.matched(commit), to: sender)
            return
        }
        if log.term(at: mark.index) == mark.term {
            // The log already holds all that the snapshot covers (P figure 13, step 6).
            commit = mark.index
            reply(.matched(commit), to: sender)
            return
        }
        // Where a witness's log begins its leader must know, which of images that an earlier leader sends late it need not.
        let isKnown = mark.term < term || mark.term == term && sender == leader
        guard isKnown || !isWitness && !mark.configuration.isWitness(id) else { return }
        if role != .follower { becomeFollower(term: term, leader: nil) }
        noteFound(through: mark.index)
        log.reset(index: mark.index, term: mark.term)
        unsavedFrom = nil
        commit = mark.index
        applying = mark.index
        if !makes(.keepsConfigurationAtSnapshot) { configuration = mark.configuration }
        configurationIndex = mark.index
        configurationsBefore = []
        installing = mark.index
        electionElapsed = 0
        ready.install = mark
    }

    mutating func noteInstalled(_ index: Index) {
        guard installing == index else { return }
        installing = nil
        applied = index
        if let leader { send(.appendReply(.matched(index), logEpoch: logEpoch), to: leader) }
    }
}
