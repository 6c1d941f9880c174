internal import Access
package import MVCC
package import Raft
internal import SQLite
package import Storage

/// An image of `kv.db`, made to be sent.
package struct SnapshotImage: Sendable {
    package let header: SnapshotStore.Header
    package let path: String

    /// Copies what the file holds now.
    /// - Parameters:
    ///   - marks: of the file.
    ///   - appliedIndex: names the file; the image may be of a later index.
    ///   - isForWitness: without the keys.
    package init(
        of directory: DataDirectory, _ marks: FileMarks, appliedIndex: Index, isForWitness: Bool
    ) throws(StorageError) {
        path = SnapshotStore(directory: directory.snapshotPath).outgoingPath(appliedIndex, isBare: isForWitness)
        let meta = try Self.copyState(of: directory, marks, to: path, isForWitness: isForWitness)
        let size = try SnapshotStore.measure(path)
        let mark = SnapshotMark(index: meta.appliedIndex, term: meta.appliedTerm, configuration: meta.members)
        header = SnapshotStore.Header(mark: mark, bytes: size.bytes, checksum: size.checksum)
    }

    /// Copies what the file holds now, and checks the copy.
    @discardableResult
    static func copyState(
        of directory: DataDirectory, _ marks: FileMarks, to target: String, isForWitness: Bool = false
    ) throws(StorageError) -> StateMeta {
        try Self.remove(target)
        let reader = try storage(directory.statePath) { () throws(SQLiteError) in
            let reader = try marks.reader(directory.statePath, cacheBytes: 1 << 20)
            if isForWitness {
                let access = try reader.records().access
                try StateWriter.writeBare(
                    try reader.meta(), hasUsers: !access.users.all.isEmpty || access.trust.isThere, to: target)
            } else {
                try reader.copy(to: target)
            }
            return reader
        }
        do throws(SQLiteError) {
            return try inspectImage(at: target)
        } catch {
            // Is it the copy, or what was copied? The state is given up only for damage of its own.
            try storage(directory.statePath) { () throws(SQLiteError) in try reader.check() }
            throw StorageError(error, path: target)
        }
    }

    /// Removes the image and what SQLite put beside it when it was looked at.
    package func remove() throws(StorageError) {
        try Self.remove(path)
    }

    /// Removes the image at `path`, and what lies beside it.
    package static func remove(_ path: String) throws(StorageError) {
        for suffix in DataDirectory.stateSuffixes + ["-shm"] { try File.remove(path + suffix) }
    }

    /// Checks that the image at `path`, which was received, is the snapshot `mark` of fabric `clusterID`, and makes it ready to be
    /// put in place of `kv.db`.
    package static func receive(_ path: String, is mark: SnapshotMark, of clusterID: UInt64) throws(StorageError) {
        do throws(StorageError) {
            let meta = try storage(path) { () throws(SQLiteError) in try inspectImage(at: path) }
            guard meta.clusterID == clusterID, meta.appliedIndex == mark.index, meta.appliedTerm == mark.term else {
                throw .damaged(path: path, reason: "it is not the snapshot that was announced")
            }
            try storage(path) { () throws(SQLiteError) in try prepareImage(at: path) }
        } catch {
            // It is of no use to anybody, and room may be what is missing.
            try remove(path)
            throw error
        }
    }
}

/// The images that are being sent, each shared by all peers that need one at the time.
package struct OutgoingSnapshots {
    private struct Shelf {
        var image: SnapshotImage?
        var receivers: Set<NodeID> = []
    }

    private var whole = Shelf()
    private var bare = Shelf()

    package init() {}

    /// An image for `peer`; the one that others get now, unless the log, which begins at `firstIndex`, was cut past it.
    /// Nil when `configuration`, the newest of the log, does not know `peer`: of a member whose removal is under way nobody
    /// says any more if it is a witness. Nil, too, while the file does not tell yet that `peer` is one: it would take the lack
    /// of keys for the state.
    package mutating func begin(
        for peer: NodeID, in configuration: Configuration, of directory: DataDirectory, _ marks: FileMarks,
        appliedIndex: Index, firstIndex: Index
    ) throws(StorageError) -> SnapshotImage? {
        guard configuration.everybody.contains(where: { $0.id == peer }) else { return nil }
        let isWitness = configuration.isWitness(peer)
        var shelf = isWitness ? bare : whole
        defer { if isWitness { bare = shelf } else { whole = shelf } }
        if let old = shelf.image, shelf.receivers.isEmpty || old.header.mark.index + 1 < firstIndex {
            try old.remove()
            shelf.image = nil
        }
        let image: SnapshotImage
        if let current = shelf.image {
            image = current
        } else {
            image = try SnapshotImage(of: directory, marks, appliedIndex: appliedIndex, isForWitness: isWitness)
        }
        guard image.header.mark.configuration.isWitness(peer) == isWitness else {
            if shelf.image == nil { try image.remove() }
            return nil
        }
        shelf.image = image
        shelf.receivers.insert(peer)
        return image
    }

    /// `peer` has it, or gave up.
    package mutating func end(for peer: NodeID) throws(StorageError) {
        try Self.end(for: peer, &whole)
        try Self.end(for: peer, &bare)
    }

    private static func end(for peer: NodeID, _ shelf: inout Shelf) throws(StorageError) {
        shelf.receivers.remove(peer)
        guard shelf.receivers.isEmpty, let old = shelf.image else { return }
        try old.remove()
        shelf.image = nil
    }
}

/// Images that were received whole, until they are installed.
package struct IncomingSnapshots: Sendable {
    private var images: [(mark: SnapshotMark, path: String)] = []

    package init() {}

    package mutating func add(_ mark: SnapshotMark, path: String) {
        images.append((mark, path))
    }

    /// The image of `mark`, nil when it is not here; and those before it, which are of no use any more.
    package mutating func take(_ mark: SnapshotMark) -> (path: String?, stale: [String]) {
        let found = images.first { $0.mark == mark }
        let stale = images.filter { $0.mark.index < mark.index }.map(\.path)
        images.removeAll { $0.mark.index <= mark.index }
        return (found?.path, stale)
    }
}
