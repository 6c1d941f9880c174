internal import Logging
internal import Raft
internal import Storage
internal import Transport

/// The thread that makes log entries durable: one transaction and one fsync for all that arrived while the last ran.
final class LogLane: Sendable {
    enum Work: Sendable {
        case append(sequence: UInt64, Ready.Append?, HardState?, messages: [Message])
        case read(Ready.LogRead)
        case compact(to: Index)
        case reset(SnapshotMark)
        case stop(Rendezvous<Void>)
    }

    /// Appends that share a transaction.
    private struct Batch {
        var sequence: UInt64 = 0
        var append: Ready.Append?
        var hardState: HardState?
        var messages: [Message] = []
        var isEmpty = true

        /// Adds another append; false when it cannot share a transaction with what is here.
        mutating func add(_ other: Ready.Append?, _ state: HardState?, _ more: [Message], _ number: UInt64) -> Bool {
            if let other {
                if let own = append {
                    guard other.firstIndex == own.firstIndex + Index(own.entries.count) else { return false }
                    append?.entries += other.entries
                } else {
                    append = other
                }
            }
            sequence = number
            hardState = state ?? hardState
            messages += more
            isEmpty = false
            return true
        }
    }

    private static let compactionRowsMax = 500
    private static let markSyncNanoseconds: UInt64 = 20_000_000
    private static let retryNanoseconds: UInt64 = 250_000_000

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ store: LogStore) {
        var compactTo: Index = 0
        var markIsDirty = false
        var markDeadline: UInt64 = 0
        while true {
            let mustCompact = compactTo > store.loaded().baseIndex
            let deadline = mustCompact ? 0 : markIsDirty ? markDeadline : nil
            let work = mailbox.take(until: deadline)
            var batch = Batch()
            for item in work {
                switch item {
                case .append(let sequence, let append, let hardState, let messages):
                    if !batch.add(append, hardState, messages, sequence) {
                        write(&batch, store)
                        _ = batch.add(append, hardState, messages, sequence)
                    }
                case .read(let read):
                    write(&batch, store)
                    answer(read, store)
                case .compact(let index): compactTo = max(compactTo, index)
                case .reset(let mark):
                    write(&batch, store)
                    core.orFail { () throws(StorageError) in try store.reset(index: mark.index, term: mark.term) }
                    core.consensus.post(.raft(.installed(mark.index)))
                case .stop(let done):
                    write(&batch, store)
                    core.orFail { () throws(StorageError) in try store.syncMark() }
                    done.fulfil(())
                    return
                }
            }
            let hadWork = !batch.isEmpty
            write(&batch, store)
            if hadWork && !markIsDirty {
                markIsDirty = true
                markDeadline = monotonicNanoseconds() + Self.markSyncNanoseconds
            }
            if markIsDirty, monotonicNanoseconds() >= markDeadline {
                core.orFail { () throws(StorageError) in try store.syncMark() }
                markIsDirty = false
            }
            if work.isEmpty, mustCompact { compact(&compactTo, store) }
        }
    }

    private func write(_ batch: inout Batch, _ store: LogStore) {
        guard !batch.isEmpty else { return }
        if batch.append != nil || batch.hardState != nil {
            let hardState = batch.hardState ?? store.loaded().hardState
            let start = monotonicNanoseconds()
            whileFull { () throws(StorageError) in try store.append(batch.append, hardState: hardState) }
            core.metrics.walSync.record(nanoseconds: monotonicNanoseconds() - start)
        }
        core.consensus.post(.raft(.appended(sequence: batch.sequence)))
        core.sendDurable(batch.messages)
        batch = Batch()
    }

    /// Repeats work that finds no space until there is some; the transaction was rolled back, so nothing is half done.
    private func whileFull(_ work: () throws(StorageError) -> Void) {
        while true {
            do throws(StorageError) {
                try work()
                core.noteDiskFull(false, what: "log.db")
                return
            } catch {
                guard error.isFull else { core.fail(error) }
                core.noteDiskFull(true, what: "log.db")
                _ = Mailbox<Void>().take(until: monotonicNanoseconds() + Self.retryNanoseconds)
            }
        }
    }

    private func answer(_ read: Ready.LogRead, _ store: LogStore) {
        core.orFail { () throws(StorageError) in
            let found =
                read.from > store.loaded().baseIndex
                ? try store.entries(from: read.from, through: read.through, costMax: read.costMax) : []
            core.consensus.post(.raft(.logRead(read, found)))
        }
    }

    /// A slice at a time, and only when nothing waits.
    private func compact(_ target: inout Index, _ store: LogStore) {
        do throws(StorageError) {
            if try !store.compact(to: target, rowsMax: Self.compactionRowsMax) { target = 0 }
        } catch {
            guard error.isFull else { core.fail(error) }
            target = 0
        }
    }
}
