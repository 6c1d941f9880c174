internal import Bytes
package import MVCC
package import Raft
internal import SQLite
package import Storage

/// A backup: an image of the state, and behind it the SHA-256 of that. A file of its own, whoever opens it.
package enum Backup {
    private static let pieceBytes = 1 << 20

    /// What a backup holds.
    package struct Contents: Sendable {
        package let meta: StateMeta
        /// Of the image, without the digest.
        package let bytes: Int
        package let digest: [UInt8]
    }

    /// Makes the image of `directory` for a backup at `path`, still without its digest; answers its length.
    package static func makeImage(
        of directory: DataDirectory, _ marks: FileMarks, at path: String
    ) throws(StorageError) -> Int {
        try SnapshotImage.copyState(of: directory, marks, to: path)
        try storage(path) { () throws(SQLiteError) in try standAlone(path) }
        return try File(path, .read).size()
    }

    /// Reads a backup and checks everything in it.
    /// - Parameter progress: called with the bytes read so far, and all.
    package static func inspect(
        _ path: String, progress: (Int, Int) -> Void = { _, _ in }
    ) throws(StorageError) -> Contents {
        let file = try File(path, .read)
        let bytes = try file.size() - SHA256.bytes
        guard bytes > 0, bytes.isMultiple(of: 512) else {
            throw .damaged(path: path, reason: "it is no backup: a backup is an image and its SHA-256")
        }
        var sum = SHA256()
        var offset = 0
        while offset < bytes {
            let piece = try file.read(at: offset, count: min(pieceBytes, bytes - offset))
            guard !piece.isEmpty else { break }
            sum.add(piece)
            offset += piece.count
            progress(offset, bytes)
        }
        let digest = sum.digest()
        guard try file.read(at: bytes, count: SHA256.bytes) == digest else {
            throw .damaged(path: path, reason: "its SHA-256 is wrong")
        }
        let meta = try storage(path) { () throws(SQLiteError) in try inspectImage(at: path) }
        return Contents(meta: meta, bytes: bytes, digest: digest)
    }

    // MARK: - Restoring

    /// How a backup becomes a member's first state.
    package struct Plan: Sendable {
        package var identity: Identity
        package var founding: Configuration
        /// How much the revision grows: whoever knows a later one than the backup's must not take new ones for old.
        package var revisionBump: Int64
        /// If everything before is compacted, so that watches of before end and begin anew.
        package var compacts: Bool

        package init(identity: Identity, founding: Configuration, revisionBump: Int64, compacts: Bool) {
            self.identity = identity
            self.founding = founding
            self.revisionBump = revisionBump
            self.compacts = compacts
        }
    }

    /// Fills a fresh directory with what a backup holds. Cut short, it leaves one that is still fresh.
    package static func restore(
        _ path: String, _ contents: Contents, into directory: DataDirectory, _ plan: Plan
    ) throws(StorageError) -> StateMeta {
        try directory.beginFirstStart()
        try File.copy(path, bytes: contents.bytes, to: directory.statePath)
        return try Recovery.beginAnew(directory, after: [], plan, nil)
    }
}
