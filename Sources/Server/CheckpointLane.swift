internal import Logging
internal import MVCC
internal import SQLite
internal import Storage

/// The thread that moves changes from memory into `kv.db`, and removes what was compacted away.
final class CheckpointLane: Sendable {
    enum Work: Sendable {
        case write(KeyValueStore.Frozen)
        /// Closes the file, lets `swap` put another in its place, opens that.
        case install(swap: @Sendable () -> Void, Rendezvous<Void>)
        case stop(Rendezvous<Void>)
    }

    private static let pruneRowsMax = 1000
    private static let retryNanoseconds: UInt64 = 500_000_000

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ first: StateWriter) {
        var writer: StateWriter? = first
        var pruneTo: Int64 = 0
        while true {
            let work = mailbox.take(until: pruneTo > 0 ? 0 : nil)
            for item in work {
                switch item {
                case .write(let frozen):
                    guard let writer else { preconditionFailure("kv.db is closed") }
                    write(frozen, writer)
                    if frozen.meta.compactRevision > prunedRevision(writer) {
                        pruneTo = frozen.meta.compactRevision
                        // Before the first row goes: see PruneMark.
                        core.pruneMark.raise(to: pruneTo)
                    }
                case .install(let swap, let done):
                    pruneTo = 0
                    core.readers.whileClosed {
                        // With no reader left this empties the write-ahead log, so that the old file is whole by itself.
                        let isWhole = core.orFailSQLite { () throws(SQLiteError) in try writer?.checkpoint() ?? true }
                        precondition(isWhole, "kv.db is still being read while it is replaced")
                        writer = nil
                        swap()
                    }
                    core.orFailSQLite { () throws(SQLiteError) in
                        writer = try StateWriter(path: core.directory.statePath, initial: nil)
                    }
                    done.fulfil(())
                case .stop(let done):
                    writer = nil
                    done.fulfil(())
                    return
                }
            }
            if work.isEmpty, pruneTo > 0, let writer { prune(&pruneTo, writer) }
        }
    }

    private func prunedRevision(_ writer: StateWriter) -> Int64 {
        core.orFailSQLite { () throws(SQLiteError) in try writer.meta().prunedRevision }
    }

    private func write(_ frozen: KeyValueStore.Frozen, _ writer: StateWriter) {
        let start = monotonicNanoseconds()
        whileFull { () throws(SQLiteError) in try writer.write(frozen.table, meta: frozen.meta) }
        core.apply.post(.written)
        var isWhole = false
        whileFull { () throws(SQLiteError) in isWhole = try writer.checkpoint() }
        core.metrics.backendCommit.record(nanoseconds: monotonicNanoseconds() - start)
        // Held back by a reader of an old state: the log stays until a later checkpoint gets through.
        if isWhole { core.consensus.post(.checkpointed(frozen.meta.appliedIndex)) }
    }

    private func whileFull(_ work: () throws(SQLiteError) -> Void) {
        while true {
            do throws(SQLiteError) {
                try work()
                core.noteDiskFull(false, what: "kv.db")
                return
            } catch {
                guard error.isFull else { core.fail(StorageError.sqlite(error)) }
                core.noteDiskFull(true, what: "kv.db")
                pause(nanoseconds: Self.retryNanoseconds)
            }
        }
    }

    private func prune(_ target: inout Int64, _ writer: StateWriter) {
        do throws(SQLiteError) {
            if try !writer.prune(below: target, rowsMax: Self.pruneRowsMax) {
                target = 0
                _ = try writer.checkpoint()
            }
        } catch {
            guard error.isFull else { core.fail(StorageError.sqlite(error)) }
            target = 0
        }
    }
}
