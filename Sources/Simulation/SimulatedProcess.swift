internal import Access
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
    private var watchLane: WatchLane<SimulatedProcess>?
    private var snapshotLane: SnapshotLane<SimulatedProcess>?
    let marks: FileMarks

    private var consensusMail: [ConsensusWork] = []
    private var logMail: [LogWork] = []
    private var applyMail: [ApplyWork] = []
    private var checkpointMail: [CheckpointWork] = []
    private var watchMail: [WatchWork] = []
    private var snapshotMail: [SnapshotWork] = []
    /// They said no to more.
    private var endedLanes: Set<Turn> = []
    /// It was told to stop.
    var isStopping = false
    private var isScheduled: Set<Turn> = []
    /// What the disk works on.
    private var logBatch: [LogWork] = []
    private var isFull = false

    let readGate = ReadGate()
    private(set) var view: View?
    private var pendingBytes = 0
    private(set) var removed: [NodeID] = []
    /// As of what is applied.
    private(set) var members = Configuration()
    private(set) var isWitness = false
    /// What the fabric knows of it, as of what is applied.
    private(set) var attributes: MemberAttributes?
    private var waiting: [UInt64: (Outcome) -> Void] = [:]
    private var incoming = IncomingSnapshots()
    /// Consensus after its last step.
    private(set) var seen = Seen()
    /// The last entry handed to the log.
    private var lastAppended: (index: Index, term: Term) = (0, 0)
    /// A file was damaged and begun anew.
    let wasRepaired: Bool

    enum Turn: Hashable { case consensus, log, apply, checkpoint, watch, snapshot, chores, tidy, news }

    /// Starts on what the machine's disk holds.
    init(
        machine: Int, identity: Identity, founding: Configuration?, world: World
    ) throws(StorageError) {
        self.machine = machine
        self.identity = identity
        self.world = world
        var settings = world.plan.replication
        settings.versions = world.machines[machine].versions
        self.settings = settings
        logger = world.logger(of: machine)
        directory = try DataDirectory("/sim/\(machine)")
        let isFresh = directory.isFresh()
        let disk = try MemberDisk(
            directory, identity: identity, founding: isFresh ? founding : nil, mayRepair: world.mayRepair,
            versions: settings.versions, logger: logger)
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
        checkpointer = Checkpointer(shell: self, writer: disk.writer)
        snapshotLane = SnapshotLane(shell: self)
        removed = disk.store.meta.removedMembers
        members = disk.store.meta.members
        attributes = disk.store.meta.attributes.first { $0.id == identity.memberID }?.attributes
        isWitness = members.isWitness(identity.memberID)
        replica = Replica(shell: self, raft: raft)
        view = disk.store.view()
        watchLane = WatchLane(
            shell: self, revision: disk.store.meta.revision, compactRevision: disk.store.meta.compactRevision,
            progressNanoseconds: 5 * World.second, ringBytesMax: 2000)
    }

    /// What the log holds durably.
    var logContents: LogStore.Contents? { store?.loaded() }

    /// The disk works on a batch, or one waits for it, or the log begins anew after a snapshot.
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
        watchLane = nil
        snapshotLane = nil
        waiting = [:]
        consensusMail = []
        logMail = []
        logBatch = []
        applyMail = []
        checkpointMail = []
        watchMail = []
        snapshotMail = []
    }

    // MARK: - Lanes

    func run(_ turn: Turn) {
        isScheduled.remove(turn)
        switch turn {
        case .consensus, .news: runConsensus(ticking: false)
        case .log: runLog()
        case .apply: runApply()
        case .checkpoint: runCheckpoint()
        case .watch: runWatches()
        case .snapshot: runSnapshots()
        case .chores: if logBatch.isEmpty, let logWriter { feed(logWriter, [], .log) }
        case .tidy: if let checkpointer { feed(checkpointer, [], .checkpoint) }
        }
        guard isAlive else { return }
        scheduleChores()
        if checkpointer?.due != nil, !endedLanes.contains(.checkpoint) { schedule(.tidy, after: 1_000_000) }
    }

    private func scheduleChores() {
        guard let due = logWriter?.due, !endedLanes.contains(.log) else { return }
        schedule(.chores, after: max(due - min(due, now), 1_000_000))
    }

    func tick() {
        runConsensus(ticking: true)
        guard isAlive else { return }
        runWatches()
        if isAlive, let view { slots[nextSlot].closeOld(before: view) }
    }

    /// Hands work to a lane, a piece at a time: the process may die within one.
    private func feed<L: Lane>(_ lane: L, _ work: [L.Work], _ name: Turn) where L: AnyObject {
        var lane = lane
        guard !endedLanes.contains(name) else { return lane.refuse(work) }
        for (place, piece) in (work.isEmpty ? [[]] : work.map { [$0] }).enumerated() {
            onDisk { () throws(StorageError) in
                if try !lane.handle(piece) { endedLanes.insert(name) }
            }
            guard isAlive else { return }
            if endedLanes.contains(name) { return lane.refuse(Array(work[min(place + 1, work.count)...])) }
        }
    }

    /// The same for one that is a value: nothing else may refer to it meanwhile.
    private func feed<L: Lane>(
        _ place: ReferenceWritableKeyPath<SimulatedProcess, L?>, _ work: [L.Work], _ name: Turn
    ) {
        guard var lane = self[keyPath: place] else { return }
        guard !endedLanes.contains(name) else { return lane.refuse(work) }
        self[keyPath: place] = nil
        onDisk { () throws(StorageError) in
            if try !lane.handle(work) { endedLanes.insert(name) }
        }
        if isAlive { self[keyPath: place] = lane }
    }

    private func schedule(_ turn: Turn, after nanoseconds: UInt64) {
        if isScheduled.insert(turn).inserted { world.add(.run(self, turn), after: nanoseconds) }
    }

    /// Of lanes that an overload makes slow.
    private func laneDelay() -> UInt64 {
        world.laneDelay() * (world.machines[machine].overloadedUntil > world.now ? 1000 : 1)
    }

    private func runConsensus(ticking: Bool) {
        step { replica in
            let mail = consensusMail
            consensusMail = []
            guard !endedLanes.contains(.consensus) else { return }
            guard replica.handle(mail) else {
                endedLanes.insert(.consensus)
                return
            }
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
        if let due = seen.newsDue, !endedLanes.contains(.consensus) { schedule(.news, after: due - min(due, now)) }
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
        if endedLanes.contains(.log) {
            logWriter?.refuse(work)
        } else {
            onDisk { () throws(StorageError) in
                if try logWriter?.handle(work) == false { endedLanes.insert(.log) }
            }
        }
        logBatch = []
        guard isAlive, let contents = store?.loaded() else { return }
        if work.contains(where: { if case .reset = $0 { true } else { false } }) { isReplacing = false }
        world.noteDurable(contents, of: self)
        isScheduled.remove(.log)
        if !logMail.isEmpty { schedule(.log, after: world.laneDelay()) }
        scheduleChores()
    }

    private func runApply() {
        let work = applyMail
        applyMail = []
        if let applier { feed(applier, work, .apply) }
    }

    private func runCheckpoint() {
        let work = checkpointMail
        checkpointMail = []
        for item in work {
            guard isAlive, let checkpointer else { return }
            if case .write = item {
                world.temptDisk(machine, chance: 0.02)
                world.temptFullDisk(machine)
            }
            feed(checkpointer, [item], .checkpoint)
        }
    }

    private func runWatches() {
        let work = watchMail
        watchMail = []
        feed(\.watchLane, work, .watch)
    }

    private func runSnapshots() {
        let work = snapshotMail
        snapshotMail = []
        if work.contains(where: { if case .send = $0 { true } else { false } }) { world.temptImage(of: machine) }
        feed(\.snapshotLane, work, .snapshot)
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
        // From here on others may count on it, whatever becomes of the rest of the batch.
        switch work {
        case .raft(.appended), .raft(.installed):
            world.durable[identity.memberID] = max(
                world.durable[identity.memberID] ?? 0, store?.loaded().lastIndex ?? 0)
        default: break
        }
        guard !endedLanes.contains(.consensus) else {
            if case .read(let read) = work { read.proceed(.stopping) }
            return
        }
        consensusMail.append(work)
        if wakes { schedule(.consensus, after: world.laneDelay()) }
    }

    func post(_ work: LogWork) -> Bool {
        guard !endedLanes.contains(.log) else { return false }
        switch work {
        case .append(_, let append?, _, _): noteAppended(append)
        case .reset(let mark): lastAppended = (mark.index, mark.term)
        default: break
        }
        logMail.append(work)
        schedule(.log, after: world.laneDelay())
        return true
    }

    private func noteAppended(_ append: Ready.Append) {
        guard let last = append.entries.last else { return }
        let previous = append.firstIndex == lastAppended.index + 1 ? lastAppended.term : nil
        lastAppended = (last.index, last.term)
        world.attempt { () throws(Violation) in
            try world.oracle.noteAppended(append.entries, at: identity.memberID, previousTerm: previous)
        }
    }

    func post(_ work: ApplyWork) -> Bool {
        guard !endedLanes.contains(.apply) else { return false }
        if case .entries(let entries) = work {
            world.attempt { () throws(Violation) in
                for entry in entries { try world.oracle.noteCommitted(entry, at: identity.memberID, now: world.now) }
            }
            if !checkpointMail.isEmpty { world.temptStop(machine) }
        }
        applyMail.append(work)
        schedule(.apply, after: laneDelay())
        return true
    }

    func post(_ work: CheckpointWork) -> Bool {
        guard !endedLanes.contains(.checkpoint) else { return false }
        checkpointMail.append(work)
        let kept = world.machines[machine].keepsStateUntil
        schedule(.checkpoint, after: max(laneDelay() * 10, kept - min(kept, world.now)))
        return true
    }

    func post(_ work: WatchWork) {
        watchMail.append(work)
        // Now and then the lane has much to do, and then it has no room.
        schedule(.watch, after: world.laneDelay() * (world.dice.chance(0.05) ? 2000 : 1))
    }

    private static let watchBytesMax = 400

    var areWatchesFull: Bool { watchMail.reduce(0) { $0 + $1.bytes } >= Self.watchBytesMax }

    func post(_ work: SnapshotWork) {
        snapshotMail.append(work)
        schedule(.snapshot, after: world.laneDelay())
    }

    func send(_ messages: [Message]) {
        world.send(messages, from: self)
    }

    func send(_ image: SnapshotImage, to peer: NodeID) {
        world.add(.chunk(SnapshotTransfer(sender: self, peer: peer, image: image)), after: world.plan.linkNanoseconds)
    }

    var imageSource: (configuration: Configuration, appliedIndex: Index, firstIndex: Index)? {
        guard let raft = replica?.raft, let view else { return nil }
        return (raft.configuration, view.appliedIndex, raft.log.baseIndex + 1)
    }

    func noteDamage(_ error: StorageError) {
        if case .damaged = error { world.processDied(self, "\(error)", error) }
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
        isReplacing = true
        world.temptDisk(machine, chance: 0.2)
        let work = checkpointMail + [.replaceState(by: path, opened: {})]
        checkpointMail = []
        let before = slots.map { _ in read(Self.readAll) }
        for item in work where try !checkpointer.handle([item]) { throw .unusable("the lane has ended") }
        for old in before { expect(read(Self.readAll), asBefore: old) }
        expectRefusal(asBefore: before[0])
        return try storage(directory.statePath) { () throws(SQLiteError) in
            try MemberDisk.openStore(directory.statePath, marks)
        }
    }

    /// All keys, in the newest state that is published.
    private static func readAll(
        _ view: View, _ reader: Result<StateReader, SQLiteError>
    ) -> Result<RangeResult, ReadFailure> {
        range(RangeRequest(range: KeyRange(prefix: [])), view, reader)
    }

    /// While another file is in place and its state not published, whoever could read goes on.
    private func expect(_ found: Result<RangeResult, ReadFailure>, asBefore before: Result<RangeResult, ReadFailure>) {
        guard case .success(let before) = before else { return }
        switch found {
        case .success(let found) where found.pairs == before.pairs && found.revision == before.revision: return
        case .failure(.disk(let error)) where !error.isBusy: return
        default:
            world.fail(
                Violation(
                    check: "a reader keeps to its state while another takes its place",
                    detail: "\(found) instead of revision \(before.revision)"))
        }
    }

    /// A thread that has read nothing yet finds the other file: it is turned away, or answers as the old one.
    private func expectRefusal(asBefore before: Result<RangeResult, ReadFailure>) {
        guard let view else { return }
        let found = ReaderSlot(path: directory.statePath, marks: marks, cacheBytes: 64 << 10).read(
            { view }, Self.readAll)
        if case .failure(.disk(let error)) = found, error.isBusy { return }
        expect(found, asBefore: before)
    }

    func noteFabric(_ changes: [FabricChange], revision: Int64) {}
    func note(_ events: [TokenEvent]) {}

    func noteReplaced(fabricRevision: Int64) {}

    // MARK: - Watches

    func watch(_ request: WatchRequest, _ stream: WatchStream) {
        post(.create(request, stream, revision: view?.revision ?? 0))
    }
    func resume(_ stream: WatchStream) { post(WatchWork.resume(stream)) }
    func close(_ stream: WatchStream) { post(WatchWork.close(stream)) }

    func readHistory(_ read: HistoryRead) { world.add(.history(self, read), after: world.laneDelay()) }
    func noteReadFailure(_ error: SQLiteError) throws(StorageError) {
        throw StorageError(error, path: directory.statePath)
    }
    func noteWatches(streams: Int, watches: Int) {}
    var hasLeaderLately: Bool { true }

    /// Reads the history that a watch waits for.
    func answer(_ read: HistoryRead) {
        let found = self.read { view, reader in
            Result { () throws(ReadFailure) in
                let found = try view.history(
                    from: read.from, through: read.through, bytesMax: 500, try Self.opened(reader))
                return HistoryFound(changes: found.changes, through: found.through, hold: nil)
            }
        }
        post(WatchWork.history(read, found))
    }

    // MARK: - Stopping

    /// Ends in order: hands over the lead, then one lane after the other.
    func stop(flush: Bool, _ done: @escaping @Sendable () -> Void) {
        isStopping = true
        post(.retire { [unowned self] in stopLanes(flush: flush, done) })
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
    private static let applyBytesMax = 4000

    var isBehind: Bool {
        pendingBytes > settings.pendingBytesMax
            || applyMail.reduce(0) { $0 + $1.bytes } >= Self.applyBytesMax
    }

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
        attributes = meta.attributes.first { $0.id == identity.memberID }?.attributes
        if removed.contains(identity.memberID) { world.add(.removed(self), after: world.laneDelay()) }
    }

    func leave() {}
    func noteBegun() {}

    var isCurrent: Bool { view.map { readGate.isCurrent(applied: $0.appliedIndex) { now } } ?? false }

    /// Reads the state as it is now.
    func read(_ request: RangeRequest) -> Result<RangeResult, ReadFailure>? {
        guard view != nil else { return nil }
        var result: Result<RangeResult, ReadFailure>?
        onDisk { () throws(StorageError) in
            result = self.read { Self.range(request, $0, $1) }
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

    private static func range(
        _ request: RangeRequest, _ view: View, _ reader: Result<StateReader, SQLiteError>
    ) -> Result<RangeResult, ReadFailure> {
        Result { () throws(ReadFailure) in try view.range(request, try opened(reader)) }
    }

    private static func opened(_ reader: Result<StateReader, SQLiteError>) throws(ReadFailure) -> StateReader {
        do throws(SQLiteError) { return try reader.get() } catch { throw .disk(error) }
    }
}
