internal import Bytes

/// Replication, as the leader sees it.
extension Raft {
    /// Appends proposals, or passes them to the leader. Those that cannot be taken are dropped, and said to be.
    mutating func propose(_ proposals: [Proposal], from proposer: NodeID, _ stamp: Stamp) {
        guard role == .leader else {
            if let leader, proposer == id {
                send(.propose(proposals, stamp), to: leader)
            } else {
                drop(proposals.map(\.id), of: proposer, stamp)
            }
            return
        }
        guard var current = leadership else { preconditionFailure("a leader without a leadership") }
        var entries: [Entry] = []
        var refused: [UInt64] = []
        for proposal in proposals {
            // A witness leads only until somebody else does.
            let isFull =
                isWitness
                || current.uncommittedBytes > 0
                    && current.uncommittedBytes + proposal.payload.count > settings.uncommittedBytesMax
            guard !isFull, current.transferTarget == nil, proposal.kind == .command else {
                refused.append(proposal.id)
                continue
            }
            current.uncommittedBytes += proposal.payload.count
            entries.append(Entry(index: log.lastIndex + 1 + Index(entries.count), term: term, proposal: proposal))
        }
        leadership = current
        noteWriter(proposer, count: entries.count)
        append(entries)
        if !entries.isEmpty { leadership?.note(proposer, awaits: log.lastIndex) }
        if !refused.isEmpty { drop(refused, of: proposer, stamp) }
    }

    mutating func drop(_ ids: [UInt64], of proposer: NodeID, _ stamp: Stamp) {
        if proposer == id {
            ready.proposalsDropped += ids.map { ($0, stamp.number) }
        } else {
            send(.proposeRefused(ids, stamp), to: proposer)
        }
    }

    // MARK: - Sending

    /// Sends each peer what it lacks, as far as its window allows: called once per Ready, so that whatever was
    /// proposed meanwhile travels together.
    mutating func flushLeader() {
        advanceCommit()
        guard role == .leader else { return }
        startReadRound()
        leaveJoint()
        promoteCaughtUp()
        guard let count = leadership?.peers.count else { return }
        for place in 0..<count { flush(peerAt: place) }
        if isNewsDue || !hasUntold { leadership?.newsDue = nil }
    }

    /// When the shell is to come again because there may be nothing else to send by then.
    package var newsDue: UInt64? { leadership?.newsDue }

    private var isNewsDue: Bool { leadership?.newsDue.map { now >= $0 } ?? true }

    private var hasUntold: Bool {
        leadership?.peers.contains { $0.progress.state == .replicating && lacksNews($0.progress) } ?? false
    }

    private func lacksNews(_ progress: Progress) -> Bool { progress.commitSent < min(commit, progress.next - 1) }

    private mutating func flush(peerAt place: Int) {
        guard var peer = leadership?.peers[place] else { return }
        while peer.progress.canSend(window: settings.window), hasNews(for: peer) {
            guard sendAppend(to: &peer) else { break }
        }
        leadership?.peers[place] = peer
    }

    private func hasNews(for peer: Leadership.Peer) -> Bool {
        let progress = peer.progress
        switch progress.state {
        case .probing: return true
        case .replicating:
            return progress.next <= log.lastIndex || progress.isStuck
                || lacksNews(progress) && (isNewsDue || progress.commitSent < peer.awaited)
        case .snapshot: return false
        }
    }

    /// One AppendEntries. Answers false when it must wait: for entries from disk, or for a snapshot.
    private mutating func sendAppend(to peer: inout Leadership.Peer) -> Bool {
        let next = peer.progress.next
        guard next > log.baseIndex, let previousTerm = log.term(at: next - 1) else {
            // A witness has no state to send.
            guard isActive(peer.progress), !isWitness else { return false }
            peer.progress.becomeSnapshot()
            ready.snapshotsWanted.append(peer.id)
            return false
        }
        if peer.progress.isStuck, !peer.progress.hasRoom(in: settings.window) {
            // Only asks where the peer is: what it lacks is under way already.
            sendAppend([], previousTerm: previousTerm, to: &peer)
            return true
        }
        guard let entries = log.entries(from: next, through: log.lastIndex, costMax: settings.messageBytesMax) else {
            peer.progress.isReadingLog = true
            ready.logReads.append(
                Ready.LogRead(
                    peer: peer.id, from: next, through: log.lastIndex, costMax: settings.messageBytesMax, term: term))
            return false
        }
        sendAppend(entries, previousTerm: previousTerm, to: &peer)
        return true
    }

    private mutating func sendAppend(_ entries: [Entry], previousTerm: Term, to peer: inout Leadership.Peer) {
        let previousIndex = peer.progress.next - 1
        let last = previousIndex + Index(entries.count)
        send(
            .append(
                previousIndex: previousIndex, previousTerm: previousTerm, entries: entries, commit: commit,
                logEpoch: peer.progress.logEpoch), to: peer.id)
        peer.progress.commitSent = max(peer.progress.commitSent, min(commit, last))
        peer.progress.noteSent(lastIndex: last, bytes: entries.reduce(0) { $0 + $1.cost })
    }

    /// Entries that were asked of the disk are there.
    mutating func sendRead(_ entries: [Entry], for read: Ready.LogRead) {
        guard role == .leader, read.term == term, let place = leadership?.place(of: read.peer),
            var peer = leadership?.peers[place], peer.progress.isReadingLog
        else { return }
        peer.progress.isReadingLog = false
        if peer.progress.next == read.from, entries.first?.index == read.from, peer.progress.state != .snapshot,
            let previousTerm = log.term(at: read.from - 1)
        {
            sendAppend(entries, previousTerm: previousTerm, to: &peer)
        }
        leadership?.peers[place] = peer
    }

    /// What all members that have state have of the log, whichever configuration of the log comes to count. Newcomers and learners
    /// are among them while they answer: as voters they need what they lack, and a witness may be the second of two that have it.
    private var storedEverywhere: Index {
        guard let current = leadership else { return 0 }
        let configurations = [configuration] + configurationsReplaceable.map(\.configuration)
        let members = configurations.flatMap(\.everybody).filter { member in
            !member.isWitness && (member.role == .voter || current.progress(of: member.id).map(isActive) == true)
        }
        return members.map { $0.id == id ? log.durableIndex : current.progress(of: $0.id)?.match ?? 0 }.min() ?? 0
    }

    mutating func broadcastHeartbeat() {
        leadership?.beginRound(at: now)
        chooseWhomToSpare()
        guard let round = leadership?.round else { return }
        let stored = storedEverywhere
        leadership?.noteWitnessesBegin(after: stored)
        for peer in leadership?.peers ?? [] {
            // Never a commit index beyond what the peer is known to share (its log may differ there).
            let shared = makes(.commitsBeyondWhatIsShared) ? commit : min(peer.progress.acknowledged, commit)
            let beat = Message.Heartbeat(
                commit: shared, commitTerm: log.term(at: shared) ?? 0, round: round,
                logEpoch: peer.progress.logEpoch,
                electionMilliseconds: electionMilliseconds, stored: stored,
                asksForPromise: configuration.policy.readsByLease,
                sparesReceiver: peer.id == leadership?.spared && canSpare(peer.id))
            send(.heartbeat(beat), to: peer.id)
        }
    }

    /// If a peer answered within an election timeout.
    func isActive(_ progress: Progress) -> Bool { progress.silentTicks < electionTicks }

    // MARK: - Answers

    mutating func handleAppendReply(_ outcome: Message.AppendOutcome, from sender: NodeID, _ epoch: UInt64) {
        guard role == .leader, let place = leadership?.place(of: sender),
            var progress = leadership?.peers[place].progress, let sent = leadership?.round,
            progress.note(logEpoch: epoch, at: sent)
        else { return }
        progress.silentTicks = 0
        switch outcome {
        case .staleTerm: break  // Its term was ours after all.
        case .lost(let lastIndex): progress.noteLoss(lastIndex: lastIndex)
        case .conflict(let rejected, let hint, let hintTerm):
            let retry = log.lastIndex(notAfter: min(hint, log.lastIndex), termAtMost: hintTerm)
            _ = progress.noteConflict(rejected: rejected, retry: retry.index)
        case .matched(let index):
            guard index <= log.lastIndex else { return }
            let isNews = progress.noteMatch(index)
            switch progress.state {
            case .probing: if isNews || progress.match == index { progress.becomeReplicating() }
            case .snapshot where progress.match >= log.baseIndex: progress.becomeReplicating()
            default: break
            }
        }
        leadership?.peers[place].progress = progress
        advanceCommit()
        finishTransfer(if: sender)
        // It does not wait for a tick.
        if isWitness { handOver() }
    }

    mutating func handleHeartbeatReply(
        round: UInt64, from sender: NodeID, _ epoch: UInt64, _ health: Message.Health, promise: UInt32
    ) {
        guard role == .leader, let place = leadership?.place(of: sender), let sent = leadership?.round,
            round <= sent || makes(.confirmsAnyRound),
            leadership?.peers[place].progress.note(logEpoch: epoch, at: sent, answered: round) == true
        else { return }
        leadership?.peers[place].progress.silentTicks = 0
        leadership?.peers[place].progress.health = health
        // What tells it that it is whole again may have been lost.
        if health == .recovering { leadership?.peers[place].progress.commitSent = 0 }
        if let sendTime = leadership?.sendTime(of: round), now >= sendTime {
            leadership?.peers[place].progress.roundTrip.note(now - sendTime)
            let bound = (makes(.countsLeasesFromAnswers) ? now : sendTime) + leaseNanoseconds(ofPromise: promise)
            let known = leadership?.peers[place].progress.boundUntil ?? 0
            leadership?.peers[place].progress.boundUntil = max(known, bound)
        }
        leadership?.peers[place].progress.noteHeartbeatReply(lastIndex: log.lastIndex)
        if let known = leadership?.peers[place].progress.roundAcknowledged, round > known {
            leadership?.peers[place].progress.roundAcknowledged = round
            releaseReads()
        }
    }

    /// An image is on its way to a peer. If that is a witness, its log begins there as soon as it arrives.
    mutating func noteSnapshotStarted(to peer: NodeID, index: Index) {
        if configuration.isWitness(peer) { leadership?.noteWitnessesBegin(after: index) }
    }

    mutating func noteSnapshotSent(to peer: NodeID, index: Index?) {
        guard role == .leader, let place = leadership?.place(of: peer),
            leadership?.peers[place].progress.state == .snapshot
        else { return }
        leadership?.peers[place].progress.noteSnapshotSent(index: index)
    }

    mutating func noteUnreachable(_ peer: NodeID) {
        guard role == .leader, let place = leadership?.place(of: peer) else { return }
        // What was sent ahead is probably lost.
        if leadership?.peers[place].progress.state == .replicating { leadership?.peers[place].progress.becomeProbing() }
    }

    // MARK: - Commit

    /// Commits what a majority has on disk, if it is of this term (P 5.4.2: older entries only along with it).
    mutating func advanceCommit() {
        guard role == .leader, let peers = leadership?.peers else { return }
        // Not by way of `self`, all of which a closure would have copied.
        let (own, durable) = (id, log.durableIndex)
        func match(of member: NodeID) -> Index {
            member == own ? durable : peers.first { $0.id == member }?.progress.match ?? 0
        }
        var majority = configuration.reachedByQuorum(match)
        if makes(.countsLearners), !configuration.isJoint {
            majority = configuration.members.map { match(of: $0.id) }.sorted(by: >)[configuration.voters.count / 2]
        }
        if !makes(.commitsInOneDomain) { majority = spreadEnough(majority, match) }
        guard majority > commit, log.term(at: majority) == term || makes(.commitsOlderTermsByCounting) else { return }
        noteCommitted(from: commit + 1, through: majority)
    }

    /// What of that is in as many domains as it must be. What a configuration asks for counts from its own entry on: those before
    /// it are not committed by it alone, for it may be cut off.
    private func spreadEnough(_ majority: Index, _ value: (NodeID) -> Index) -> Index {
        var limit = majority
        var (index, rule) = (configurationIndex, configuration)
        for before in configurationsReplaceable.reversed() {
            let reached = min(limit, rule.reachedBySpread(value) ?? limit)
            if reached >= index { return reached }
            limit = min(limit, index - 1)
            (index, rule) = before
        }
        return min(limit, rule.reachedBySpread(value) ?? limit)
    }

    private mutating func noteCommitted(from first: Index, through last: Index) {
        if let entries = log.entries(from: first, through: last, costMax: .max) {
            let bytes = entries.reduce(0) { $0 + $1.payload.count }
            let before = leadership?.uncommittedBytes ?? 0
            leadership?.uncommittedBytes = max(0, before - bytes)
        }
        if leadership?.newsDue == nil { leadership?.newsDue = now + settings.commitNewsNanoseconds }
        let hadCommittedOwn = hasCommittedInTerm
        commit = last
        if !hadCommittedOwn, hasCommittedInTerm { startReadRound() }
        if configurationIndex <= commit, !configuration.isVoter(id), !configuration.isJoint { return abdicate() }
        if configurationIndex <= commit { dismiss() }
    }

    /// Those whose removal is committed hear of it, and of nothing more.
    private mutating func dismiss() {
        let members = configuration.everybody.map(\.id)
        guard let peers = leadership?.peers, peers.contains(where: { !members.contains($0.id) }) else { return }
        leadership?.newsDue = nil
        for place in peers.indices where !members.contains(peers[place].id) { flush(peerAt: place) }
        syncProgress()
    }

    /// Reads and membership changes wait for this (D 6.4 step 1; the 2015 correction of D 4.1).
    var hasCommittedInTerm: Bool {
        guard let current = leadership else { return false }
        return commit >= current.firstIndex
    }

    /// A leader that is no longer a member stops when that is committed (D 4.2.2), and names the most advanced voter.
    private mutating func abdicate() {
        guard let current = leadership else { return }
        leadership?.newsDue = nil
        for place in 0..<current.peers.count { flush(peerAt: place) }
        let heir = current.peers.filter { configuration[$0.id]?.role == .voter }
            .max { ($0.progress.match, $1.id) < ($1.progress.match, $0.id) }
        if let heir { tellToCampaign(heir.id) }
        becomeFollower(term: term, leader: nil)
    }

    // MARK: - Transfer (D 3.10)

    mutating func transfer(to target: NodeID) {
        guard role == .leader, target != id, mayLead(target) != nil else { return }
        // Asking again gives it no more time.
        guard leadership?.transferTarget != target else { return }
        leadership?.transferTarget = target
        electionElapsed = 0
        finishTransfer(if: target)
    }

    private mutating func finishTransfer(if sender: NodeID) {
        guard let current = leadership, current.transferTarget == sender,
            let progress = current.progress(of: sender), progress.match == log.lastIndex
        else { return }
        tellToCampaign(sender)
    }

    private mutating func tellToCampaign(_ heir: NodeID) {
        // Its votes need not wait for what followers promised, so nothing may be built on that any more.
        leadership?.hasGivenUpLeases = true
        send(.timeoutNow, to: heir)
    }

    /// If this member leads, knows all that is committed, and has a state to act on.
    package var isReadyToServe: Bool { role == .leader && hasCommittedInTerm && !isWitness }

    package var isTransferring: Bool { leadership?.transferTarget != nil }

    /// How far each peer's log agrees, if it was heard of lately, and how long it takes to answer; empty unless this member leads.
    package var peerProgress: [(id: NodeID, match: Index, isActive: Bool, roundTripNanoseconds: UInt64)] {
        leadership?.peers.map { peer in
            (peer.id, peer.progress.match, isActive(peer.progress), peer.progress.roundTrip.mean)
        } ?? []
    }
}
