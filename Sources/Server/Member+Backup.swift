#if canImport(Glibc)
    internal import Glibc
#endif
internal import Logging
internal import MVCC
package import Replication
internal import SQLite
internal import Storage
internal import Synchronization

/// Backups, as clients fetch them.
extension RunningMember {
    private static let backupsMax = 2
    private static let patienceNanoseconds: UInt64 = 60_000_000_000

    /// A backup of everything that was applied here when it was asked for.
    package func backUp() async throws(ServerError) -> BackupStream {
        guard !isWitness else { throw .witness }
        let place = BackupPlace(core)
        guard core.backups.load(ordering: .relaxed) <= Self.backupsMax else { throw .tooManyRequests }
        try await write(through: appliedIndex)
        let path = "\(core.directory.snapshotPath)/send-backup-\(UInt64.random(in: 0...UInt64.max)).db"
        let made: Result<Int, StorageError> = await withCheckedContinuation { continuation in
            if !core.mail.snapshots.post(.backup(path) { continuation.resume(returning: $0) }) {
                continuation.resume(returning: .failure(.unusable("this member has ended")))
            }
        }
        // Open it needs no name, and goes away with whoever reads it.
        defer { try? File.remove(path) }
        do throws(StorageError) {
            let bytes = try made.get()
            return BackupStream(try File(path, .read), path: path, bytes: bytes, place: place)
        } catch {
            core.logger.error("no backup can be made: \(error)")
            throw .disk
        }
    }

    /// Returns when `kv.db` has everything up to `index`.
    private func write(through index: UInt64) async throws(ServerError) {
        let limit = monotonicNanoseconds() + Self.patienceNanoseconds
        while true {
            core.mail.apply.post(.freeze)
            let written = try await run(.short) { (_, reader) throws(ReadFailure) in
                do throws(SQLiteError) { return try reader.meta().appliedIndex } catch { throw .disk(error) }
            }
            if written >= index { return }
            guard monotonicNanoseconds() < limit, !Task.isCancelled, !core.isStopping else { throw .timeout }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// Counts among the backups under way for as long as it is referred to.
final class BackupPlace: Sendable {
    let core: MemberCore

    init(_ core: MemberCore) {
        self.core = core
        core.backups.add(1, ordering: .relaxed)
    }

    deinit { core.backups.subtract(1, ordering: .relaxed) }
}

/// A backup on its way to a client: the image in pieces, then its SHA-256.
package final class BackupStream: Sendable {
    private struct Progress: Sendable {
        var offset = 0
        var sum = SHA256()
    }

    private static let pieceBytes = 128 << 10
    /// Of all, the digest included.
    package let bytes: Int
    private let imageBytes: Int
    private let file: File
    private let path: String
    private let place: BackupPlace
    private let progress = Mutex(Progress())

    init(_ file: consuming File, path: String, bytes: Int, place: BackupPlace) {
        self.file = file
        self.path = path
        imageBytes = bytes
        self.bytes = bytes + SHA256.bytes
        self.place = place
    }

    /// The next piece, and how many bytes are left after it; nil at the end.
    package func next() async throws(ServerError) -> (piece: [UInt8], left: Int)? {
        let outcome: Result<(piece: [UInt8], left: Int)?, StorageError> = await withCheckedContinuation {
            continuation in
            // A disk may take its time: not on a thread that serves others.
            let isTaken = place.core.readers.submit(.long) { _, _ in
                continuation.resume(returning: Result { () throws(StorageError) in try self.read() })
            }
            if !isTaken { continuation.resume(returning: .failure(.unusable("this member has ended"))) }
        }
        do throws(StorageError) {
            return try outcome.get()
        } catch {
            place.core.logger.error("a backup cannot be read: \(error)")
            throw .disk
        }
    }

    private func read() throws(StorageError) -> (piece: [UInt8], left: Int)? {
        let (offset, sum) = progress.withLock { ($0.offset, $0.sum) }
        guard offset < bytes else { return nil }
        var piece = sum.digest()
        if offset < imageBytes {
            piece = try file.read(at: offset, count: min(Self.pieceBytes, imageBytes - offset))
            guard !piece.isEmpty else { throw .damaged(path: path, reason: "it became shorter") }
        }
        progress.withLock { progress in
            progress.offset += piece.count
            if offset < imageBytes { progress.sum.add(piece) }
        }
        return (piece, bytes - offset - piece.count)
    }
}
