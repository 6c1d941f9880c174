internal import Bytes
internal import Fabric
package import Logging
internal import MVCC
package import Raft
internal import SQLite
package import Storage

/// A fabric goes on from what one member has: when the others are lost and will not come back.
package enum Recovery {
    /// What a member has, and what it cannot know.
    package struct Findings: Sendable {
        package let identity: Identity
        /// Of the newest entry of its log.
        package let lastIndex: Index
        package let lastTerm: Term
        /// What it knew to be committed. Later entries of its log are kept all the same: they may have been acknowledged.
        package let commit: Index
        /// As of the end of its log.
        package let configuration: Configuration
        /// The one that it knows to be committed, and those after it in its log.
        let configurations: [Configuration]
        /// It lost its log, and had not got back what it had acknowledged.
        package let lacksLog: Bool
        /// Entries that could still be read of that log.
        package let salvaged: Int
        /// Volumes with several replicas that have everything, as far as this member knows.
        package let sharedVolumes: Int
        package let names: [NodeID: String]

        package var own: Member? { configuration[identity.memberID] }
        package var others: [Member] { configuration.members.filter { $0.id != identity.memberID } }

        /// If others could acknowledge writes that this one has not seen.
        package var mayLackWrites: Bool {
            lacksLog || configurations.contains { $0.isQuorum { $0 != identity.memberID } }
        }
    }

    /// Looks at a member's directory; nothing is changed in it that a start would not change.
    package static func inspect(
        _ directory: DataDirectory, _ identity: Identity, logger: Logger
    ) throws(StorageError) -> Findings {
        let disk = try MemberDisk(directory, identity: identity, founding: nil, mayRepair: false, logger: logger)
        let contents = disk.log.loaded()
        let (tail, salvaged) = try tail(of: disk, in: directory)
        let configurations = configurations(of: disk, tail)
        let members = configurations.last ?? Configuration()
        guard !members.members.isEmpty else {
            throw .unusable(
                "\(directory.path) belongs to a member that has no state: it never had one, or lost it; recover from another"
            )
        }
        guard !members.isWitness(identity.memberID) else {
            throw .unusable(
                "\(directory.path) belongs to a witness, which holds no keys: recover from a member with data")
        }
        return Findings(
            identity: identity,
            lastIndex: tail.last?.index ?? max(contents.lastIndex, disk.store.meta.appliedIndex),
            lastTerm: tail.last?.term ?? contents.runs.last?.term ?? disk.store.meta.appliedTerm,
            commit: max(contents.hardState.commit, disk.store.meta.appliedIndex), configuration: members,
            configurations: configurations, lacksLog: contents.isRecovering, salvaged: salvaged,
            sharedVolumes: disk.store.fabric.volumes().count { $0.replicas.count { $0.state == .current } > 1 },
            names: names(in: disk, tail))
    }

    private static func names(in disk: borrowing MemberDisk, _ tail: [Entry]) -> [NodeID: String] {
        var names = Dictionary(disk.store.meta.attributes.map { ($0.id, $0.attributes.name) }) { $1 }
        for entry in tail where entry.kind == .command {
            guard var (_, reader) = CommandEnvelope.open(entry.payload),
                case .publish(let id, let attributes)? = try? Command(from: &reader)
            else { continue }
            names[id] = attributes.name
        }
        return names
    }

    private static func configurations(of disk: borrowing MemberDisk, _ tail: [Entry]) -> [Configuration] {
        let later = tail.filter { $0.kind == .configuration }
            .compactMap { try? ConfigurationEntry(decoding: $0.payload).configuration }
        return [disk.store.meta.members] + later
    }

    /// What is in the log and not in the state. Of a log that was set aside the rest, as far as it can be read: it may have been
    /// acknowledged. Answers how many those are.
    private static func tail(
        of disk: borrowing MemberDisk, in directory: DataDirectory
    ) throws(StorageError) -> (entries: [Entry], salvaged: Int) {
        let contents = disk.log.loaded()
        let meta = disk.store.meta
        let isAhead = meta.appliedIndex < contents.lastIndex
        let entries =
            isAhead
            ? try disk.log.entries(from: meta.appliedIndex + 1, through: contents.lastIndex, costMax: .max) : []
        guard contents.isRecovering else { return (entries, 0) }
        let lost = try SetAsideLog.entries(
            of: directory.logPath, after: entries.last?.index ?? meta.appliedIndex,
            term: entries.last?.term ?? meta.appliedTerm)
        return (entries + lost, lost.count)
    }

    /// Fills the fresh directory `target` with all that the member in `source` has, as the one member of another fabric.
    /// - Parameters:
    ///   - at: milliseconds since 1970, for the record.
    ///   - revisionBump: how much the revision grows: what was acknowledged elsewhere had revisions, too.
    package static func rebuild(
        from source: DataDirectory, _ findings: Findings, as identity: Identity, founding: Configuration,
        into target: DataDirectory, at: Int64, by: String, revisionBump: Int64, logger: Logger
    ) throws(StorageError) -> (revision: Int64, keys: Int64) {
        try target.beginFirstStart()
        let entries: [Entry]
        do {
            let disk = try MemberDisk(
                source, identity: findings.identity, founding: nil, mayRepair: false, logger: logger)
            entries = try tail(of: disk, in: source).entries
            try SnapshotImage.copyState(of: source, disk.marks, to: target.statePath)
        }
        let trace = Trace(at: at, by: by, reason: "recovered from \(findings.identity.name)")
        let plan = Backup.Plan(identity: identity, founding: founding, revisionBump: revisionBump, compacts: true)
        let meta = try beginAnew(target, after: entries, plan, trace)
        return (meta.revision, meta.keyCount)
    }

    /// Makes a member of a fabric that is founded of a directory with another fabric's state. The fabric's records leap: others may
    /// have had newer ones.
    /// - Parameters:
    ///   - entries: what comes after the state.
    ///   - trace: for the record; nil takes the time of the newest event, so that all founders write the same.
    static func beginAnew(
        _ directory: DataDirectory, after entries: [Entry], _ plan: Backup.Plan, _ trace: Trace?
    ) throws(StorageError) -> StateMeta {
        let (writer, store) = try storage(opening: directory.statePath) { () throws(SQLiteError) in
            let writer = try StateWriter(path: directory.statePath, initial: nil)
            return (writer, try MemberDisk.openStore(directory.statePath, FileMarks()))
        }
        try store.meta.expectKnown(FabricVersion.supported, path: directory.statePath)
        for entry in entries where !makes(.recoversWithoutLog) {
            try store.meta.expectKnown(entry, FabricVersion.supported)
            try storage(opening: directory.statePath) { () throws(SQLiteError) in try apply(entry, to: store) }
        }
        let meta = try storage(opening: directory.statePath) { () throws(SQLiteError) in
            let newest = store.fabric.events(after: (store.fabric.lastEvent ?? 1) - 1).first { _ in true }
            try store.recover(
                trace ?? Trace(at: newest?.trace.at ?? 0, by: "fabric", reason: "restored from a backup"))
            guard let frozen = store.freeze() else {
                preconditionFailure("a store that was just opened is being written")
            }
            try writer.write(frozen)
            var meta = StateMeta(clusterID: plan.identity.clusterID)
            meta.configuration = plan.founding.encoded()
            meta.appliedIndex = MemberDisk.foundingIndex
            meta.appliedTerm = 1
            meta.revision = store.meta.revision + plan.revisionBump
            meta.compactRevision = plan.compacts ? meta.revision : store.meta.compactRevision
            meta.lastSequence = store.meta.lastSequence
            meta.keyCount = store.meta.keyCount
            meta.hash = store.meta.hash
            meta.version = store.meta.version
            try writer.write(Memtable(), meta: meta)
            guard try writer.checkpoint() else {
                throw .busy("somebody reads it, and it cannot be made whole", directory.statePath)
            }
            return meta
        }
        try File(directory.statePath, .readWrite).sync()
        let log = try LogStore(path: directory.logPath, markPath: directory.markPath, isNew: true)
        try log.reset(index: meta.appliedIndex, term: meta.appliedTerm)
        try directory.finishFirstStart(plan.identity)
        return meta
    }

    private static func apply(_ entry: Entry, to store: KeyValueStore) throws(SQLiteError) {
        let (index, term) = (entry.index, entry.term)
        if entry.kind == .configuration, let change = try? ConfigurationEntry(decoding: entry.payload) {
            store.apply(change.configuration, index: index, term: term)
        } else if entry.kind == .command, store.meta.refusalToRaise(entry) == nil,
            let (_, command) = CommandEnvelope.open(entry.payload)
        {
            _ = try store.apply(command, index: index, term: term, wantsAnswer: false)
        } else {
            store.applyNothing(index: index, term: term)
        }
        _ = store.takeChanges()
        _ = store.takeFabricChanges()
        _ = store.takeLeaseEvents()
    }
}
