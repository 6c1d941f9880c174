internal import Bytes
package import Logging
package import MVCC
package import Raft
package import SQLite
package import Storage

/// What a member finds on its disk at its start; each part is then owned by one lane.
///
/// A part that is damaged is set aside and begun anew; the other members fill it again. What makes that safe is the durable
/// mark: from it the member still knows its term and its vote, and until it has everything back it votes for nobody.
package struct MemberDisk {
    /// Founders begin as if they had a snapshot of index 1: whoever joins later finds the log's beginning cut, and so
    /// gets a snapshot with the configuration.
    package static let foundingIndex: Index = 1

    package let log: LogStore
    package let writer: StateWriter
    package let store: KeyValueStore
    package let marks: FileMarks
    /// A damaged file was set aside and begun anew.
    package private(set) var wasRepaired = false

    /// Opens what `directory` holds of member `identity`, or begins to fill it when it has no owner yet.
    /// - Parameters:
    ///   - founding: the configuration that a founder begins with; nil for a newcomer.
    ///   - mayRepair: if there are others to get everything back from.
    ///   - versions: of fabrics that this release can be part of.
    package init(
        _ directory: DataDirectory, identity: Identity, founding: Configuration?, mayRepair: Bool,
        versions: ClosedRange<UInt64> = FabricVersion.supported, logger: Logger
    ) throws(StorageError) {
        let isNew = try directory.identity() == nil
        if isNew { try directory.beginFirstStart() }
        let opening = Opening(directory: directory, clusterID: identity.clusterID, marks: FileMarks())
        marks = opening.marks
        if isNew {
            var initial = StateMeta(clusterID: identity.clusterID)
            if let founding {
                initial.configuration = founding.encoded()
                initial.appliedIndex = Self.foundingIndex
                initial.appliedTerm = 1
                initial.version = versions.upperBound
            }
            (writer, store) = try opening.state(initial: initial)
            log = try opening.log(isNew: true, for: store.meta)
        } else {
            let noted = try directory.notedDamage()
            if let noted, !mayRepair {
                throw .damaged(path: noted.isOfState ? directory.statePath : directory.logPath, reason: noted.reason)
            }
            (writer, store) = try Self.repairing(mayRepair, logger, &wasRepaired) { () throws(StorageError) in
                if let noted, noted.isOfState { throw .damaged(path: directory.statePath, reason: noted.reason) }
                return try opening.state(initial: nil)
            } instead: { () throws(StorageError) in
                try opening.replaceState()
            }
            let meta = store.meta
            log = try Self.repairing(mayRepair, logger, &wasRepaired) { () throws(StorageError) in
                if let noted, !noted.isOfState { throw .damaged(path: directory.logPath, reason: noted.reason) }
                // Without its state a log is of no use: where it begins nobody knows any more.
                guard meta.appliedIndex > 0 || !opening.wasReplaced else {
                    throw .damaged(path: directory.logPath, reason: "the state it continues is lost")
                }
                return try opening.log(isNew: false, for: meta)
            } instead: { () throws(StorageError) in
                try LogStore(
                    replacing: directory.logPath, markPath: directory.markPath, index: meta.appliedIndex,
                    term: meta.appliedTerm)
            }
            try directory.clearDamage()
        }
        try store.meta.expectKnown(versions, path: directory.path)
        try SnapshotStore(directory: directory.snapshotPath).removeLeftovers()
    }

    private static func repairing<T>(
        _ mayRepair: Bool, _ logger: Logger, _ wasRepaired: inout Bool, _ open: () throws(StorageError) -> T,
        instead replace: () throws(StorageError) -> T
    ) throws(StorageError) -> T {
        do throws(StorageError) {
            return try open()
        } catch {
            guard mayRepair, case .damaged(let path, let reason) = error else { throw error }
            logger.error(
                "\(path) is damaged: \(reason). It is set aside, and everything is fetched from the other members; until then this member votes for nobody"
            )
            wasRepaired = true
            return try replace()
        }
    }

    /// The state in `kv.db` at `path`.
    package static func openStore(_ path: String, _ marks: FileMarks) throws(SQLiteError) -> KeyValueStore {
        try KeyValueStore(reader: marks.reader(path, cacheBytes: 32 << 20), marks: marks)
    }

    /// If a founder of several has never written anything: it is new, or its disk was lost.
    package var isEmptyFounder: Bool {
        let contents = log.loaded()
        return store.meta.appliedIndex == Self.foundingIndex && contents.lastIndex == Self.foundingIndex
            && contents.hardState.term <= 1
    }

    /// Consensus as this member left it.
    /// - Parameter now: the shell's clock.
    package func raft(
        _ identity: Identity, _ settings: Raft.Settings, seed: UInt64, now: UInt64
    ) throws(StorageError) -> Raft {
        let contents = log.loaded()
        let meta = store.meta
        let tail =
            meta.appliedIndex < contents.lastIndex
            ? try log.entries(from: meta.appliedIndex + 1, through: contents.lastIndex, costMax: .max) : []
        return Raft(
            id: identity.memberID, settings: settings, hardState: contents.hardState,
            log: Log(
                baseIndex: contents.baseIndex, baseTerm: contents.baseTerm, runs: contents.runs,
                lastIndex: contents.lastIndex, tail: tail),
            configuration: meta.members, applied: meta.appliedIndex, seed: seed, now: now,
            logEpoch: contents.logEpoch, isRecovering: contents.isRecovering)
    }
}

/// Opens the parts of a directory.
private final class Opening {
    let directory: DataDirectory
    let clusterID: UInt64
    let marks: FileMarks
    /// The state was lost and begun anew.
    private(set) var wasReplaced = false

    init(directory: DataDirectory, clusterID: UInt64, marks: FileMarks) {
        self.directory = directory
        self.clusterID = clusterID
        self.marks = marks
    }

    func state(initial: StateMeta?) throws(StorageError) -> (StateWriter, KeyValueStore) {
        let path = directory.statePath
        guard initial != nil || File.exists(path) else { throw .damaged(path: path, reason: "it is missing") }
        let (writer, store) = try storage(opening: path) { () throws(SQLiteError) in
            (try StateWriter(path: path, initial: initial), try MemberDisk.openStore(path, marks))
        }
        guard store.meta.clusterID == clusterID else {
            throw .unusable("\(path) belongs to fabric \(String(store.meta.clusterID, radix: 16)), not to this one")
        }
        return (writer, store)
    }

    /// Begins as empty as a newcomer: the leader sends a snapshot.
    func replaceState() throws(StorageError) -> (StateWriter, KeyValueStore) {
        wasReplaced = true
        try File.setAside(directory.statePath, suffixes: DataDirectory.stateSuffixes)
        try File.remove(directory.statePath + "-shm")
        let opened = try state(initial: StateMeta(clusterID: clusterID))
        try File.syncDirectory(of: directory.statePath)
        return opened
    }

    func log(isNew: Bool, for meta: StateMeta) throws(StorageError) -> LogStore {
        let log = try LogStore(path: directory.logPath, markPath: directory.markPath, isNew: isNew)
        if meta.appliedIndex > 0, log.term(at: meta.appliedIndex) != meta.appliedTerm,
            log.loaded().baseIndex < meta.appliedIndex,
            meta.appliedIndex == MemberDisk.foundingIndex || !makes(.keepsDisagreeingLog)
        {
            // A founder's first start, or an install that a crash cut short after the image was in place: the log that
            // is still there ends before the state, or is another's.
            try log.reset(index: meta.appliedIndex, term: meta.appliedTerm)
        }
        let baseIndex = log.loaded().baseIndex
        guard meta.appliedIndex >= baseIndex else {
            throw .damaged(
                path: directory.statePath,
                reason: "it ends at entry \(meta.appliedIndex), but the log begins after \(baseIndex)")
        }
        return log
    }
}

extension KeyValueStore {
    /// Takes up a membership.
    func apply(_ configuration: Configuration, index: Index, term: Term) {
        // Those that go after two sets of voters are needed until there is one again.
        let members = configuration.everybody.map(\.id)
        let removed = meta.members.everybody.map(\.id).filter { !members.contains($0) }
        applyConfiguration(
            configuration.encoded(), memberIDs: members, removed: removed, index: index, term: term)
    }
}

extension StateMeta {
    /// The membership as of what is applied; nobody while a newcomer has heard of nobody.
    package var members: Configuration {
        guard !configuration.isEmpty else { return Configuration() }
        var reader = ByteReader(configuration)
        guard let members = try? Configuration(from: &reader) else {
            preconditionFailure("the stored configuration cannot be read, though its checksum is right")
        }
        return members
    }
}
