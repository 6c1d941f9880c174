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
        package let names: [NodeID: String]

        package var own: Member? { configuration[identity.memberID] }
        package var others: [Member] { configuration.members.filter { $0.id != identity.memberID } }

        /// If others could acknowledge writes that this one has not seen.
        package var mayLackWrites: Bool { configuration.isQuorum { $0 != identity.memberID } }
    }

    /// Looks at a member's directory; nothing is changed in it that a start would not change.
    package static func inspect(
        _ directory: DataDirectory, _ identity: Identity, logger: Logger
    ) throws(StorageError) -> Findings {
        let disk = try MemberDisk(directory, identity: identity, founding: nil, mayRepair: false, logger: logger)
        let contents = disk.log.loaded()
        let members = try configuration(of: disk)
        guard !members.isWitness(identity.memberID) else {
            throw .unusable(
                "\(directory.path) belongs to a witness, which holds no keys: recover from a member with data")
        }
        return Findings(
            identity: identity, lastIndex: max(contents.lastIndex, disk.store.meta.appliedIndex),
            lastTerm: contents.runs.last?.term ?? disk.store.meta.appliedTerm,
            commit: max(contents.hardState.commit, disk.store.meta.appliedIndex), configuration: members,
            names: try names(in: disk))
    }

    private static func names(in disk: borrowing MemberDisk) throws(StorageError) -> [NodeID: String] {
        var names = Dictionary(disk.store.meta.attributes.map { ($0.id, $0.attributes.name) }) { $1 }
        for entry in try tail(of: disk) where entry.kind == .command {
            guard var (_, reader) = CommandEnvelope.open(entry.payload),
                case .publish(let id, let attributes)? = try? Command(from: &reader)
            else { continue }
            names[id] = attributes.name
        }
        return names
    }

    private static func configuration(of disk: borrowing MemberDisk) throws(StorageError) -> Configuration {
        var found = disk.store.meta.members
        for entry in try tail(of: disk) where entry.kind == .configuration {
            if let change = try? ConfigurationEntry(decoding: entry.payload) { found = change.configuration }
        }
        return found
    }

    /// What is in the log and not in the state.
    private static func tail(of disk: borrowing MemberDisk) throws(StorageError) -> [Entry] {
        let last = disk.log.loaded().lastIndex
        let applied = disk.store.meta.appliedIndex
        return applied < last ? try disk.log.entries(from: applied + 1, through: last, costMax: .max) : []
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
            entries = try tail(of: disk)
            try SnapshotImage.copyState(of: source, to: target.statePath)
        }
        let meta = try storage(opening: target.statePath) { () throws(SQLiteError) in
            let writer = try StateWriter(path: target.statePath, initial: nil)
            let store = try MemberDisk.openStore(target.statePath, PruneMark())
            for entry in entries { try apply(entry, to: store) }
            let trace = Trace(at: at, by: by, reason: "recovered from \(findings.identity.name)")
            try store.recover(trace)
            guard let frozen = store.freeze() else {
                preconditionFailure("a store that was just opened is being written")
            }
            try writer.write(frozen)
            var meta = StateMeta(clusterID: identity.clusterID)
            meta.configuration = founding.encoded()
            meta.appliedIndex = MemberDisk.foundingIndex
            meta.appliedTerm = 1
            meta.revision = store.meta.revision + revisionBump
            meta.compactRevision = meta.revision
            meta.lastSequence = store.meta.lastSequence
            meta.keyCount = store.meta.keyCount
            meta.hash = store.meta.hash
            try writer.write(Memtable(), meta: meta)
            _ = try writer.checkpoint()
            return meta
        }
        try File(target.statePath, .readWrite).sync()
        let log = try LogStore(path: target.logPath, markPath: target.markPath, isNew: true)
        try log.reset(index: meta.appliedIndex, term: meta.appliedTerm)
        try target.finishFirstStart(identity)
        return (meta.revision, meta.keyCount)
    }

    private static func apply(_ entry: Entry, to store: KeyValueStore) throws(SQLiteError) {
        guard entry.kind == .command, let (_, command) = CommandEnvelope.open(entry.payload) else {
            return store.applyNothing(index: entry.index, term: entry.term)
        }
        _ = try store.apply(command, index: entry.index, term: entry.term, wantsAnswer: false)
        _ = store.takeChanges()
        _ = store.takeFabricChanges()
        _ = store.takeLeaseEvents()
    }
}
