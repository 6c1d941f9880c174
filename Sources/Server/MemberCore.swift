#if canImport(Glibc)
    internal import Glibc
#endif
internal import Access
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
    let mail: Mailboxes
    let transport: Transport
    let reports: PeerReports
    let requests: RequestTable
    let readers: ReaderPool
    let marks: FileMarks
    let served: ServedMark
    /// If nothing that is answered from here can be older than what was answered before this start.
    let hasCaughtUp: Atomic<Bool>
    let readGate = ReadGate()
    let authenticator: Authenticator
    /// Nil where the fabric's own CA makes none for this member.
    let certificates: MemberCertificates?
    let auditLog: AuditLog
    let knownRights = Mutex(KnownRights())
    /// Of the state that is published.
    let isAuthEnabled = Atomic<Bool>(false)
    let isGuarded: Atomic<Bool>
    let fabricFeed = FabricFeed()
    /// For requests and answers of all clients together.
    let budget: MemoryBudget
    /// When something that a pair said was written down last, by the pair's name: nanoseconds.
    let pairNotes = Mutex<[String: UInt64]>([:])
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
        var fullFiles: Set<String> = []
        var damage: StorageError?
        var pendingBytes = 0
        var databaseSizes: (total: Int64, inUse: Int64) = (0, 0)
        /// Where a member that just joined finds the others before it has the configuration.
        var hints: [NodeID: [PeerAddress]] = [:]
        var isStopping = false
    }
    private let published = Mutex(Published())
    /// Called once, with the reason, when this member has to end by itself.
    let onEnd: @Sendable (MemberEnd) -> Void

    init(
        settings: ServerSettings, identity: Identity, directory: DataDirectory, marks: FileMarks, isFresh: Bool,
        mail: Mailboxes, transport: Transport, reports: PeerReports, authenticator: Authenticator,
        certificates: MemberCertificates?, logger: Logger,
        onEnd: @escaping @Sendable (MemberEnd) -> Void
    ) throws(StorageError) {
        self.authenticator = authenticator
        self.certificates = certificates
        auditLog = AuditLog(path: directory.auditPath)
        self.mail = mail
        self.transport = transport
        self.reports = reports
        served = try ServedMark(path: directory.servedPath, boot: MachineBoot.id)
        hasCaughtUp = Atomic(isFresh)
        serverSettings = settings
        isGuarded = Atomic(!settings.letsStrangersIn)
        budget = settings.budget
        self.identity = identity
        self.directory = directory
        self.marks = marks
        self.logger = logger
        self.onEnd = onEnd
        readers = ReaderPool(path: directory.statePath, marks: marks, threads: settings.readerThreads)
        var generator = SystemRandomNumberGenerator()
        requests = RequestTable(
            firstID: generator.next(), countMax: settings.requestsMax, bytesMax: settings.requestsBytesMax)
    }

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
        mail.consensus.post(.diskFull(change))
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
        if served.before != nil || hasCaughtUp.load(ordering: .relaxed) { served.note(view.appliedIndex) }
        // The view before is released outside of the lock: it may be the last owner of a large memtable.
        let old = published.withLock { published in
            let old = published.view
            precondition(
                old.map { $0.appliedIndex <= view.appliedIndex && $0.revision <= view.revision } ?? true,
                "a state was published that is older than the one before")
            published.view = view
            isAuthEnabled.store(view.access.isEnabled, ordering: .releasing)
            isGuarded.store(guards(view.access), ordering: .releasing)
            published.pendingBytes = pendingBytes
            return old
        }
        withExtendedLifetime(old) {}
    }

    /// If anybody's rights are looked at.
    func guards(_ access: AccessState) -> Bool { access.isEnabled || !serverSettings.letsStrangersIn }

    /// The state is as recent as all that was answered before this start. On the apply lane.
    func noteCaughtUp() {
        served.note(view.appliedIndex)
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
    struct Admission {
        var isStopping: Bool
        var isWitness: Bool
        var isDiskFull: Bool
        var isBehind: Bool
        var hasCaughtUp: Bool
        var alarms: [Alarm]
    }

    var isBehind: Bool { admission.isBehind || mail.apply.isFull }

    var admission: Admission {
        return published.withLock { published in
            Admission(
                isStopping: published.isStopping, isWitness: published.isWitness,
                isDiskFull: !published.fullFiles.isEmpty, isBehind: published.pendingBytes > settings.pendingBytesMax,
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

    /// See `ReadGate`. The state is looked at only where there is a lease: that takes a lock. A member that stops is asked in its
    /// consensus lane, which says so once it has ended.
    var isCurrent: Bool {
        guard readGate.hasLease else { return false }
        let applied = published.withLock { $0.isStopping ? nil : $0.view?.appliedIndex }
        guard let applied else { return false }
        return readGate.isCurrent(applied: applied) { now }
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
        reports.setVoters(membership.entries.filter { $0.member.isVoting }.map(\.member.id))
        transport.directory.setVersion(meta.version)
        transport.directory.setRemoved(meta.removedMembers)
        transport.directory.setStarted(meta.attributes.map(\.id))
        if meta.removedMembers.contains(identity.memberID) { mail.apply.post(.leave) }
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

    var isWitness: Bool { published.withLock { $0.isWitness } }
    var membership: Membership { published.withLock { $0.membership } }

    func addHint(_ id: NodeID, _ address: PeerAddress) {
        published.withLock { $0.hints[id, default: []].append(address) }
        reports.addHint(id)
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

    // MARK: - Replacing the state

    func replaceState(by path: String) throws(StorageError) -> KeyValueStore {
        let opened = Rendezvous<Void>()
        let old = try File(directory.statePath, .readWrite)
        mail.checkpoint.post(.replaceState(by: path) { opened.fulfil(()) })
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
                readers.closeOld(before: view)
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
