internal import Access
internal import Bytes
internal import Fabric
internal import Logging
package import MVCC
internal import Raft
internal import SQLite
package import Storage

/// Owns the state: applies committed entries, answers those who proposed them, and lets reads go on once the state is as
/// recent as they need. Owned by one thread, the apply lane. What it throws is final.
package final class Applier<Shell: ReplicationShell>: Lane {
    /// How long something that the member itself proposes is tried.
    private static var patienceNanoseconds: UInt64 { 2_000_000_000 }
    /// A fabric that is slower than its leader proposes would never catch up: what is on its way is awaited for so long.
    private static var onItsWayNanoseconds: UInt64 { 10_000_000_000 }
    private let shell: Shell
    private var store: KeyValueStore
    private var waitingReads: [(index: Index, read: PendingRead)] = []
    /// Committed entries, in order, that wait until `kv.db` has taken some of what is in memory: few bytes of the log may write many.
    private var waitingEntries = ArraySlice<Entry>()
    private var frozenAt: UInt64
    private var hasBegun = false
    private var isFreezeDue = false
    /// Of the newest entry.
    private var appliedTerm: Term = 0
    /// It keeps the log and no state but the membership.
    private var isWitness: Bool
    /// What the newest frozen memtable completes.
    private var frozenIndex: Index
    private var lessor: Lessor
    /// The ends of leases that this member, as the leader of `term`, proposed last; nil once they are applied.
    private var expiry: (id: UInt64, term: Term?, until: UInt64)?
    private var compactor: AutoCompactor
    private var quota: QuotaKeeper
    private var planner = FabricPlanner()
    /// In use of `kv.db`.
    private var fileBytes: Int64 = 0
    /// What watchers were told of last.
    private var compactRevision: Int64 = 0
    /// The revision that the newest frozen memtable completes.
    private var frozenRevision: Int64
    /// Watches were not told of the changes through this revision: they had no room.
    private var skippedThrough: Int64?
    /// It is to end, and says so when it has.
    private var ended: (@Sendable () -> Void)?

    package init(shell: Shell, store: KeyValueStore) {
        self.shell = shell
        self.store = store
        frozenAt = shell.now
        frozenIndex = store.meta.appliedIndex
        frozenRevision = store.meta.revision
        isWitness = store.meta.members.isWitness(shell.identity.memberID)
        planner.follow(store.meta.members)
        lessor = Lessor(store.leases, now: shell.now, settings: shell.settings)
        compactor = AutoCompactor(shell.settings.autoCompaction, now: shell.now)
        quota = QuotaKeeper(memberID: shell.identity.memberID, quotaBytes: shell.settings.quotaBytes)
    }

    package func handle(_ work: [ApplyWork]) throws(StorageError) -> Bool {
        for (place, item) in work.enumerated() where try !handle(item) {
            refuse(Array(work[(place + 1)...]))
            return false
        }
        return true
    }

    package func refuse(_ work: [ApplyWork]) {
        for item in work {
            switch item {
            case .reads(let reads, _): for read in reads { read.proceed(.stopping) }
            case .stop(_, let done): done()
            case .entries, .written, .freeze, .measured, .tick, .install, .leave: break
            }
        }
    }

    /// Does one piece of work; false when it has ended.
    private func handle(_ work: ApplyWork) throws(StorageError) -> Bool {
        if ended != nil { return handleLate(work) }
        switch work {
        case .entries(let entries):
            waitingEntries = waitingEntries.isEmpty ? entries[...] : waitingEntries + entries
            try applyWaiting()
        case .reads(let reads, let index): proceed(reads, at: index)
        case .written(let bytes):
            if let bytes { fileBytes = bytes }
            noteWritten()
            if !makes(.leavesWhatWaits) { try applyWaiting() }
        case .freeze: if store.meta.appliedIndex > frozenIndex { freeze() }
        case .measured(let bytes):
            fileBytes = bytes
            shell.publish(storedBytes: storedBytes)
        case .tick(let term):
            freezeIfOld()
            noteSkipped()
            keepTime(leading: term)
        case .install(let mark, let path): try install(mark, path: path)
        case .leave: shell.leave()
        case .stop(let flush, let done):
            for (_, read) in waitingReads { read.proceed(.stopping) }
            waitingReads = []
            waitingEntries = []
            ended = done
            return !end(flush)
        }
        return true
    }

    // MARK: - End

    /// Applies nothing more. What writes the rest may be in the same batch as the order to end: leaving it there was a stop that
    /// never ended.
    private func handleLate(_ work: ApplyWork) -> Bool {
        guard case .written = work, !makes(.missesWhatEndsIt) else {
            refuse([work])
            return true
        }
        noteWritten()
        return makes(.endsBeforeAllIsWritten) ? !finish() : !end(true)
    }

    /// Ends, once everything is in the file if that is wanted. Answers if it has.
    private func end(_ flush: Bool) -> Bool {
        if flush, store.isFreezing { return false }
        if flush, store.meta.appliedIndex > frozenIndex {
            freeze()
            return false
        }
        return finish()
    }

    private func finish() -> Bool {
        ended?()
        return true
    }

    /// More is in memory than may be: until `kv.db` has taken some of it nothing is applied.
    private var isFull: Bool { store.pendingBytes > shell.settings.pendingBytesMax }

    private func applyWaiting() throws(StorageError) {
        while !waitingEntries.isEmpty, !(isFull && store.isFreezing) {
            // The state right before it decides if the fabric's version rises.
            let next = waitingEntries.dropFirst().firstIndex { $0.raisedVersion != nil }
            try applyTogether(waitingEntries[..<(next ?? waitingEntries.endIndex)])
            waitingEntries = waitingEntries.drop { $0.index <= store.meta.appliedIndex }
        }
        // Its storage would keep all that was applied.
        if waitingEntries.isEmpty { waitingEntries = [] }
    }

    /// Applies the first of `entries`, and those behind it until memory is full.
    private func applyTogether(_ entries: ArraySlice<Entry>) throws(StorageError) {
        for entry in entries { try store.meta.expectKnown(entry, shell.settings.versions) }
        var answers: [(id: UInt64, outcome: Outcome)] = []
        answers.reserveCapacity(entries.count)
        var rest = entries
        try storage(shell.directory.statePath) { () throws(SQLiteError) in
            repeat {
                guard let entry = rest.popFirst() else { return }
                if let answer = try apply(entry) { answers.append(answer) }
            } while !isFull
        }
        lessor.handle(store.takeLeaseEvents(), now: shell.now)
        let tokenEvents = store.takeTokenEvents()
        if !tokenEvents.isEmpty { shell.note(tokenEvents) }
        noteBegun()
        publish()
        noteChanges()
        for (id, outcome) in answers {
            if id == expiry?.id { expiry = nil }
            shell.finish(id, outcome)
        }
        // In a new term consensus has something to do for it: see `Replica.noteApplied`.
        shell.post(
            .applied(store.meta.appliedIndex, term: store.meta.appliedTerm, completed: answers.map(\.id)),
            wakes: store.meta.appliedTerm != appliedTerm)
        appliedTerm = store.meta.appliedTerm
        releaseReads()
        freezeIfDue()
    }

    /// In the file and in memory.
    private var storedBytes: Int64 { fileBytes + Int64(store.pendingBytes) }

    private var isNearlyFull: Bool {
        Double(storedBytes) > 0.8 * Double(shell.settings.quotaBytes)
    }

    private func noteChanges() {
        let fabricChanges = store.takeFabricChanges()
        if !fabricChanges.isEmpty { shell.noteFabric(fabricChanges, revision: store.fabric.revision) }
        let changes = store.takeChanges()
        guard !changes.isEmpty || store.meta.compactRevision != compactRevision else { return }
        compactRevision = store.meta.compactRevision
        // Watches that are behind by so much find the rest in `kv.db`.
        if shell.areWatchesFull {
            skippedThrough = store.meta.revision
        } else {
            noteSkipped()
            shell.post(
                WatchWork.changes(changes, revision: store.meta.revision, compactRevision: compactRevision))
        }
    }

    /// Says, once there is room again, that changes were left out.
    private func noteSkipped() {
        guard let revision = skippedThrough, !shell.areWatchesFull else { return }
        skippedThrough = nil
        shell.post(WatchWork.skipped(through: revision, compactRevision: compactRevision))
    }

    private func publish() {
        shell.publish(store.view(), pendingBytes: store.pendingBytes)
        // At once: puts that are let in by an old count overshoot the quota.
        shell.publish(storedBytes: storedBytes)
    }

    private func noteBegun() {
        guard !hasBegun, store.meta.appliedIndex > MemberDisk.foundingIndex else { return }
        hasBegun = true
        shell.noteBegun()
    }

    private func apply(_ entry: Entry) throws(SQLiteError) -> (UInt64, Outcome)? {
        switch entry.kind {
        case .empty:
            store.applyNothing(index: entry.index, term: entry.term)
            return nil
        case .command:
            guard let (id, command) = CommandEnvelope.open(entry.payload) else {
                store.applyNothing(index: entry.index, term: entry.term)
                return nil
            }
            if let refusal = store.meta.refusalToRaise(entry) {
                store.applyNothing(index: entry.index, term: entry.term)
                return (id, .failure(.refused(refusal)))
            }
            if isWitness, !CommandEnvelope.isForWitnesses(entry.payload) {
                if CommandEnvelope.isOfAccess(entry.payload) {
                    store.applyUnknownAccess(index: entry.index, term: entry.term)
                } else {
                    store.applyNothing(index: entry.index, term: entry.term)
                }
                // It was asked before it knew that it is one; what came of it the others know.
                return (id, .failure(.timeout))
            }
            let compacted = store.meta.compactRevision
            let result = try store.apply(
                command, index: entry.index, term: entry.term, wantsAnswer: shell.awaits(id))
            // Rows go once the file knows: who compacts for want of room does not wait for the next checkpoint.
            if store.meta.compactRevision != compacted, isNearlyFull { isFreezeDue = true }
            shell.metrics.proposalsApplied.add()
            switch result {
            case .success(let result):
                if CommandEnvelope.isForWitnesses(entry.payload) { shell.noteMembership(store.meta) }
                return (id, .success(Applied(result: result, revision: store.meta.revision, term: entry.term)))
            case .failure(let refusal): return (id, .failure(.refused(refusal)))
            }
        case .configuration:
            guard let change = try? ConfigurationEntry(decoding: entry.payload) else {
                preconditionFailure("entry \(entry.index) holds no configuration, though its checksum is right")
            }
            apply(change, of: entry)
            let applied = Applied(result: .done, revision: store.meta.revision, term: entry.term)
            return change.requestID == 0 ? nil : (change.requestID, .success(applied))
        }
    }

    private func apply(_ change: ConfigurationEntry, of entry: Entry) {
        store.apply(change.configuration, index: entry.index, term: entry.term)
        // A witness that is removed has no more state than before.
        isWitness = isWitness || change.configuration.isWitness(shell.identity.memberID)
        planner.follow(change.configuration)
        shell.noteMembership(store.meta)
    }

    // MARK: - Reads

    private func proceed(_ reads: [PendingRead], at index: Index) {
        if store.meta.appliedIndex >= index || makes(.readsBeforeTheyAreApplied) {
            for read in reads { read.proceed(nil) }
        } else {
            waitingReads += reads.map { (index, $0) }
        }
    }

    private func releaseReads() {
        guard !waitingReads.isEmpty else { return }
        let applied = store.meta.appliedIndex
        for (index, read) in waitingReads where index <= applied { read.proceed(nil) }
        waitingReads.removeAll { $0.index <= applied }
    }

    // MARK: - Memory to file

    private func freezeIfDue() {
        guard isFreezeDue || store.activeBytes >= memtableBytesMax, !store.isFreezing else { return }
        isFreezeDue = false
        freeze()
    }

    /// The more keys there are, the fewer of those in a memtable share a page of the index, and each such page is written
    /// whole: so more of them are gathered.
    private var memtableBytesMax: Int {
        let least = shell.settings.memtableBytesMax
        return max(least, min(3 * least, 32 * Int(clamping: store.meta.keyCount)))
    }

    private func freezeIfOld() {
        let now = shell.now
        for (_, read) in waitingReads where read.deadline < now { read.proceed(.timeout) }
        waitingReads.removeAll { $0.read.deadline < now }
        let isOld = now - frozenAt >= shell.settings.memtableMillisecondsMax * 1_000_000
        if isOld, store.meta.appliedIndex > frozenIndex { freeze() }
    }

    /// Proposes what a leader has to because time has passed.
    private func keepTime(leading term: Term?) {
        let wall = shell.wallMilliseconds
        let isAwaiting = expiry.map { $0.term == term && shell.now < $0.until } ?? false
        let ends = lessor.tick(
            now: shell.now, wall: wall, leading: term, isAwaiting: isAwaiting, store.fabric.leases)
        for command in ends {
            expiry = (propose(command), term, shell.now + Self.onItsWayNanoseconds)
        }
        let plan = planner.tick(now: shell.now, wall: wall, isLeading: term != nil, store.fabric)
        if let plan { propose(plan) }
        let old = compactor.tick(
            now: shell.now, isLeading: term != nil, revision: store.meta.revision,
            compactRevision: store.meta.compactRevision)
        if let old { propose(.compact(revision: old)) }
        let bytes = storedBytes
        guard !isWitness, let command = quota.tick(now: shell.now, bytes: bytes, alarms: store.meta.alarms) else {
            return
        }
        if case .raiseAlarm = command {
            shell.logger.error(
                "\(bytes) bytes are stored, over the quota of \(shell.settings.quotaBytes): puts are refused until keys are deleted and history is compacted"
            )
        } else {
            shell.logger.info("\(bytes) bytes are stored, under the quota again: puts are taken")
        }
        propose(command)
    }

    @discardableResult
    private func propose(_ command: Command) -> UInt64 {
        let id = shell.makeRequestID()
        let proposal = Proposal(id: id, kind: .command, payload: CommandEnvelope.encode(command, requestID: id))
        shell.post(ConsensusWork.propose(proposal, deadline: shell.now + Self.patienceNanoseconds))
        return id
    }

    private func freeze() {
        guard let frozen = store.freeze() else { return }
        frozenAt = shell.now
        frozenIndex = frozen.meta.appliedIndex
        frozenRevision = frozen.meta.revision
        shell.post(CheckpointWork.write(frozen))
        publish()
    }

    private func noteWritten() {
        store.dropFrozen()
        publish()
        shell.post(WatchWork.written(through: frozenRevision))
        freezeIfDue()
    }

    // MARK: - Snapshots

    private func install(_ mark: SnapshotMark, path: String) throws(StorageError) {
        store = try shell.replaceState(by: path)
        try store.meta.expectKnown(shell.settings.versions, path: shell.directory.path)
        precondition(
            store.meta.appliedIndex == mark.index, "the image is of \(store.meta.appliedIndex), not \(mark.index)")
        waitingEntries = waitingEntries.drop { $0.index <= mark.index }
        frozenIndex = mark.index
        frozenRevision = store.meta.revision
        isWitness = mark.configuration.isWitness(shell.identity.memberID)
        planner.follow(mark.configuration)
        lessor = Lessor(store.leases, now: shell.now, settings: shell.settings)
        shell.metrics.snapshotsReceived.add()
        noteBegun()
        shell.noteMembership(store.meta)
        publish()
        skippedThrough = nil
        compactRevision = store.meta.compactRevision
        shell.post(WatchWork.replaced(revision: store.meta.revision, compactRevision: compactRevision))
        shell.noteReplaced(fabricRevision: store.fabric.revision)
        // Which ended among what was not applied here is not known.
        shell.note([.allEnded])
        shell.post(LogWork.reset(mark))
        releaseReads()
    }
}
