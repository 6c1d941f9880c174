internal import Bytes
internal import Logging
internal import MVCC
internal import Raft
internal import Storage
internal import Transport

/// What is posted to the consensus lane.
enum ConsensusWork: Sendable {
    case raft(Event)
    case messages([Message])
    /// A request of this member's clients, or of the member itself.
    case propose(Proposal, deadline: UInt64)
    case change(requestID: UInt64, ConfigurationChange, deadline: UInt64)
    case read(PendingRead)
    /// Applied here up to `index`; `completed` are the requests of any member that were among it.
    case applied(Index, term: Term, completed: [UInt64])
    /// `kv.db` has everything up to this index on the device.
    case checkpointed(Index)
    case diskFull(Bool)
    /// These messages found no connection.
    case undelivered([Message])
    /// A snapshot goes out to this peer, of this index.
    case snapshotStarted(NodeID, Index)
    case snapshotEnded(NodeID, Index?)
    /// Hand the lead over, then say so.
    case retire(Rendezvous<Void>)
    case stop
}

/// The thread that owns consensus: it feeds the core with what happened and passes on what the core wants done. It
/// waits for nothing but its mailbox and the next tick.
final class ConsensusLane: Sendable {
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ raft: Raft) {
        var driver = Driver(core: core, raft: raft)
        let tickNanoseconds = UInt64(core.settings.heartbeatMilliseconds) * 1_000_000
        var nextTick = monotonicNanoseconds() + tickNanoseconds
        driver.dispatch()
        while true {
            let work = core.consensus.take(until: nextTick)
            guard driver.handle(work) else { return }
            let now = monotonicNanoseconds()
            if now >= nextTick {
                driver.tick(now)
                // After a pause the missed ticks are gone: time that nobody lived through elects nobody.
                nextTick = max(nextTick + tickNanoseconds, now + tickNanoseconds / 2)
            }
            driver.dispatch()
        }
    }
}

/// What only the consensus lane's thread touches.
private struct Driver {
    /// A request that is not known to be applied.
    private struct Outstanding {
        let proposal: Proposal
        /// The term it was given to a leader in; nil while it waits for one.
        var term: Term?
        /// It may have been applied by a snapshot: then nobody can tell, and it must not be proposed again.
        var isAmbiguous = false
    }

    /// Reads that share one question to the leader.
    private struct ReadBatch {
        var id: UInt64
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
    private static let holdTicks = 300

    /// Ticks after which an unanswered question is asked anew, under a new id.
    private static let readRetryTicks = 5

    private let core: MemberCore
    private var raft: Raft
    private var outstanding: [UInt64: Outstanding] = [:]
    private var held: [UInt64] = []
    private var expiries = Queue<(deadline: UInt64, id: UInt64)>()
    private var newReads: [PendingRead] = []
    private var readBatches: [ReadBatch] = []
    private var newProposals: [Proposal] = []
    private var ticks = 0
    private var appliedTerm: Term = 0
    private var checkpointed: Index
    private var snapshotsUnderWay: [NodeID: Hold] = [:]
    private var knownConfiguration: Configuration?
    private var lastLeader: NodeID?
    private var lastTerm: Term = 0
    private var retirement: (done: Rendezvous<Void>, ticksLeft: Int)?
    private var changeDeadlines: [UInt64: (change: ConfigurationChange, deadline: UInt64)] = [:]

    init(core: MemberCore, raft: Raft) {
        self.core = core
        self.raft = raft
        // What kv.db holds may not be on the device yet; the first checkpoint tells.
        checkpointed = raft.log.baseIndex
        // With nobody to wait for there is no reason to wait.
        if raft.configuration.voters == [raft.id] { self.raft.receive(.campaign) }
    }

    // MARK: - Input

    mutating func handle(_ work: [ConsensusWork]) -> Bool {
        for item in work {
            switch item {
            case .raft(let event): raft.receive(event)
            case .messages(let messages):
                core.metrics.peerMessagesReceived.add(UInt64(messages.count))
                for message in messages { raft.receive(.message(message)) }
            case .propose(let proposal, let deadline):
                outstanding[proposal.id] = Outstanding(proposal: proposal, term: nil)
                expiries.append((deadline, proposal.id))
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
            case .snapshotStarted(let peer, let index): snapshotsUnderWay[peer] = Hold(index: index)
            case .snapshotEnded(let peer, let index):
                raft.receive(.snapshotSent(peer, index: index))
                // Until it has installed and asked for what follows, the log must still have that.
                snapshotsUnderWay[peer] = index.map { Hold(index: $0, releaseAtTick: ticks + Self.holdTicks) }
            case .retire(let done): retire(done)
            case .stop:
                failAll()
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
            outstanding[proposal.id]?.term = raft.term
            portion.append(proposal)
            bytes += proposal.payload.count
            if bytes >= raft.settings.messageBytesMax {
                raft.receive(.propose(portion))
                portion = []
                bytes = 0
            }
        }
        if !portion.isEmpty { raft.receive(.propose(portion)) }
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
            guard case .propose(let proposals) = message.body else { continue }
            for proposal in proposals where outstanding[proposal.id]?.term == message.term {
                outstanding[proposal.id]?.term = nil
                held.append(proposal.id)
            }
        }
    }

    private mutating func askForReads() {
        guard !newReads.isEmpty else { return }
        let reads = newReads
        newReads = []
        ask(reads)
    }

    private mutating func ask(_ reads: [PendingRead]) {
        let id = core.requests.makeID()
        readBatches.append(ReadBatch(id: id, reads: reads, askedAtTick: ticks))
        raft.receive(.readIndex([id]))
    }

    private mutating func noteApplied(_ index: Index, _ term: Term, _ completed: [UInt64]) {
        raft.receive(.applied(index))
        for id in completed {
            outstanding[id] = nil
            changeDeadlines[id] = nil
        }
        guard term > appliedTerm else { return }
        appliedTerm = term
        // A leader takes proposals of its own term only. With an entry of a later term applied, one that was given to
        // an earlier leader and is not applied can never be: proposing it again cannot do it twice.
        let lost = outstanding.filter { !$0.value.isAmbiguous && $0.value.term.map { $0 < term } ?? false }.keys
            .sorted()
        for id in lost { outstanding[id]?.term = nil }
        held += lost
    }

    // MARK: - Time

    mutating func tick(_ now: UInt64) {
        ticks += 1
        raft.receive(.tick)
        core.apply.post(.tick)
        proposeHeld()
        let stale = readBatches.filter { $0.askedAtTick + Self.readRetryTicks <= ticks }
        readBatches.removeAll { $0.askedAtTick + Self.readRetryTicks <= ticks }
        for batch in stale {
            core.metrics.slowReads.add()
            let alive = batch.reads.filter { $0.deadline > now }
            for read in batch.reads where read.deadline <= now {
                read.proceed(raft.leader == nil ? .noLeader : .timeout)
            }
            if !alive.isEmpty { ask(alive) }
        }
        expire(now)
        expireChanges(now)
        releaseHolds()
        tickRetirement()
        core.follow(raft.configuration)
    }

    private mutating func expire(_ now: UInt64) {
        while let first = expiries.first, first.deadline <= now {
            expiries.removeFirst()
            guard let expired = outstanding.removeValue(forKey: first.id) else { continue }
            core.metrics.proposalsFailed.add()
            core.requests.finish(first.id, .failure(expired.term == nil ? .noLeader : .timeout))
        }
        held.removeAll { outstanding[$0] == nil }
    }

    /// A change of the membership that nobody answered in its time.
    private mutating func expireChanges(_ now: UInt64) {
        for (id, pending) in changeDeadlines.sorted(by: { $0.key < $1.key }) where pending.deadline <= now {
            changeDeadlines[id] = nil
            core.requests.finish(id, .failure(.timeout))
        }
    }

    // MARK: - Output

    mutating func dispatch() {
        raft.isApplyPaused = core.isBehind
        repeat {
            let ready = raft.takeReady()
            if ready.isEmpty { break }
            pass(on: ready)
        } while raft.hasMoreToApply
        followConfiguration()
        noteLeader()
        core.publish(
            RaftStatus(
                term: raft.term, leader: raft.leader, role: raft.role, commit: raft.commit,
                lastIndex: raft.log.lastIndex, firstIndex: raft.log.baseIndex + 1, applied: raft.applied,
                pending: outstanding.count, configuration: raft.configuration,
                peers: raft.peerProgress.map {
                    RaftStatus.Peer(id: $0.id, match: $0.match, isActive: $0.isActive)
                }))
    }

    private mutating func pass(on ready: Ready) {
        core.send(ready.messages)
        if ready.needsDisk || !ready.messagesWhenDurable.isEmpty {
            core.logs.post(
                .append(
                    sequence: ready.sequence, ready.append, ready.hardState, messages: ready.messagesWhenDurable))
        }
        if let mark = ready.install {
            guard let path = core.takeReceivedSnapshot(mark) else {
                preconditionFailure("no image for the snapshot of index \(mark.index)")
            }
            checkpointed = mark.index
            for id in outstanding.keys where outstanding[id]?.term != nil { outstanding[id]?.isAmbiguous = true }
            core.apply.post(.install(mark, path: path))
        }
        if !ready.apply.isEmpty { core.apply.post(.entries(ready.apply)) }
        for state in ready.readStates { release(state) }
        for read in ready.logReads { core.logs.post(.read(read)) }
        for peer in ready.snapshotsWanted {
            snapshotsUnderWay[peer] = Hold(index: raft.log.baseIndex)
            core.snapshots.post(.send(to: peer))
        }
        hold(ready)
    }

    private mutating func release(_ state: Ready.ReadState) {
        guard let place = readBatches.firstIndex(where: { $0.id == state.id }) else { return }
        let batch = readBatches.remove(at: place)
        core.apply.post(.reads(batch.reads, at: state.index))
    }

    /// Keeps what was turned away for another try.
    private mutating func hold(_ ready: Ready) {
        for (id, term) in ready.proposalsDropped where outstanding[id]?.term == term {
            outstanding[id]?.term = nil
            held.append(id)
        }
        // Dropped reads stay in their batch; the tick asks again.
        for (requestID, refusal) in ready.changesRefused {
            guard changeDeadlines[requestID] != nil else { continue }
            changeDeadlines[requestID] = nil
            core.requests.finish(requestID, .failure(.change(refusal)))
        }
    }

    private mutating func followConfiguration() {
        guard knownConfiguration != raft.configuration else { return }
        knownConfiguration = raft.configuration
        core.follow(raft.configuration)
    }

    private mutating func noteLeader() {
        guard raft.leader != lastLeader || raft.term != lastTerm else { return }
        let isNews = raft.leader != nil && raft.leader != lastLeader
        if isNews {
            core.metrics.leaderChanges.add()
            core.logger.info(
                "\(raft.leader == raft.id ? "this member leads" : "following \(hex(raft.leader ?? 0))") in term \(raft.term)"
            )
        } else if raft.leader == nil, lastLeader != nil {
            core.logger.warning("there is no leader, term \(raft.term)")
        }
        lastLeader = raft.leader
        lastTerm = raft.term
        if raft.leader != nil { proposeHeld() }
    }

    // MARK: - Log compaction

    /// Keeps `catchUpEntries` for followers that lag, and cuts when `snapshotCount` more have gathered: never past what
    /// `kv.db` has on the device, nor past a snapshot that is on its way to somebody.
    private mutating func compactLog() {
        let kept = core.settings.catchUpEntries
        guard checkpointed > kept else { return }
        var target = min(checkpointed - kept, raft.applied)
        for hold in snapshotsUnderWay.values { target = min(target, hold.index) }
        guard target >= raft.log.baseIndex + core.settings.snapshotCount else { return }
        raft.receive(.compact(to: target))
        core.logs.post(.compact(to: target))
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

    private mutating func retire(_ done: Rendezvous<Void>) {
        leaveLead()
        if raft.role == .leader, raft.isTransferring {
            retirement = (done, raft.settings.electionTicks)
        } else {
            done.fulfil(())
        }
    }

    private mutating func tickRetirement() {
        guard var current = retirement else { return }
        current.ticksLeft -= 1
        if raft.role != .leader && raft.leader != nil || current.ticksLeft <= 0 {
            current.done.fulfil(())
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
        core.requests.failAll(.stopping)
    }
}
