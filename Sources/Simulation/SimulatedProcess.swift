internal import CSimulatedDisk
internal import Fabric
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage

/// One start of a member: the production lanes on one thread, each with its mailbox. When it dies it is thrown away with all
/// it had in memory; what it left on the simulated disk is what the next start finds.
final class SimulatedProcess: ReplicationShell, @unchecked Sendable {
    let machine: Int
    let identity: Identity
    let directory: DataDirectory
    let settings: ReplicationSettings
    let metrics = Metrics()
    let logger: Logger
    unowned(unsafe) let world: World

    private(set) var isAlive = true
    private(set) var replica: Replica<SimulatedProcess>?
    private var logWriter: LogWriter<SimulatedProcess>?
    private var applier: Applier<SimulatedProcess>?
    private var checkpointer: Checkpointer<SimulatedProcess>?
    private var store: LogStore?
    private var slots: [ReaderSlot]
    private var nextSlot = 0
    private var hub: WatchHub?
    let marks: FileMarks

    private var consensusMail: [ConsensusWork] = []
    private var logMail: [LogWork] = []
    private var applyMail: [ApplyWork] = []
    private var frozenMail: [KeyValueStore.Frozen] = []
    private var isScheduled: Set<Lane> = []
    /// What the disk works on.
    private var logBatch: [LogWork] = []
    private var isFull = false

    private(set) var view: View?
    private var pendingBytes = 0
    private(set) var removed: [NodeID] = []
    /// As of what is applied.
    private(set) var members = Configuration()
    private(set) var isWitness = false
    private var waiting: [UInt64: (Outcome) -> Void] = [:]
    private var incoming = IncomingSnapshots()
    var outgoing = OutgoingSnapshots()
    /// Consensus after its last step.
    private(set) var seen = Seen()
    /// The last entry handed to the log.
    private var lastAppended: (index: Index, term: Term) = (0, 0)
    /// A file was damaged and begun anew.
    let wasRepaired: Bool

    enum Lane: Hashable { case consensus, log, apply, checkpoint, chores, tidy, news }

    /// Starts on what the machine's disk holds.
    init(
        machine: Int, identity: Identity, founding: Configuration?, world: World
    ) throws(StorageError) {
        self.machine = machine
        self.identity = identity
        self.world = world
        settings = world.plan.replication
        logger = world.logger(of: machine)
        directory = try DataDirectory("/sim/\(machine)")
        let isFresh = directory.isFresh()
        let disk = try MemberDisk(
            directory, identity: identity, founding: isFresh ? founding : nil, mayRepair: world.mayRepair,
            logger: logger)
        marks = disk.marks
        slots = (0..<3).map { [directory] _ in
            ReaderSlot(path: directory.statePath, marks: disk.marks, cacheBytes: 64 << 10)
        }
        wasRepaired = disk.wasRepaired
        let raft = try disk.raft(
            identity, world.plan.raft, seed: world.dice.next(), now: world.clockReading(of: machine))
        if isFresh { try directory.finishFirstStart(identity) }
        store = disk.log
        logWriter = LogWriter(shell: self, store: disk.log)
        applier = Applier(shell: self, store: disk.store)
        checkpointer = Checkpointer(shell: self, writer: disk.writer, marks: disk.marks)
        removed = disk.store.meta.removedMembers
        members = disk.store.meta.members
        isWitness = members.isWitness(identity.memberID)
        replica = Replica(shell: self, raft: raft)
        view = disk.store.view()
        hub = WatchHub(
            revision: disk.store.meta.revision, compactRevision: disk.store.meta.compactRevision,
            progressNanoseconds: 5 * World.second, ringBytesMax: 2000
        ) { [unowned self] read in
            self.world.add(.history(self, read), after: self.world.laneDelay())
        }
    }

    /// What the log holds durably.
    var logContents: LogStore.Contents? { store?.loaded() }

    /// The disk works on a batch, or one waits for it, or the log shall begin anew after a snapshot.
    var hasLogUnderWay: Bool { !logBatch.isEmpty || !logMail.isEmpty || isReplacing }
    private var isReplacing = false

    /// How long others wait for a leader before they elect one.
    var electionMilliseconds: Int { (replica?.raft.electionTicks ?? 0) * settings.heartbeatMilliseconds }

    /// The first round of consensus.
    func begin() {
        if let raft = replica?.raft {
            seen = Seen(raft)
            lastAppended = (raft.log.lastIndex, seen.lastTerm)
        }
        guard let view else { return }
        world.attempt { () throws(Violation) in
            try world.oracle.noteState(view, at: identity.memberID, isWitness: isWitness)
        }
        step { $0.dispatch() }
    }

    /// Dies: everything in memory is gone, and nobody who waits is answered.
    func end() {
        isAlive = false
        replica = nil
        logWriter = nil
        applier = nil
        checkpointer = nil
        store = nil
        slots = []
        hub = nil
        waiting = [:]
        consensusMail = []
        logMail = []
        logBatch = []
        applyMail = []
        frozenMail = []
    }

    // MARK: - Lanes

    func run(_ lane: Lane) {
        isScheduled.remove(lane)
        switch lane {
        case .consensus, .news: runConsensus(ticking: false)
        case .log: runLog()
        case .apply: runApply()
        case .checkpoint: runCheckpoint()
        case .chores: onDisk { () throws(StorageError) in try logWriter?.doChores() }
        case .tidy: onDisk { () throws(StorageError) in try checkpointer?.tidy() }
        }
        guard isAlive else { return }
        if logWriter?.hasChores == true { schedule(.chores, after: 20_000_000) }
        if checkpointer?.isTidying == true { schedule(.tidy, after: 1_000_000) }
    }

    func tick() {
        runConsensus(ticking: true)
        hub?.tick(now: now)
        slots[nextSlot].closeOld()
    }

    private func schedule(_ lane: Lane, after nanoseconds: UInt64) {
        if isScheduled.insert(lane).inserted { world.add(.run(self, lane), after: nanoseconds) }
    }

    private func runConsensus(ticking: Bool) {
        step { replica in
            let mail = consensusMail
            consensusMail = []
            guard replica.handle(mail) else { return }
            if ticking { replica.tick(now) }
            replica.dispatch()
        }
    }

    private func step(_ body: (inout Replica<SimulatedProcess>) -> Void) {
        // Nothing else may refer to it meanwhile, or each step copies the log.
        guard var current = replica.take() else { return }
        let (configuration, commit) = (current.raft.configuration, current.raft.commit)
        body(&current)
        guard isAlive else { return }
        if world.plan.spread > 1 {
            world.checkSpread(current.raft, configurationBefore: configuration, commitBefore: commit)
        }
        let before = seen
        seen = Seen(current.raft)
        let moments = world.moments(current.raft, since: before, seen)
        replica = consume current
        if let due = seen.newsDue { schedule(.news, after: due - min(due, now)) }
        let isNews = seen.durableIndex != before.durableIndex || seen.durableTerm != before.durableTerm
        if isNews, !isReplacing, let store { world.checkBelief(self, store) }
        if !moments.isEmpty { world.tempt(self, moments) }
    }

    /// The disk takes its time, and does the work at the end of it: who dies before has none of it.
    private func runLog() {
        guard logBatch.isEmpty, !logMail.isEmpty else { return }
        logBatch = logMail
        logMail = []
        world.add(.logDone(self), after: world.syncLatency(of: machine))
        // What comes meanwhile is the next batch.
        isScheduled.insert(.log)
    }

    func finishLog() {
        let work = logBatch
        onDisk { () throws(StorageError) in _ = try logWriter?.handle(work) }
        logBatch = []
        guard isAlive, let contents = store?.loaded() else { return }
        world.durable[identity.memberID] = max(world.durable[identity.memberID] ?? 0, contents.lastIndex)
        if work.contains(where: { if case .reset = $0 { true } else { false } }) { isReplacing = false }
        world.noteDurable(contents, of: self)
        isScheduled.remove(.log)
        if !logMail.isEmpty { schedule(.log, after: world.laneDelay()) }
        if logWriter?.hasChores == true { schedule(.chores, after: 20_000_000) }
    }

    private func runApply() {
        let work = applyMail
        applyMail = []
        for item in work {
            onDisk { () throws(StorageError) in _ = try applier?.handle(item) }
            guard isAlive else { return }
        }
    }

    private func runCheckpoint() {
        let work = frozenMail
        frozenMail = []
        for frozen in work {
            world.temptDisk(machine, chance: 0.02)
            world.temptFullDisk(machine)
            onDisk { () throws(StorageError) in try checkpointer?.write(frozen) }
            guard isAlive else { return }
        }
    }

    /// What a lane does with the disk; the process ends when that fails, as the daemon does.
    private func onDisk(_ body: () throws(StorageError) -> Void) {
        do throws(StorageError) {
            try body()
            if wd_is_dead(Int32(machine)) != 0 {
                world.processDied(self, "the machine died within an operation of its disk")
            }
        } catch {
            world.processDied(self, "\(error)", error)
        }
    }

    // MARK: - ReplicationShell

    var now: UInt64 { world.clockReading(of: machine) }
    var wallMilliseconds: Int64 { Int64(now / 1_000_000) }
    func makeRequestID() -> UInt64 { world.makeRequestID() }

    func post(_ work: ConsensusWork, wakes: Bool) {
        consensusMail.append(work)
        if wakes { schedule(.consensus, after: world.laneDelay()) }
    }

    func post(_ work: LogWork) {
        switch work {
        case .append(_, let append?, _, _): noteAppended(append)
        case .reset(let mark): lastAppended = (mark.index, mark.term)
        default: break
        }
        logMail.append(work)
        schedule(.log, after: world.laneDelay())
    }

    private func noteAppended(_ append: Ready.Append) {
        guard let last = append.entries.last else { return }
        let previous = append.firstIndex == lastAppended.index + 1 ? lastAppended.term : nil
        lastAppended = (last.index, last.term)
        world.attempt { () throws(Violation) in
            try world.oracle.noteAppended(append.entries, at: identity.memberID, previousTerm: previous)
        }
    }

    func post(_ work: ApplyWork) {
        if case .entries(let entries) = work {
            world.attempt { () throws(Violation) in
                for entry in entries { try world.oracle.noteCommitted(entry, at: identity.memberID, now: world.now) }
            }
        }
        applyMail.append(work)
        schedule(.apply, after: world.laneDelay())
    }

    func post(_ frozen: KeyValueStore.Frozen) {
        frozenMail.append(frozen)
        schedule(.checkpoint, after: world.laneDelay() * 10)
    }

    func send(_ messages: [Message]) {
        world.send(messages, from: self)
    }

    func sendSnapshot(to peer: NodeID) {
        world.add(.makeSnapshot(self, peer), after: world.laneDelay())
    }

    func addReceivedSnapshot(_ mark: SnapshotMark, path: String) {
        incoming.add(mark, path: path)
    }

    func takeReceivedSnapshot(_ mark: SnapshotMark) -> String? {
        let (found, stale) = incoming.take(mark)
        for path in stale { try? SnapshotImage.remove(path) }
        return found
    }

    func replaceState(by path: String) throws(StorageError) -> KeyValueStore {
        guard let checkpointer else { throw .unusable("the process has ended") }
        let written = frozenMail
        frozenMail = []
        for frozen in written { try checkpointer.write(frozen) }
        isReplacing = true
        world.temptDisk(machine, chance: 0.2)
        let before = readAll()
        try checkpointer.replaceState(by: path)
        for _ in slots { expect(readAll(), asBefore: before) }
        return try storage(directory.statePath) { () throws(SQLiteError) in
            try MemberDisk.openStore(directory.statePath, marks)
        }
    }

    /// All keys, in the newest state that is published.
    private func readAll() -> Result<RangeResult, ReadFailure> {
        read { view, reader in
            Result { () throws(ReadFailure) in
                try view.range(RangeRequest(range: KeyRange(prefix: [])), try Self.opened(reader))
            }
        }
    }

    /// While another file is in place and its state not published, the old one answers, or nobody does.
    private func expect(_ found: Result<RangeResult, ReadFailure>, asBefore before: Result<RangeResult, ReadFailure>) {
        guard case .success(let before) = before, case .success(let found) = found else { return }
        guard before.pairs == found.pairs, before.revision == found.revision else {
            world.attempt { () throws(Violation) in
                throw Violation(
                    check: "a reader keeps to its state while another takes its place",
                    detail: "revision \(found.revision)")
            }
            return
        }
    }

    func noteChanges(_ changes: [KeyValue], revision: Int64, compactRevision: Int64) {
        hub?.publish(changes, revision: revision, compactRevision: compactRevision, now: now)
    }

    func noteWritten(through revision: Int64) { hub?.noteWritten(through: revision) }

    func noteFabric(_ changes: [FabricChange], revision: Int64) {}

    func noteReplaced(revision: Int64, compactRevision: Int64, fabricRevision: Int64) {
        hub?.replace(revision: revision, compactRevision: compactRevision)
    }

    // MARK: - Watches

    func watch(_ request: WatchRequest, _ stream: WatchStream) { hub?.create(request, on: stream, now: now) }
    func resume(_ stream: WatchStream) { hub?.resume(stream) }
    func close(_ stream: WatchStream) { hub?.close(stream) }

    /// Reads the history that a watch waits for.
    func answer(_ read: HistoryRead) {
        guard view != nil else { return }
        onDisk { () throws(StorageError) in
            let found = self.read { view, reader in
                Result { () throws(ReadFailure) in
                    try view.history(from: read.from, through: read.through, bytesMax: 500, try Self.opened(reader))
                }
            }
            switch found {
            case .success(let found): hub?.take(found, for: read)
            case .failure(.request): hub?.take(nil, for: read)
            case .failure(.disk(let error)): throw StorageError(error, path: directory.statePath)
            }
        }
    }

    func fail(_ error: StorageError) { world.processDied(self, "\(error)", error) }

    func awaitSpace(for file: String) {
        guard !isFull else { return }
        isFull = true
        post(.diskFull(true))
    }

    func noteSpace(for file: String) {
        guard isFull else { return }
        isFull = false
        post(.diskFull(false))
    }

    func awaitReaders() {}

    // MARK: - Requests

    func expect(_ requestID: UInt64, _ answer: @escaping (Outcome) -> Void) { waiting[requestID] = answer }
    func awaits(_ requestID: UInt64) -> Bool { waiting[requestID] != nil }
    func finish(_ requestID: UInt64, _ outcome: Outcome) { waiting.removeValue(forKey: requestID)?(outcome) }
    func failAllRequests(_ error: ServerError) {}
    var isBehind: Bool { pendingBytes > 8 * settings.memtableBytesMax }

    func publish(_ view: View, pendingBytes: Int) {
        self.view = view
        self.pendingBytes = pendingBytes
        world.attempt { () throws(Violation) in
            try world.oracle.noteState(view, at: identity.memberID, isWitness: isWitness)
        }
    }

    func publish(storedBytes: Int64) {}
    func publish(databaseSizes: (total: Int64, inUse: Int64)) {}
    func publish(_ status: RaftStatus) {}
    func follow(_ configuration: Configuration, at index: Index, committed: Index) {}

    func noteMembership(_ meta: StateMeta) {
        removed = meta.removedMembers
        isWitness = isWitness || meta.members.isWitness(identity.memberID)
        members = meta.members
        if removed.contains(identity.memberID) { world.add(.removed(self), after: world.laneDelay()) }
    }

    func leave() {}
    func noteBegun() {}

    /// Reads the state as it is now.
    func read(_ request: RangeRequest) -> Result<RangeResult, ReadFailure>? {
        guard view != nil else { return nil }
        var result: Result<RangeResult, ReadFailure>?
        onDisk { () throws(StorageError) in
            result = self.read { view, reader in
                Result { () throws(ReadFailure) in try view.range(request, try Self.opened(reader)) }
            }
            if case .failure(.disk(let error)) = result { throw StorageError(error, path: directory.statePath) }
        }
        return isAlive ? result : nil
    }

    /// Reads as one of several threads does, each with its connection.
    private func read<T: Sendable>(_ body: (View, Result<StateReader, SQLiteError>) -> T) -> T {
        guard let view else { preconditionFailure("no state is published yet") }
        nextSlot = (nextSlot + 1) % slots.count
        return slots[nextSlot].read({ view }, body)
    }

    private static func opened(_ reader: Result<StateReader, SQLiteError>) throws(ReadFailure) -> StateReader {
        do throws(SQLiteError) { return try reader.get() } catch { throw .disk(error) }
    }
}
