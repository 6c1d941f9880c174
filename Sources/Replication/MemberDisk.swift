internal import Bytes
package import MVCC
package import Raft
package import SQLite
package import Storage

/// What a member finds on its disk at its start; each part is then owned by one lane.
package struct MemberDisk {
    /// Founders begin as if they had a snapshot of index 1: whoever joins later finds the log's beginning cut, and so
    /// gets a snapshot with the configuration.
    package static let foundingIndex: Index = 1

    package let log: LogStore
    package let writer: StateWriter
    package let store: KeyValueStore
    package let pruneMark: PruneMark

    /// Opens what `directory` holds of member `identity`, or begins to fill it when it has no owner yet.
    /// - Parameter founding: the configuration that a founder begins with; nil for a newcomer.
    package init(
        _ directory: DataDirectory, identity: Identity, founding: Configuration?
    ) throws(StorageError) {
        let isNew = try directory.identity() == nil
        if isNew { try directory.beginFirstStart() }
        var initial = StateMeta(clusterID: identity.clusterID)
        if let founding {
            initial.configuration = founding.encoded()
            initial.appliedIndex = Self.foundingIndex
            initial.appliedTerm = 1
        }
        let path = directory.statePath
        guard isNew || File.exists(path) else { throw .damaged(path: path, reason: "it is missing") }
        pruneMark = PruneMark()
        let mark = pruneMark
        (writer, store) = try storage(path) { () throws(SQLiteError) in
            (try StateWriter(path: path, initial: isNew ? initial : nil), try Self.openStore(path, mark))
        }
        guard store.meta.clusterID == identity.clusterID else {
            throw .unusable(
                "\(path) belongs to fabric \(String(store.meta.clusterID, radix: 16)), not to this one")
        }
        log = try LogStore(path: directory.logPath, markPath: directory.markPath, isNew: isNew)
        if store.meta.appliedIndex > 0, log.term(at: store.meta.appliedIndex) != store.meta.appliedTerm,
            log.loaded().baseIndex < store.meta.appliedIndex
        {
            // A founder's first start, or an install that a crash cut short after the image was in place: the log that
            // is still there ends before the state, or is another's.
            try log.reset(index: store.meta.appliedIndex, term: store.meta.appliedTerm)
        }
        guard store.meta.appliedIndex >= log.loaded().baseIndex else {
            throw .damaged(
                path: path,
                reason:
                    "it ends at entry \(store.meta.appliedIndex), but the log begins after \(log.loaded().baseIndex)")
        }
        try SnapshotStore(directory: directory.snapshotPath).removeLeftovers()
    }

    /// The state in `kv.db` at `path`.
    package static func openStore(_ path: String, _ pruneMark: PruneMark) throws(SQLiteError) -> KeyValueStore {
        try KeyValueStore(reader: StateReader(path: path, cacheBytes: 16 << 20), pruneMark: pruneMark)
    }

    /// If a founder of several has never written anything: it is new, or its disk was lost.
    package var isEmptyFounder: Bool {
        let contents = log.loaded()
        return store.meta.appliedIndex == Self.foundingIndex && contents.lastIndex == Self.foundingIndex
            && contents.hardState.term <= 1
    }

    /// Consensus as this member left it.
    package func raft(
        _ identity: Identity, _ settings: Raft.Settings, seed: UInt64
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
            configuration: meta.members, applied: meta.appliedIndex, seed: seed)
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
