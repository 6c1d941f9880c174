internal import Bytes
internal import Logging
package import MVCC
internal import SQLite
package import Storage

/// Moves changes from memory into `kv.db`, and removes what was compacted away. Owned by one thread, the checkpoint lane.
/// What it throws is final.
package final class Checkpointer<Shell: ReplicationShell>: Lane {
    private static var pruneRowsMax: Int { 1000 }
    private static var shrinkPagesMax: Int { 200 }
    /// Free bytes that are worth giving back: beyond half of what is in use, until a quarter is left.
    private static var spareBytesMin: Int64 { 16 << 20 }

    private let shell: Shell
    /// Nil while the file is being replaced.
    private var writer: StateWriter?
    private var pruneTo: Int64 = 0
    /// Free pages are given back until no more bytes than this are free.
    private var shrinkTo: Int64?

    /// Those who wait until all is tidy, or it is late.
    private var waiting: [(limit: UInt64, done: @Sendable () -> Void)] = []

    package init(shell: Shell, writer: StateWriter) {
        self.shell = shell
        self.writer = writer
        measure()
    }

    package var due: UInt64? { isTidying ? 0 : nil }

    package func handle(_ work: [CheckpointWork]) throws(StorageError) -> Bool {
        for (place, item) in work.enumerated() {
            switch item {
            case .write(let frozen): try write(frozen)
            case .defragment(let limit, let done):
                // All free pages.
                shrinkTo = 0
                waiting.append((limit, done))
            case .replaceState(let path, let opened):
                try replaceState(by: path)
                opened()
            case .stop(let done):
                for other in waiting { other.done() }
                done()
                refuse(Array(work[(place + 1)...]))
                return false
            }
        }
        if work.isEmpty { try tidy() }
        // Once it is tidy, it is so late for everybody.
        let now = isTidying ? shell.now : .max
        for other in waiting where other.limit <= now { other.done() }
        waiting.removeAll { $0.limit <= now }
        return true
    }

    package func refuse(_ work: [CheckpointWork]) {
        for item in work {
            switch item {
            case .defragment(_, let done), .stop(let done): done()
            case .write, .replaceState: break
            }
        }
    }

    /// Notes how much of the file is in use, and if there is too much that is not.
    private func measure() {
        guard let sizes = try? writer?.sizes() else { return }
        shell.post(.measured(sizes.inUse))
        shell.publish(databaseSizes: sizes)
        if sizes.total - sizes.inUse > sizes.inUse / 2 + Self.spareBytesMin {
            shrinkTo = min(shrinkTo ?? .max, sizes.inUse / 4)
        }
    }

    private func openWriter() -> StateWriter {
        guard let writer else { preconditionFailure("kv.db is closed") }
        return writer
    }

    // MARK: - Writing

    private func write(_ frozen: KeyValueStore.Frozen) throws(StorageError) {
        let start = shell.now
        let writer = openWriter()
        try whileFull { () throws(SQLiteError) in
            do throws(SQLiteError) {
                try writer.write(frozen)
            } catch {
                // Emptying the write-ahead log can make the room that is missing.
                if error.isFull { try emptyIfRoom(writer) }
                throw error
            }
        }
        // With the size: what leaves memory is never missing from what is stored.
        shell.post(.written(inUse: (try? writer.sizes())?.inUse))
        var isWhole = false
        try whileFull { () throws(SQLiteError) in isWhole = try writer.checkpoint() }
        shell.metrics.backendCommit.record(nanoseconds: shell.now - start)
        // Held back by a reader of an old state: the log stays until a later checkpoint gets through.
        if isWhole { shell.post(.checkpointed(frozen.meta.appliedIndex)) }
        measure()
        try beginPruning(frozen.meta.compactRevision)
    }

    /// Anything but want of space is final: a sync that failed may have lost what SQLite believes to be in its log.
    private func emptyIfRoom(_ writer: StateWriter) throws(SQLiteError) {
        do throws(SQLiteError) {
            _ = try writer.checkpoint()
        } catch {
            guard error.isFull || makes(.goesOnAfterFailedSync) else { throw error }
        }
    }

    private func whileFull(_ work: () throws(SQLiteError) -> Void) throws(StorageError) {
        while true {
            do throws(SQLiteError) {
                try work()
                shell.noteSpace(for: "kv.db")
                return
            } catch {
                guard error.isFull else { throw StorageError(error, path: shell.directory.statePath) }
                shell.awaitSpace(for: "kv.db")
            }
        }
    }

    // MARK: - Compaction

    /// If there are rows to remove, or pages to give back.
    private var isTidying: Bool { pruneTo > 0 || shrinkTo != nil }

    /// Does a slice. Without space it can wait for the next checkpoint.
    private func tidy() throws(StorageError) {
        if pruneTo > 0 { try prune() } else if let shrinkTo { try shrink(to: shrinkTo) }
    }

    private func beginPruning(_ revision: Int64) throws(StorageError) {
        let writer = openWriter()
        let pruned = try storage(shell.directory.statePath) { () throws(SQLiteError) in
            try writer.meta().prunedRevision
        }
        guard revision > pruned else { return }
        pruneTo = revision
        // Before the first row goes: see `FileMarks`.
        shell.marks.raisePruned(to: pruneTo)
    }

    private func prune() throws(StorageError) {
        guard let writer else { return }
        do throws(SQLiteError) {
            if try !writer.prune(below: pruneTo, rowsMax: Self.pruneRowsMax) {
                pruneTo = 0
                measure()
            }
        } catch {
            guard error.isFull else { throw StorageError(error, path: shell.directory.statePath) }
            pruneTo = 0
        }
    }

    private func shrink(to spare: Int64) throws(StorageError) {
        guard let writer else { return }
        do throws(SQLiteError) {
            let before = try writer.sizes()
            if before.total - before.inUse > spare { try writer.shrink(pagesMax: Self.shrinkPagesMax) }
            // A file of an earlier version does not give anything back.
            guard try writer.sizes().total == before.total else { return }
            shrinkTo = nil
            _ = try writer.checkpoint()
            shell.publish(databaseSizes: try writer.sizes())
        } catch {
            guard error.isFull else { throw StorageError(error, path: shell.directory.statePath) }
            shrinkTo = nil
        }
    }

    // MARK: - Replacing the state

    /// Puts the image at `path`, which `SnapshotImage.receive` made ready, in the place of `kv.db`. At every moment the directory
    /// holds either the old state whole or the new one: all of the write-ahead log is in the file before the image takes the old file's name.
    /// Whoever has the old file open goes on to read it.
    private func replaceState(by path: String) throws(StorageError) {
        pruneTo = 0
        shrinkTo = nil
        let statePath = shell.directory.statePath
        if !makes(.installsOverALog) { try empty() }
        writer = nil
        writer = try shell.marks.replacing(wait: shell.awaitReaders) { () throws(StorageError) in
            for suffix in makes(.installsOverALog) ? [] : ["-wal", "-shm"] { try File.remove(statePath + suffix) }
            try File.syncDirectory(of: statePath)
            try storage(statePath) { () throws(SQLiteError) in try PageSums.forget(statePath) }
            try File.rename(path, to: statePath)
            try File.rename(path + PageSums.suffix, to: statePath + PageSums.suffix)
            return try storage(opening: statePath) { () throws(SQLiteError) in
                try StateWriter(path: statePath, initial: nil, isChecked: true)
            }
        }
        measure()
    }

    /// Moves all of the write-ahead log into the file, so that it is whole by itself. A snapshot of an older state being made
    /// holds that up until it has ended.
    private func empty() throws(StorageError) {
        let writer = openWriter()
        var isWhole = false
        while !isWhole {
            try whileFull { () throws(SQLiteError) in isWhole = try writer.checkpoint() }
            if !isWhole { shell.awaitReaders() }
        }
    }
}
