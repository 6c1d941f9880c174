internal import Logging
internal import MVCC
internal import SQLite
internal import Storage

/// The thread that moves changes from memory into `kv.db`, and removes what was compacted away.
final class CheckpointLane: Sendable {
    enum Work: Sendable {
        case write(KeyValueStore.Frozen)
        /// Closes the file, lets `swap` put another in its place, opens that.
        /// Says when the new file is open, and keeps readers away until it hears that the new state is published.
        case install(swap: @Sendable () -> Void, opened: Rendezvous<Void>, published: Rendezvous<Void>)
        case stop(Rendezvous<Void>)
    }

    private static let pruneRowsMax = 1000
    private static let retryNanoseconds: UInt64 = 500_000_000

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<StateWriter>) {
        var writer: StateWriter? = handover.take()
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
                case .install(let swap, let opened, let published):
                    pruneTo = 0
                    core.readers.whileClosed {
                        empty(writer)
                        writer = nil
                        swap()
                        writer = core.orFailSQLite { () throws(SQLiteError) in
                            try StateWriter(path: core.directory.statePath, initial: nil)
                        }
                        opened.fulfil(())
                        published.wait()
                    }
                case .stop(let done):
                    writer = nil
                    done.fulfil(())
                    return
                }
            }
            if work.isEmpty, pruneTo > 0, let writer { prune(&pruneTo, writer) }
        }
    }

    /// Moves all of the write-ahead log into the file, so that it is whole by itself. A snapshot being made may still
    /// read it: then it takes until that has ended.
    private func empty(_ writer: StateWriter?) {
        while true {
            let isWhole = core.orFailSQLite { () throws(SQLiteError) in try writer?.checkpoint() ?? true }
            if isWhole { return }
            pause(nanoseconds: Self.retryNanoseconds)
        }
    }

    private func prunedRevision(_ writer: StateWriter) -> Int64 {
        core.orFailSQLite { () throws(SQLiteError) in try writer.meta().prunedRevision }
    }

    private func write(_ frozen: KeyValueStore.Frozen, _ writer: StateWriter) {
        let start = monotonicNanoseconds()
        whileFull { () throws(SQLiteError) in
            do throws(SQLiteError) {
                try writer.write(frozen.table, meta: frozen.meta)
            } catch {
                // Emptying the write-ahead log can make the room that is missing.
                _ = try? writer.checkpoint()
                throw error
            }
        }
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
                core.endIfStopping()
                pause(nanoseconds: Self.retryNanoseconds)
            }
        }
    }

    private func prune(_ target: inout Int64, _ writer: StateWriter) {
        do throws(SQLiteError) {
            if try !writer.prune(below: target, rowsMax: Self.pruneRowsMax) {
                target = 0
            }
        } catch {
            guard error.isFull else { core.fail(StorageError.sqlite(error)) }
            target = 0
        }
    }
}
