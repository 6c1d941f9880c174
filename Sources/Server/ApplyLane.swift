internal import Bytes
internal import Logging
internal import MVCC
internal import Raft
internal import SQLite
internal import Storage
internal import Transport

/// The thread that owns the state: it applies committed entries, answers those who proposed them, and lets reads go on
/// once the state is as recent as they need.
final class ApplyLane: Sendable {
    enum Work: Sendable {
        case entries([Entry])
        case reads([PendingRead], at: Index)
        /// The frozen memtable is in `kv.db`.
        case written
        case tick
        case install(SnapshotMark, path: String)
        /// Writes everything to `kv.db` and ends.
        case stop(Rendezvous<Void>, flush: Bool)
    }

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<KeyValueStore>) {
        var owner = Owner(core: core, store: handover.take())
        while true {
            for work in mailbox.take(until: nil) {
                switch work {
                case .entries(let entries): owner.apply(entries)
                case .reads(let reads, let index): owner.proceed(reads, at: index)
                case .written: owner.noteWritten()
                case .tick: owner.freezeIfOld()
                case .install(let mark, let path): owner.install(mark, path: path)
                case .stop(let done, let flush):
                    if flush { self.flush(&owner) }
                    owner.failReads()
                    done.fulfil(())
                    return
                }
            }
        }
    }

    /// Has the checkpoint lane write all there is, applying nothing more.
    private func flush(_ owner: inout Owner) {
        while owner.mustFlush {
            for work in mailbox.take(until: nil) {
                switch work {
                case .written: owner.noteWritten()
                case .reads(let reads, _): for read in reads { read.proceed(.stopping) }
                case .entries, .tick, .install, .stop: break
                }
            }
        }
    }
}

/// What only the apply lane's thread touches.
private struct Owner {
    private let core: MemberCore
    /// Nil while the file is being replaced.
    private var openStore: KeyValueStore?
    private var waitingReads: [(index: Index, read: PendingRead)] = []
    private var frozenAt = monotonicNanoseconds()
    /// If this member is known to have begun.
    private var isConfirmed = false
    /// What the newest frozen memtable completes.
    private var frozenIndex: Index

    init(core: MemberCore, store: KeyValueStore) {
        self.core = core
        openStore = store
        frozenIndex = store.meta.appliedIndex
    }

    private var store: KeyValueStore {
        guard let openStore else { preconditionFailure("kv.db is closed") }
        return openStore
    }

    mutating func apply(_ entries: [Entry]) {
        guard let last = entries.last else { return }
        var answers: [(id: UInt64, outcome: Outcome)] = []
        answers.reserveCapacity(entries.count)
        for entry in entries {
            core.orFailSQLite { () throws(SQLiteError) in
                if let answer = try apply(entry) { answers.append(answer) }
            }
        }
        confirm()
        core.publish(store)
        core.consensus.post(.applied(last.index, term: last.term, completed: answers.map(\.id)))
        for (id, outcome) in answers { core.requests.finish(id, outcome) }
        releaseReads()
        freezeIfLarge()
    }

    private mutating func confirm() {
        guard !isConfirmed, store.meta.appliedIndex > RunningMember.foundingIndex else { return }
        isConfirmed = true
        core.transport.directory.confirm()
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
            let result = try store.apply(
                command, index: entry.index, term: entry.term, wantsAnswer: core.requests.contains(id))
            core.metrics.proposalsApplied.add()
            switch result {
            case .success(let result):
                if case .published = result { core.noteMembership(store.meta, removed: []) }
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
        let before = core.decodeConfiguration(store.meta.configuration)
        let members = change.configuration.members.map(\.id)
        let removed = before.members.map(\.id).filter { !members.contains($0) }
        var writer = ByteWriter()
        change.configuration.encode(into: &writer)
        store.applyConfiguration(
            writer.bytes, memberIDs: members, removed: removed, index: entry.index, term: entry.term)
        core.noteMembership(store.meta, removed: removed)
    }

    // MARK: - Reads

    mutating func proceed(_ reads: [PendingRead], at index: Index) {
        if store.meta.appliedIndex >= index {
            for read in reads { read.proceed(nil) }
        } else {
            waitingReads += reads.map { (index, $0) }
        }
    }

    mutating func failReads() {
        for (_, read) in waitingReads { read.proceed(.stopping) }
        waitingReads = []
    }

    private mutating func releaseReads() {
        guard !waitingReads.isEmpty else { return }
        let applied = store.meta.appliedIndex
        for (index, read) in waitingReads where index <= applied { read.proceed(nil) }
        waitingReads.removeAll { $0.index <= applied }
    }

    // MARK: - Memory to file

    private mutating func freezeIfLarge() {
        if store.activeBytes >= core.settings.memtableBytesMax { freeze() }
    }

    mutating func freezeIfOld() {
        let now = monotonicNanoseconds()
        for (_, read) in waitingReads where read.deadline < now { read.proceed(.timeout) }
        waitingReads.removeAll { $0.read.deadline < now }
        let isOld = now - frozenAt >= core.settings.memtableMillisecondsMax * 1_000_000
        if isOld, store.meta.appliedIndex > frozenIndex { freeze() }
    }

    private mutating func freeze() {
        guard let frozen = store.freeze() else { return }
        frozenAt = monotonicNanoseconds()
        frozenIndex = frozen.meta.appliedIndex
        core.checkpoints.post(.write(frozen))
        core.publish(store)
    }

    mutating func noteWritten() {
        store.dropFrozen()
        core.publish(store)
        freezeIfLarge()
    }

    /// If something is not in the file yet; sets it on its way.
    var mustFlush: Bool {
        mutating get {
            if store.isFreezing { return true }
            guard store.meta.appliedIndex > frozenIndex else { return false }
            freeze()
            return true
        }
    }

    // MARK: - Snapshots

    /// Replaces the state by an image. At every moment the directory holds either the old state whole or the new one:
    /// the old file is closed with its write-ahead log emptied before the image takes its name.
    mutating func install(_ mark: SnapshotMark, path: String) {
        let opened = Rendezvous<Void>()
        let published = Rendezvous<Void>()
        let core = core
        openStore = nil
        core.checkpoints.post(
            .install(
                swap: {
                    core.orFail { () throws(StorageError) in
                        for suffix in ["-wal", "-shm"] { try File.remove(core.directory.statePath + suffix) }
                        try File.syncDirectory(of: core.directory.statePath)
                        try File.rename(path, to: core.directory.statePath)
                    }
                }, opened: opened, published: published))
        opened.wait()
        openStore = core.orFailSQLite { () throws(SQLiteError) in try core.openStore() }
        precondition(
            store.meta.appliedIndex == mark.index, "the image is of \(store.meta.appliedIndex), not \(mark.index)")
        frozenIndex = mark.index
        core.metrics.snapshotsReceived.add()
        confirm()
        core.noteMembership(store.meta, removed: [])
        core.publish(store)
        published.fulfil(())
        core.logs.post(.reset(mark))
        releaseReads()
    }
}
