internal import Bytes

/// One member's part of Raft: a value that takes events and says what to do.
///
/// It has no clock, no I/O and no threads. Time is `Event.tick`; chance is the injected generator. The shell feeds
/// events in any order they happen and then empties `takeReady()`. Sections: P is the Raft paper (extended version),
/// D the dissertation.
package struct Raft: Sendable {
    package enum Role: String, Sendable {
        case follower, preCandidate, candidate, leader
    }

    package struct Settings: Sendable {
        package var electionTicks = 10
        package var heartbeatTicks = 1
        /// Most bytes of entries in one message.
        package var messageBytesMax = 1 << 20
        package var window = Window()
        /// Entries kept in memory once they are durable and applied.
        package var recentBytesMax = 8 << 20
        /// Most bytes of entries proposed and not committed.
        package var uncommittedBytesMax = 64 << 20
        /// Most bytes of entries handed out to be applied at once.
        package var applyBytesMax = 4 << 20
        /// A joining member is promoted when no more entries than this are missing.
        package var promotionLagMax: Index = 256
        /// Bytes of entries in memory, for want of being applied, at which a follower takes no more.
        package var unappliedBytesMax = 64 << 20
        package var tickMilliseconds = 100
        /// How much faster or slower than real time a clock may run where reads are answered by leases.
        package static let clockDriftMax = 0.05
        /// No promise is longer, so that one of an earlier start, with other settings, is not either.
        package static let promiseMillisecondsMax = 1000
        /// How long followers that wait for nothing may go without hearing what is committed, unless entries take the news
        /// along; 0 tells them at once.
        package var commitNewsNanoseconds: UInt64 = 0
        /// If an earlier start may have promised something. Only a member whose fabric never had leases can do without.
        package var mayHavePromised = false

        package init() {}
    }

    package let id: NodeID
    package var settings: Settings
    package internal(set) var role = Role.follower
    package internal(set) var term: Term
    package internal(set) var vote: NodeID?
    package internal(set) var leader: NodeID? {
        didSet {
            guard let leader else { return }
            lastLeader = leader
            ledTerm = term
        }
    }
    /// Whom this member heard last, and the last term in which it heard a leader, or began.
    private(set) var lastLeader: NodeID?
    private(set) var ledTerm: Term
    package internal(set) var commit: Index
    package internal(set) var log: Log
    /// The latest configuration of the log, committed or not (D 4.1).
    package internal(set) var configuration: Configuration {
        didSet { noteRole() }
    }
    /// A member that ever was a witness has no state, also once it is no longer a member.
    package private(set) var isWitness = false
    /// Where `configuration` stands in the log.
    package internal(set) var configurationIndex: Index
    /// Earlier configurations that an entry cut off the log may bring back, ascending.
    var configurationsBefore: [(index: Index, configuration: Configuration)] = []

    /// Which log this member has: one more after each that it lost. What it acknowledged of an earlier one is void.
    package let logEpoch: UInt64
    /// It lost entries that it had acknowledged. Until it has everything that may have been committed with its help, it
    /// votes for nobody: see DESIGN.md.
    package internal(set) var isRecovering: Bool
    /// What is applied here is damaged, as the shell found.
    package internal(set) var isDamaged = false
    /// If the leader said so with its last heartbeat.
    var wasSpared = false
    var health: Message.Health { isRecovering ? .recovering : isDamaged ? .damaged : .whole }
    /// Once this is durable it is as good as before.
    var recoveredAt: Index?
    /// All members that have state have the log up to here, as the leader said last.
    package internal(set) var storedIndex: Index = 0
    /// The shell's monotonic clock in nanoseconds. Only leases and round trips are measured by it.
    package var now: UInt64 = 0
    /// It promised to elect nobody before.
    var promisedUntil: UInt64 = 0
    /// Ticks without word from a leader after which there may be an election: the settings', or longer if the leader, or
    /// elections that came to nothing, say so.
    package internal(set) var electionTicks: Int
    /// Numbers the requests received from the shell, one per event.
    package internal(set) var attempt: UInt64 = 0
    /// Tells this start of the member from all others.
    let start: UInt64
    /// The term this start began in: of messages of later terms it knows if it took them.
    let startTerm: Term
    var seen = SeenRequests()

    var random: SplitMix64
    var electionElapsed = 0
    var heartbeatElapsed = 0
    /// See `resetElectionTimer`.
    var electionTimeoutTicks = 0
    /// See `noteNeeded`.
    var neededTicks = Int.max
    /// What it acknowledged and lost, as a leader said.
    var loss: Loss?
    var termBound = TermBound()
    /// Answers of the running election, by ascending voter.
    var votes: [(id: NodeID, granted: Bool)] = []
    /// Somebody asked for its vote and could not have it for want of entries that are here.
    var isNeeded = false
    var leadership: Leadership?
    /// Hands out nothing more to be applied: the shell is behind with what it has.
    package var isApplyPaused = false
    /// Handed out to be applied.
    var applying: Index
    package internal(set) var applied: Index
    var installing: Index?
    /// The first index changed since the last Ready.
    var unsavedFrom: Index?
    var savedHardState: HardState
    var sequence: UInt64 = 0
    var ready = Ready()

    /// A member as it was when it stopped, or a new one.
    /// - Parameters:
    ///   - configuration: the one at `applied`; later ones are found in the tail of `log`.
    ///   - applied: what the state machine has; the tail of `log` holds all after it.
    package init(
        id: NodeID, settings: Settings, hardState: HardState, log: Log, configuration: Configuration, applied: Index,
        seed: UInt64, now: UInt64 = 0, logEpoch: UInt64 = 0, isRecovering: Bool = false
    ) {
        self.now = now
        self.logEpoch = logEpoch
        self.isRecovering = isRecovering
        electionTicks = settings.electionTicks
        self.id = id
        self.settings = settings
        self.term = hardState.term
        ledTerm = hardState.term
        self.vote = hardState.vote
        self.log = log
        self.configuration = configuration
        isWitness = configuration.isWitness(id)
        self.configurationIndex = applied
        self.applied = applied
        self.applying = applied
        self.commit = max(min(hardState.commit, log.lastIndex), applied)
        self.savedHardState = hardState
        self.random = SplitMix64(seed: seed ^ id)
        start = random.next()
        startTerm = hardState.term
        precondition(log.lastIndex >= applied, "the log ends at \(log.lastIndex), before what was applied, \(applied)")
        if log.lastIndex > applied {
            guard let tail = log.entries(from: applied + 1, through: log.lastIndex, costMax: .max) else {
                preconditionFailure("the log's tail after \(applied) is not at hand")
            }
            adoptConfigurations(of: tail)
        }
        // Whom it promised what before it stopped is not remembered.
        if settings.mayHavePromised, !makes(.forgetsPromisesAtRestart) {
            promisedUntil = now + UInt64(Settings.promiseMillisecondsMax) * 1_000_000
        }
        resetElectionTimer()
    }

    /// If this member counts in quorums.
    package var isVoter: Bool { configuration.isVoter(id) }

    package mutating func receive(_ event: Event) {
        switch event {
        case .tick: tick()
        case .message(let message): receive(message)
        case .propose(let proposals):
            attempt += 1
            propose(proposals, from: id, Stamp(start: start, number: attempt))
        case .change(let requestID, let change):
            attempt += 1
            self.change(change, requestID: requestID, from: id, Stamp(start: start, number: attempt))
        case .readIndex(let ids): readIndex(ids, from: id)
        case .appended(let sequence): noteAppended(sequence)
        case .applied(let index): noteApplied(index)
        case .logRead(let read, let entries): sendRead(entries, for: read)
        case .snapshotReceived(let mark, let sender): receiveSnapshot(mark, from: sender)
        case .installed(let index): noteInstalled(index)
        case .snapshotStarted(let peer, let index): noteSnapshotStarted(to: peer, index: index)
        case .snapshotSent(let peer, let index): noteSnapshotSent(to: peer, index: index)
        case .unreachable(let peer): noteUnreachable(peer)
        case .refused(let peer): noteRefused(peer)
        case .transfer(let target): transfer(to: target)
        case .campaign: if role != .leader, !isBoundByPromise { campaign(transfer: false) }
        case .compact(let index): compact(to: index)
        case .damaged: isDamaged = true
        }
    }

    private mutating func noteRole() {
        if configuration.isWitness(id) { isWitness = true }
    }

    /// What the shell does now. Call it after each batch of events.
    package mutating func takeReady() -> Ready {
        if role == .leader { flushLeader() }
        expectSound()
        collectDisk()
        collectApply()
        log.evict(before: applied + 1, costMax: settings.recentBytesMax)
        defer { ready = Ready() }
        ready.sequence = sequence
        return ready
    }

    /// What only a mistake of this release can break. A member that went on from there could spread it: better none.
    private func expectSound() {
        precondition(term >= savedHardState.term, "the term fell from \(savedHardState.term) to \(term)")
        precondition(applied <= applying, "applied \(applied), but only \(applying) was handed out")
        precondition(
            log.durableIndex <= log.lastIndex, "the log ends at \(log.lastIndex), before \(log.durableIndex) on disk")
        guard installing == nil else { return }
        precondition(
            applying <= commit && commit <= log.lastIndex,
            "handed out \(applying), committed \(commit), the log ends at \(log.lastIndex)")
    }

    private mutating func collectDisk() {
        // A snapshot's index is no commit index of the log that is still on disk: if the install is cut short, what
        // stands there must not pass as committed.
        let savedCommit = installing == nil ? commit : savedHardState.commit
        let hardState = HardState(term: term, vote: makes(.forgetsVotes) ? nil : vote, commit: savedCommit)
        let mustSave = hardState.term != savedHardState.term || hardState.vote != savedHardState.vote
        if let first = unsavedFrom {
            guard let entries = log.entries(from: first, through: log.lastIndex, costMax: .max) else {
                preconditionFailure("unsaved entries from \(first) are not at hand")
            }
            ready.append = Ready.Append(firstIndex: first, entries: entries)
            unsavedFrom = nil
        }
        if mustSave || ready.append != nil {
            ready.hardState = hardState
            savedHardState = hardState
            sequence += 1
            log.noteAppending(sequence: sequence)
        }
    }

    /// Only what is committed and on this member's own disk is applied: the log is the state machine's write-ahead log.
    private mutating func collectApply() {
        guard installing == nil, !isApplyPaused else { return }
        let last = makes(.appliesBeforeSync) ? commit : min(commit, log.durableIndex)
        guard applying < last else { return }
        guard let entries = log.entries(from: applying + 1, through: last, costMax: settings.applyBytesMax) else {
            preconditionFailure("entries to apply from \(applying + 1) are not at hand")
        }
        ready.apply = entries
        applying += Index(entries.count)
    }

    /// If there is more to apply than the last Ready held.
    package var hasMoreToApply: Bool { installing == nil && !isApplyPaused && applying < min(commit, log.durableIndex) }

    private mutating func noteAppended(_ sequence: UInt64) {
        log.noteAppended(sequence: sequence)
        finishRecovery()
        if role == .leader { advanceCommit() }
    }

    private mutating func noteApplied(_ index: Index) {
        precondition(index <= applying, "applied \(index), but only \(applying) was handed out")
        applied = max(applied, index)
        if configurationIndex <= applied { configurationsBefore = [] }
    }

    private mutating func compact(to index: Index) {
        log.compact(to: min(index, applied))
    }

    mutating func send(_ body: Message.Body, to peer: NodeID, term: Term? = nil) {
        ready.messages.append(Message(from: id, to: peer, term: term ?? self.term, body: body))
    }

    mutating func sendWhenDurable(_ body: Message.Body, to peer: NodeID, term: Term? = nil) {
        ready.messagesWhenDurable.append(Message(from: id, to: peer, term: term ?? self.term, body: body))
    }

    /// From when what may have been committed with the help of the lost log is here again.
    mutating func finishRecovery() {
        guard isRecovering, let index = recoveredAt, log.durableIndex >= index else { return }
        isRecovering = false
        ready.hasRecovered = true
    }

    mutating func append(_ entries: [Entry]) {
        guard let first = entries.first else { return }
        log.append(entries)
        unsavedFrom = min(unsavedFrom ?? first.index, first.index)
        adoptConfigurations(of: entries)
    }
}
