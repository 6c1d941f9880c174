#if canImport(Glibc)
    internal import Glibc
#endif
internal import Bytes
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage
internal import Synchronization
internal import Transport

/// What the lanes of one member share: each other's mailboxes, and what they publish. Thread-safe.
final class MemberCore: Sendable {
    let serverSettings: ServerSettings
    let identity: Identity
    let directory: DataDirectory
    let logger: Logger
    let metrics = Metrics()
    let consensus = Mailbox<ConsensusWork>()
    let requests: RequestTable
    let readers: ReaderPool
    let marks: FileMarks
    let snapshotStore: SnapshotStore
    let served: ServedMark
    /// If nothing that is answered from here can be older than what was answered before this start.
    let hasCaughtUp: Atomic<Bool>
    let transfers = TransferLane()
    let fabricFeed = FabricFeed()
    /// For requests and answers of all clients together.
    let budget: MemoryBudget
    /// Reads under way for this member's clients.
    let readsUnderWay = Atomic<Int>(0)
    /// When there was a leader last, or this member began.
    let leaderSeen = Atomic<UInt64>(monotonicNanoseconds())
    /// If there are streams of watches.
    let isWatched = Atomic<Bool>(false)
    /// Backups under way: each is a copy of everything.
    let backups = Atomic<Int>(0)
    /// Bytes of keys, values and history stored here.
    let storedBytes = Atomic<Int64>(0)

    private struct Published {
        var view: View?
        var membership = Membership()
        /// Domains whose loss would stop the fabric, as was said last.
        var indispensable: [String] = []
        /// Also when it is no longer a member.
        var isWitness = false
        var status = RaftStatus()
        var received = IncomingSnapshots()
        var fullFiles: Set<String> = []
        var damage: StorageError?
        var pendingBytes = 0
        var databaseSizes: (total: Int64, inUse: Int64) = (0, 0)
        /// Where a member that just joined finds the others before it has the configuration.
        var hints: [NodeID: [PeerAddress]] = [:]
        var isStopping = false
        /// How often each peer said, since it last talked to this member, that it was removed or has forgotten what it promised.
        var turnedAway: [NodeID: (refusal: PeerRefusal, times: Int)] = [:]
    }
    private let published = Mutex(Published())
    private let lanes = Mutex<Lanes?>(nil)
    /// Called once, with the reason, when this member shall end by itself.
    let onEnd: @Sendable (MemberEnd) -> Void

    private struct Lanes {
        let logs: LogLane
        let apply: ApplyLane
        let checkpoints: CheckpointLane
        let snapshots: SnapshotLane
        let watches: WatchLane
        let transport: Transport
    }

    init(
        settings: ServerSettings, identity: Identity, directory: DataDirectory, marks: FileMarks, isFresh: Bool,
        logger: Logger, onEnd: @escaping @Sendable (MemberEnd) -> Void
    ) throws(StorageError) {
        served = try ServedMark(path: directory.servedPath, boot: MachineBoot.id)
        hasCaughtUp = Atomic(isFresh)
        serverSettings = settings
        budget = settings.budget
        self.identity = identity
        self.directory = directory
        self.marks = marks
        self.logger = logger
        self.onEnd = onEnd
        snapshotStore = SnapshotStore(directory: directory.snapshotPath)
        readers = ReaderPool(path: directory.statePath, marks: marks, threads: settings.readerThreads)
        var generator = SystemRandomNumberGenerator()
        requests = RequestTable(
            firstID: generator.next(), countMax: settings.requestsMax, bytesMax: settings.requestsBytesMax)
    }

    func attach(
        logs: LogLane, apply: ApplyLane, checkpoints: CheckpointLane, snapshots: SnapshotLane, watches: WatchLane,
        transport: Transport
    ) {
        lanes.withLock {
            $0 = Lanes(
                logs: logs, apply: apply, checkpoints: checkpoints, snapshots: snapshots, watches: watches,
                transport: transport)
        }
    }

    private func attached<T>(_ part: (Lanes) -> T) -> T {
        lanes.withLock { lanes in
            guard let lanes else { preconditionFailure("the lanes are not attached yet") }
            return part(lanes)
        }
    }

    var logs: Mailbox<LogWork> { attached(\.logs.mailbox) }
    var apply: Mailbox<ApplyWork> { attached(\.apply.mailbox) }
    var checkpoints: Mailbox<CheckpointLane.Work> { attached(\.checkpoints.mailbox) }
    var snapshots: Mailbox<SnapshotLane.Work> { attached(\.snapshots.mailbox) }
    var watches: Mailbox<WatchLane.Work> { attached(\.watches.mailbox) }
    var transport: Transport { attached(\.transport) }

    // MARK: - Failure

    /// Ends the process: the disk failed, and what it holds now is unknown. The next start finds out.
    func end(_ error: StorageError) -> Never {
        logger.critical("this member stops: \(error)")
        directory.note(error)
        serverSettings.flushLog()
        if case .unusable = error { _exit(5) }
        if case .damaged = error { serverSettings.startAnew() }
        _exit(1)
    }

    @discardableResult
    func orFail<T>(_ body: () throws(StorageError) -> T) -> T {
        do throws(StorageError) { return try body() } catch { end(error) }
    }

    func noteDiskFull(_ isFull: Bool, what: String) {
        let change: Bool? = published.withLock { published in
            let before = published.fullFiles.isEmpty
            if isFull { published.fullFiles.insert(what) } else { published.fullFiles.remove(what) }
            return published.fullFiles.isEmpty == before ? nil : isFull
        }
        guard let change else { return }
        if change {
            logger.error("no space is left for \(directory.path)/\(what): writes wait until there is some")
        } else {
            logger.info("there is space for \(directory.path)/\(what) again")
        }
        consensus.post(.diskFull(change))
    }

    /// Keeps what was found first; answers if this is that.
    func noteFirst(_ damage: StorageError) -> Bool {
        published.withLock { published in
            defer { published.damage = published.damage ?? damage }
            return published.damage == nil
        }
    }

    /// How `kv.db` was found not to be what was written.
    var damage: StorageError? { published.withLock { $0.damage } }
    var isDamaged: Bool { damage != nil }

    var isDiskFull: Bool { published.withLock { !$0.fullFiles.isEmpty } }

    // MARK: - State

    func publish(_ view: View, pendingBytes: Int) {
        // If it is not known what was answered from before, nothing is until a leader was asked.
        if served.before != nil || hasCaughtUp.load(ordering: .relaxed) { noteServed(view.appliedIndex) }
        // The view before is released outside of the lock: it may be the last owner of a large memtable.
        let old = published.withLock { published in
            let old = published.view
            precondition(
                old.map { $0.appliedIndex <= view.appliedIndex && $0.revision <= view.revision } ?? true,
                "a state was published that is older than the one before")
            published.view = view
            published.pendingBytes = pendingBytes
            return old
        }
        withExtendedLifetime(old) {}
    }

    private func noteServed(_ index: Index) {
        orFail { () throws(StorageError) in try served.note(index) }
    }

    /// The state is as recent as all that was answered before this start. On the apply lane.
    func noteCaughtUp() {
        noteServed(view.appliedIndex)
        hasCaughtUp.store(true, ordering: .sequentiallyConsistent)
    }

    func publish(storedBytes: Int64) { self.storedBytes.store(storedBytes, ordering: .relaxed) }

    func publish(databaseSizes sizes: (total: Int64, inUse: Int64)) {
        published.withLock { $0.databaseSizes = sizes }
    }

    var databaseSizes: (total: Int64, inUse: Int64) { published.withLock { $0.databaseSizes } }

    var view: View {
        published.withLock { published in
            guard let view = published.view else { preconditionFailure("no state is published yet") }
            return view
        }
    }

    /// What decides if a request is taken at all.
    struct Gate {
        var isStopping: Bool
        var isWitness: Bool
        var isDiskFull: Bool
        var isBehind: Bool
        var hasCaughtUp: Bool
        var alarms: [Alarm]
    }

    /// If changes come faster than they can be written to `kv.db`.
    var isBehind: Bool { gate.isBehind }

    var gate: Gate {
        let pendingMax = 8 * settings.memtableBytesMax
        return published.withLock { published in
            Gate(
                isStopping: published.isStopping, isWitness: published.isWitness,
                isDiskFull: !published.fullFiles.isEmpty, isBehind: published.pendingBytes > pendingMax,
                hasCaughtUp: hasCaughtUp.load(ordering: .relaxed), alarms: published.view?.alarms ?? [])
        }
    }

    func publish(_ status: RaftStatus) {
        let hadLeader = published.withLock { published in
            defer { published.status = status }
            return published.status.leader != nil
        }
        if hadLeader { leaderSeen.store(now, ordering: .relaxed) }
    }

    /// A stream that asked for a leader ends after this many election timeouts without one.
    private static let leaderlessTimeouts: UInt64 = 3

    var hasLeaderLately: Bool {
        let patience = Self.leaderlessTimeouts * UInt64(settings.electionMilliseconds) * 1_000_000
        return status.leader != nil || now - min(leaderSeen.load(ordering: .relaxed), now) < patience
    }

    var status: RaftStatus { published.withLock { $0.status } }

    // MARK: - Membership

    func noteMembership(_ meta: StateMeta) {
        let membership = Membership(
            configuration: meta.members, attributes: meta.attributes)
        let indispensable = meta.members.indispensableDomains
        let (isNews, isLayoutNews) = published.withLock { published in
            defer {
                published.membership = membership
                published.indispensable = indispensable
            }
            published.isWitness = published.isWitness || meta.members.isWitness(identity.memberID)
            let before = published.membership.entries.map(\.member)
            return (before != membership.entries.map(\.member), published.indispensable != indispensable)
        }
        if isLayoutNews { sayLayout(indispensable) }
        // For a start without a state to find them in.
        if isNews, !membership.entries.isEmpty {
            let others = membership.entries.map(\.member).filter { $0.id != identity.memberID }.flatMap { member in
                member.peerURLs.map { PeerHint(id: member.id, url: $0, hasState: member.role == .voter) }
            }
            orFail { () throws(StorageError) in try directory.writeHints(others) }
        }
        transport.directory.setVersion(meta.version)
        transport.directory.setRemoved(meta.removedMembers)
        transport.directory.setStarted(meta.attributes.map(\.id))
        if meta.removedMembers.contains(identity.memberID) { apply.post(.leave) }
    }

    /// Calls out, when it comes about, that one domain's loss would stop the fabric.
    private func sayLayout(_ indispensable: [String]) {
        if indispensable.isEmpty {
            logger.info("a quorum of members remains whatever domain is lost")
        } else {
            logger.warning(
                "without \(indispensable.joined(separator: ", or ")) no quorum of members would remain; see `weft domain preflight`"
            )
        }
    }

    // MARK: - What peers say of this member

    /// A report may be a race with apply; only repeated ones count.
    private static let timesTurnedAwayMax = 6

    /// A peer that this member called will not talk to it. No single word ends a member: whoever has a peer's address could say it.
    /// A majority of the voters that this member knows must, and nothing is written down because of it.
    func noteTurnedAway(by peer: NodeID, _ refusal: PeerRefusal) {
        guard refusal == .removed || refusal == .forgotten && transport.directory.isUnconfirmed else { return }
        let isAgreed = published.withLock { published in
            let times = published.turnedAway[peer].map { $0.refusal == refusal ? $0.times : 0 } ?? 0
            published.turnedAway[peer] = (refusal, times + 1)
            let known = published.membership.entries.filter { $0.member.isVoting }.map(\.member.id)
            let voters = known.isEmpty ? Array(published.hints.keys) : known
            let agreeing = voters.count { voter in
                published.turnedAway[voter].map { $0.refusal == refusal && $0.times >= Self.timesTurnedAwayMax }
                    ?? false
            }
            return !voters.isEmpty && agreeing >= voters.count / 2 + 1
        }
        if isAgreed { onEnd(refusal == .removed ? .disowned : .forgotten) }
    }

    func noteWelcome(by peer: NodeID) {
        published.withLock { $0.turnedAway[peer] = nil }
    }

    var isWitness: Bool { published.withLock { $0.isWitness } }
    var membership: Membership { published.withLock { $0.membership } }

    func addHint(_ id: NodeID, _ address: PeerAddress) {
        published.withLock { $0.hints[id, default: []].append(address) }
    }

    /// Keeps links to all members of the newest configuration, and to those a newcomer was told of. Who leaves is
    /// answered until the change is applied here: a leader that removes itself must hear that it is committed.
    func follow(_ configuration: Configuration, at index: Index, committed: Index) {
        let applied = membership.entries.map(\.member)
        var addresses = applied.isEmpty ? published.withLock { $0.hints } : [:]
        for member in applied + configuration.everybody {
            let known = member.peerURLs.compactMap(PeerAddress.init(url:))
            if !known.isEmpty { addresses[member.id] = known }
        }
        transport.setPeers(addresses, at: index, committed: committed)
    }

    // MARK: - Messages

    func send(_ messages: [Message]) {
        guard !messages.isEmpty else { return }
        metrics.peerMessagesSent.add(UInt64(messages.count))
        transport.send(messages)
    }

    // MARK: - Received snapshots

    func addReceivedSnapshot(_ mark: SnapshotMark, path: String) {
        published.withLock { $0.received.add(mark, path: path) }
    }

    func takeReceivedSnapshot(_ mark: SnapshotMark) -> String? {
        let (found, stale) = published.withLock { $0.received.take(mark) }
        for path in stale { try? SnapshotImage.remove(path) }
        return found
    }

    // MARK: - Replacing the state

    func replaceState(by path: String) throws(StorageError) -> KeyValueStore {
        let opened = Rendezvous<Void>()
        let old = try File(directory.statePath, .readWrite)
        checkpoints.post(.replaceState(by: path, opened: opened))
        opened.wait()
        readers.retire(old)
        return try storage(directory.statePath) { () throws(SQLiteError) in
            try MemberDisk.openStore(directory.statePath, marks)
        }
    }

    // MARK: - End

    private static let lookNanoseconds: UInt64 = 1_000_000_000

    /// Looks after what the member stands on. One whose directory is taken away under it would go on to acknowledge what no start
    /// will find again.
    func watchDirectory() {
        startThread("weft-directory") { [self] in
            while !isStopping {
                pause(nanoseconds: Self.lookNanoseconds)
                readers.closeOld()
                repairIfSpared()
                if directory.isInPlace { continue }
                logger.critical("\(directory.path) was removed or replaced while this member runs: it stops")
                return onEnd(.directoryLost)
            }
        }
    }

    func beginStopping() { published.withLock { $0.isStopping = true } }
    var isStopping: Bool { published.withLock { $0.isStopping } }
}

/// Why a member ended without being asked to.
package enum MemberEnd: Sendable {
    /// Somebody took its data directory away.
    case directoryLost
    /// By its own applied configuration.
    case removed
    /// A majority of its fabric says that it was removed; its own state does not say so.
    case disowned
    /// It took part before, but its disk holds nothing.
    case forgotten
}
