internal import MVCC
package import Raft
internal import SQLite
package import Storage

/// An image of `kv.db`, made to be sent.
package struct SnapshotImage: Sendable {
    package let header: SnapshotStore.Header
    package let path: String

    /// Copies what the file holds now.
    /// - Parameter appliedIndex: names the file; the image may be of a later index.
    package init(of directory: DataDirectory, appliedIndex: Index) throws(StorageError) {
        path = SnapshotStore(directory: directory.snapshotPath).outgoingPath(appliedIndex)
        let target = path
        try Self.remove(target)
        let meta = try storage(directory.statePath) { () throws(SQLiteError) in
            try StateReader(path: directory.statePath, cacheBytes: 1 << 20).copy(to: target)
            return try inspectImage(at: target)
        }
        let size = try SnapshotStore.measure(target)
        let mark = SnapshotMark(index: meta.appliedIndex, term: meta.appliedTerm, configuration: meta.members)
        header = SnapshotStore.Header(mark: mark, bytes: size.bytes, checksum: size.checksum)
    }

    /// Removes the image and what SQLite put beside it when it was looked at.
    package func remove() throws(StorageError) {
        try Self.remove(path)
    }

    private static func remove(_ path: String) throws(StorageError) {
        for suffix in ["", "-wal", "-shm"] { try File.remove(path + suffix) }
    }

    /// Checks that a received image is the snapshot `mark` of fabric `clusterID`.
    package static func verify(_ path: String, is mark: SnapshotMark, of clusterID: UInt64) throws(StorageError) {
        let meta = try storage(path) { () throws(SQLiteError) in try inspectImage(at: path) }
        guard meta.clusterID == clusterID, meta.appliedIndex == mark.index, meta.appliedTerm == mark.term else {
            throw .damaged(path: path, reason: "it is not the snapshot that was announced")
        }
    }
}
