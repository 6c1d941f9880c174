internal import Bytes
internal import Logging
package import Raft
internal import Storage

/// Drives `Raft`: feeds it with what happened, passes on what it wants done, and keeps this member's requests until they are
/// applied here. It is the consensus lane, and waits for nothing. Owned by one thread.
package struct Replica<Shell: ReplicationShell> {
    /// A request that is not known to be applied.
    private struct Outstanding {
        let proposal: Proposal
        /// The term it was given to a leader in; nil while it waits for one.
        var term: Term?
        /// The attempt it was given in: what befell an earlier one says nothing of this.
        var attempt: UInt64 = 0
        /// It may have been applied by a snapshot: then nobody can tell, and it must not be proposed again.
        var isAmbiguous = false
    }

    /// Reads that share one question to the leader.
    private struct ReadBatch {
        /// Of each time the question was asked. An answer to an earlier one does, too: all its reads were there by then; where the
        /// leader is far away it may be the only one that comes in time.
        var ids: [UInt64]
        var reads: [PendingRead]
        var askedAtTick: Int
    }

    /// A place in the log that a peer will need after its snapshot.
    private struct Hold {
        var index: Index
        /// Set once the snapshot was sent.
        var releaseAtTick: Int?
    }

    /// How long a peer may take to install a snapshot.
    private static var holdTicks: Int { 300 }

    /// Ticks after which an unanswered question is asked anew, under a new id.
    private static var readRetryTicks: Int { 5 }
    /// So many of its ids are remembered.
    private static var readTriesMax: Int { 16 }
    private static var quietNanoseconds: UInt64 { 1_000_000_000 }

    private let shell: Shell
    package private(set) var raft: Raft
    private var outstanding: [UInt64: Outstanding] = [:]
    private var held: [UInt64] = []
    /// By deadline.
    private var expiries = Queue<(deadline: UInt64, id: UInt64)>()
    private var newReads: [PendingRead] = []
    private var readBatches: [ReadBatch] = []
    private var newProposals: [Proposal] = []
    private var ticks = 0
    private var quietUntil: UInt64 = 0
    private var appliedTerm: Term = 0
    private var checkpointed: Index
    private var logSizes = LogSizes()
    private var snapshotsUnderWay: [NodeID: Hold] = [:]
    private var knownConfiguration: Configuration?
    private var lastLeader: NodeID?
    private var lastTerm: Term = 0
    private var retirement: (done: [@Sendable () -> Void], ticksLeft: Int)?
    private var changeDeadlines: [UInt64: (change: ConfigurationChange, deadline: UInt64)] = [:]

    package init(shell: Shell, raft: Raft) {
        self.shell = shell
        self.raft = raft
        // What kv.db holds may not be on the device yet; the first checkpoint tells.
        checkpointed = raft.log.baseIndex
        // With nobody to wait for there is no reason to wait.
        if raft.configuration.voters == [raft.id] { self.raft.receive(.campaign) }
    }

    // MARK: - Input

    /// Takes in what was posted; false when the lane ends.
    package mutating func handle(_ work: [ConsensusWork]) -> Bool {
        raft.now = shell.now
        for (place, item) in work.enumerated() {
            switch item {
            case .raft(let event): raft.receive(event)
            case .messages(let messages):
                shell.metrics.peerMessagesReceived.add(UInt64(messages.count))
                for message in messages where isAcceptable(message) { raft.receive(.message(message)) }
            case .propose(let proposal, let deadline):
                outstanding[proposal.id] = Outstanding(proposal: proposal, term: nil)
                noteExpiry(of: proposal.id, at: deadline)
                newProposals.append(proposal)
            case .change(let requestID, let change, let deadline):
                changeDeadlines[requestID] = (change, deadline)
                raft.receive(.change(requestID: requestID, change))
            case .read(let read): newReads.append(read)
            case .applied(let index, let term, let completed): noteApplied(index, term, completed)
            case .checkpointed(let index):
                checkpointed = max(checkpointed, index)
                compactLog()
            case .undelivered(let messages): refuse(messages)
            case .diskFull(let isFull): if isFull { leaveLead() }
            case .snapshotStarted(let peer, let index):
                raft.receive(.snapshotStarted(peer, index: index))
                snapshotsUnderWay[peer] = Hold(index: index)
            case .snapshotEnded(let peer, let index):
                raft.receive(.snapshotSent(peer, index: index))
                // Until it has installed and asked for what follows, the log must still have that.
                snapshotsUnderWay[peer] = index.map { Hold(index: $0, releaseAtTick: ticks + Self.holdTicks) }
            case .retire(let done): retire(done)
            case .stop:
                failAll()
                for case .read(let read) in work[(place + 1)...] { read.proceed(.stopping) }
                return false
            }
        }
        proposeNew()
        askForReads()
        return true
    }

    private mutating func proposeNew() {
        guard !newProposals.isEmpty else { return }
        let proposals = newProposals
        newProposals = []
        guard raft.leader != nil, !raft.isTransferring else {
            held += proposals.map(\.id)
            return
        }
        // In portions that fit a message to the leader.
        var portion: [Proposal] = []
        var bytes = 0
        for proposal in proposals {
            portion.append(proposal)
            bytes += proposal.payload.count
            if bytes >= raft.settings.messageBytesMax {
                propose(portion)
                portion = []
                bytes = 0
            }
        }
        if !portion.isEmpty { propose(portion) }
    }

    private mutating func propose(_ portion: [Proposal]) {
        raft.receive(.propose(portion))
        for proposal in portion {
            outstanding[proposal.id]?.term = raft.term
            outstanding[proposal.id]?.attempt = raft.attempt
        }
    }

    /// Proposes again what certainly was not appended.
    private mutating func proposeHeld() {
        guard !held.isEmpty, raft.leader != nil, !raft.isTransferring else { return }
        let ids = held
        held = []
        newProposals += ids.compactMap { outstanding[$0]?.proposal }
        proposeNew()
    }

    /// Proposals that never left this member can be proposed again.
    private mutating func refuse(_ messages: [Message]) {
        for message in messages {
            guard case .propose(let proposals, let stamp) = message.body else { continue }
            for proposal in proposals where outstanding[proposal.id]?.attempt == stamp.number {
                hold(proposal.id)
            }
        }
    }

    /// Keeps a request that no leader has for another try.
    private mutating func hold(_ id: UInt64) {
        outstanding[id]?.term = nil
        outstanding[id]?.attempt = 0
        held.append(id)
    }

    private mutating func askForReads() {
        guard !newReads.isEmpty else { return }
        let reads = newReads
        newReads = []
        if makes(.joinsReadsThatAreAsked), !readBatches.isEmpty {
            readBatches[readBatches.count - 1].reads += reads
            return
        }
        ask(reads)
    }

    /// - Parameter before: the ids under which the same was asked.
    private mutating func ask(_ reads: [PendingRead], before: [UInt64] = []) {
        let id = shell.makeRequestID()
        let ids = before.suffix(Self.readTriesMax - 1) + [id]
        readBatches.append(ReadBatch(ids: Array(ids), reads: reads, askedAtTick: ticks))
        raft.receive(.readIndex([id]))
    }

    private mutating func noteApplied(_ index: Index, _ term: Term, _ completed: [UInt64]) {
        raft.receive(.applied(index))
        for id in completed {
            outstanding[id] = nil
            changeDeadlines[id] = nil
        }
        guard term > appliedTerm || makes(.proposesAgainInSameTerm) else { return }
        appliedTerm = term
        // A leader takes proposals of its own term only. With an entry of a later term applied, one that was given to
        // an earlier leader and is not applied can never be: proposing it again cannot do it twice.
        let lost = outstanding.filter {
            !$0.value.isAmbiguous && $0.value.term.map { $0 < term || makes(.proposesAgainInSameTerm) } ?? false
        }.keys
            .sorted()
        for id in lost { hold(id) }
    }

    // MARK: - Time

    package mutating func tick(_ now: UInt64) {
        raft.now = now
        ticks += 1
        raft.receive(.tick)
        shell.post(ApplyWork.tick(leading: raft.isReadyToServe ? raft.term : nil))
        proposeHeld()
        let stale = readBatches.filter { $0.askedAtTick + Self.readRetryTicks <= ticks }
        readBatches.removeAll { $0.askedAtTick + Self.readRetryTicks <= ticks }
        for batch in stale {
            shell.metrics.slowReads.add()
            let alive = batch.reads.filter { $0.deadline > now }
            for read in batch.reads where read.deadline <= now {
                read.proceed(raft.leader == nil ? .noLeader : .timeout)
            }
            if !alive.isEmpty { ask(alive, before: batch.ids) }
        }
        expire(now)
        expireChanges(now)
        releaseHolds()
        tickRetirement()
        follow()
    }

    /// What clients ask waits longer than what the member itself proposes.
    private mutating func noteExpiry(of id: UInt64, at deadline: UInt64) {
        var low = 0
        var high = expiries.count
        if let last = expiries.last, last.deadline <= deadline { low = high }
        while low < high {
            let middle = (low + high) / 2
            if expiries[middle].deadline <= deadline { low = middle + 1 } else { high = middle }
        }
        expiries.insert((deadline, id), at: low)
    }

    private mutating func expire(_ now: UInt64) {
        while let first = expiries.first, first.deadline <= now {
            expiries.removeFirst()
            guard let expired = outstanding.removeValue(forKey: first.id) else { continue }
            shell.metrics.proposalsFailed.add()
            shell.finish(first.id, .failure(expired.term == nil ? .noLeader : .timeout))
        }
        held.removeAll { outstanding[$0] == nil }
    }

    /// A change of the membership that nobody answered in its time.
    private mutating func expireChanges(_ now: UInt64) {
        for (id, pending) in changeDeadlines.sorted(by: { $0.key < $1.key }) where pending.deadline <= now {
            changeDeadlines[id] = nil
            shell.finish(id, .failure(.timeout))
        }
    }

    // MARK: - What cannot be

    /// A peer may send only commands that this release knows, and publish nothing in another's name: what is in the log is there
    /// for good.
    private mutating func isAcceptable(_ message: Message) -> Bool {
        let sender = message.from
        switch message.body {
        case .append(_, _, let entries, _, _):
            guard let entry = entries.first(where: { $0.kind == .command && !CommandEnvelope.isKnown($0.payload) })
            else { return true }
            complain("member \(hex(sender)) sends entry \(entry.index) with a command that this release does not know")
        case .propose(let proposals, _):
            guard
                let proposal = proposals.first(where: {
                    !CommandEnvelope.isKnown($0.payload) || !CommandEnvelope.isOwn($0.payload, of: sender)
                })
            else { return true }
            complain("member \(hex(sender)) proposes what it may not, request \(hex(proposal.id))")
        case .change(let request, let change, _):
            if change.isWithinLimits { return true }
            complain("member \(hex(sender)) proposes a change with names that are too long, request \(hex(request))")
        default: return true
        }
        return false
    }

    /// Says so once a second at most.
    private mutating func complain(_ what: String) {
        guard shell.now >= quietUntil else { return }
        quietUntil = shell.now + Self.quietNanoseconds
        shell.logger.error("\(what); ignored")
    }

    private func hex(_ id: UInt64) -> String { String(id, radix: 16) }

    // MARK: - Output

    /// Passes on what Raft wants done now.
    package mutating func dispatch() {
        raft.isApplyPaused = shell.isBehind || raft.isApplyPaused && makes(.staysBehind)
        repeat {
            let ready = raft.takeReady()
            publishGate()
            if ready.isEmpty { break }
            pass(on: ready)
        } while raft.hasMoreToApply
        followConfiguration()
        noteLeader()
        shell.publish(
            RaftStatus(
                term: raft.term, leader: raft.leader, role: raft.role, commit: raft.commit,
                lastIndex: raft.log.lastIndex, firstIndex: raft.log.baseIndex + 1, applied: raft.applied,
                pending: outstanding.count, configuration: raft.configuration,
                peers: raft.peerProgress.map {
                    RaftStatus.Peer(
                        id: $0.id, match: $0.match, isActive: $0.isActive,
                        roundTripNanoseconds: $0.roundTripNanoseconds)
                }, isSpared: raft.isSpared))
    }

    /// Before anything of `Ready` is passed on: by an answer that follows from it somebody may count on a read here.
    private func publishGate() {
        let until = raft.leaseUntil
        if until == 0, makes(.keepsGateOpenWithoutLease) { return }
        shell.readGate.publish(
            commit: makes(.opensGateAtApplied) ? raft.applied : raft.commit, leaseUntil: until)
    }

    private mutating func pass(on ready: Ready) {
        shell.send(ready.messages)
        if let append = ready.append { logSizes.note(append) }
        if ready.needsDisk || !ready.messagesWhenDurable.isEmpty {
            shell.post(
                LogWork.append(
                    sequence: ready.sequence, ready.append, ready.hardState, messages: ready.messagesWhenDurable))
        }
        if let mark = ready.install {
            guard let path = shell.takeReceivedSnapshot(mark) else {
                preconditionFailure("no image for the snapshot of index \(mark.index)")
            }
            checkpointed = mark.index
            for id in outstanding.keys where outstanding[id]?.term != nil {
                outstanding[id]?.isAmbiguous = !makes(.proposesAgainAfterSnapshots)
            }
            shell.post(ApplyWork.install(mark, path: path))
        }
        if !ready.apply.isEmpty { shell.post(ApplyWork.entries(ready.apply)) }
        for state in ready.readStates { release(state) }
        for contradiction in ready.contradictions { complain(contradiction.description) }
        if ready.hasRecovered { shell.post(LogWork.recovered) }
        for read in ready.logReads { shell.post(LogWork.read(read)) }
        for peer in ready.snapshotsWanted {
            snapshotsUnderWay[peer] = Hold(index: raft.log.baseIndex)
            shell.post(SnapshotWork.send(to: peer))
        }
        hold(ready)
    }

    private mutating func release(_ state: Ready.ReadState) {
        guard let place = readBatches.firstIndex(where: { $0.ids.contains(state.id) }) else { return }
        let batch = readBatches.remove(at: place)
        shell.post(ApplyWork.reads(batch.reads, at: state.index))
    }

    /// Keeps what was turned away for another try.
    private mutating func hold(_ ready: Ready) {
        for (id, attempt) in ready.proposalsDropped
        where outstanding[id]?.attempt == attempt || (makes(.believesLateRefusals) && outstanding[id] != nil) {
            hold(id)
        }
        // Dropped reads stay in their batch; the tick asks again.
        for (requestID, refusal) in ready.changesRefused {
            guard changeDeadlines[requestID] != nil else { continue }
            changeDeadlines[requestID] = nil
            shell.finish(requestID, .failure(.change(refusal)))
        }
    }

    private mutating func followConfiguration() {
        guard knownConfiguration != raft.configuration else { return }
        knownConfiguration = raft.configuration
        follow()
    }

    private func follow() {
        shell.follow(
            raft.configuration, at: raft.configurationIndex, committed: raft.committedConfigurationIndex)
    }

    private mutating func noteLeader() {
        guard raft.leader != lastLeader || raft.term != lastTerm else { return }
        let isNews = raft.leader != nil && raft.leader != lastLeader
        if isNews {
            shell.metrics.leaderChanges.add()
            shell.logger.info(
                "\(raft.leader == raft.id ? "this member leads" : "following \(String(raft.leader ?? 0, radix: 16))") in term \(raft.term)"
            )
        } else if raft.leader == nil, lastLeader != nil {
            shell.logger.warning("there is no leader, term \(raft.term)")
        }
        lastLeader = raft.leader
        lastTerm = raft.term
        if raft.leader != nil { proposeHeld() }
    }

    // MARK: - Log compaction

    /// Keeps `catchUpEntries`, or of large ones `catchUpBytes`, for followers that lag, and cuts when `snapshotCount` more have
    /// gathered, or as many bytes: never past what `kv.db` has on the device, nor past a snapshot that is on its way to
    /// somebody, nor, up to `lagBytesMax`, past what a follower that answers lacks.
    private mutating func compactLog() {
        let kept = shell.settings.catchUpEntries
        let safe = makes(.cutsLogBeforeCheckpoint) ? raft.applied + kept : checkpointed
        let byBytes = logSizes.index(withBytesAfter: shell.settings.catchUpBytes)
        var target = min(max(safe > kept ? safe - kept : 0, byBytes), safe, raft.applied)
        for hold in snapshotsUnderWay.values { target = min(target, hold.index) }
        // A follower that is there and lags, as one whose disk hangs, would need the whole state without what it lacks.
        for peer in raft.peerProgress where peer.isActive && peer.match >= raft.log.baseIndex {
            if logSizes.bytes(after: peer.match) <= shell.settings.lagBytesMax { target = min(target, peer.match) }
        }
        // When the others die, a witness may be the only one left that has what it holds.
        if raft.isWitness { target = min(target, raft.storedIndex) }
        let isMuch =
            target >= raft.log.baseIndex + shell.settings.snapshotCount
            || logSizes.bytes(through: target) >= shell.settings.catchUpBytes
        guard target > raft.log.baseIndex, isMuch else { return }
        logSizes.remove(through: target)
        raft.receive(.compact(to: target))
        shell.post(LogWork.compact(to: target))
    }

    private mutating func releaseHolds() {
        for (peer, hold) in snapshotsUnderWay {
            guard let releaseAtTick = hold.releaseAtTick else { continue }
            let hasIt = raft.peerProgress.contains { $0.id == peer && $0.match >= hold.index }
            if hasIt || ticks >= releaseAtTick || raft.role != .leader { snapshotsUnderWay[peer] = nil }
        }
    }

    // MARK: - Leaving

    private mutating func leaveLead() {
        guard raft.role == .leader, let heir = raft.transferCandidate else { return }
        raft.receive(.transfer(to: heir))
    }

    private mutating func retire(_ done: @escaping @Sendable () -> Void) {
        leaveLead()
        if raft.role == .leader, raft.isTransferring {
            retirement = ((retirement?.done ?? []) + [done], raft.settings.electionTicks)
        } else {
            done()
        }
    }

    private mutating func tickRetirement() {
        guard var current = retirement else { return }
        current.ticksLeft -= 1
        if raft.role != .leader && raft.leader != nil || current.ticksLeft <= 0 {
            for done in current.done { done() }
            retirement = nil
        } else {
            retirement = current
        }
    }

    private mutating func failAll() {
        for batch in readBatches {
            for read in batch.reads { read.proceed(.stopping) }
        }
        for read in newReads { read.proceed(.stopping) }
        shell.failAllRequests(.stopping)
    }
}
