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
    /// Between syncs of the mark, and between slices of a compaction.
    private static let choreNanoseconds: UInt64 = 20_000_000
    private static let retryNanoseconds: UInt64 = 250_000_000

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<LogStore>) {
        let store = handover.take()
        var compactTo: Index = 0
        var nextChore: UInt64 = 0
        while true {
            let hasChores = store.isMarkUnsynced || compactTo > store.loaded().baseIndex
            guard handle(mailbox.take(until: hasChores ? nextChore : nil), store, &compactTo) else { return }
            // Also under load that never pauses: chores get their turn, a slice at a time.
            let now = monotonicNanoseconds()
            guard now >= nextChore else { continue }
            nextChore = now + Self.choreNanoseconds
            if store.isMarkUnsynced { core.orFail { () throws(StorageError) in try store.syncMark() } }
            if compactTo > store.loaded().baseIndex { compact(to: compactTo, store) }
        }
    }

    /// Does what was posted; false when the lane shall end.
    private func handle(_ work: [Work], _ store: LogStore, _ compactTo: inout Index) -> Bool {
        var batch = Batch()
        for item in work {
            if case .append(let sequence, let append, let hardState, let messages) = item {
                if batch.add(append, hardState, messages, sequence) { continue }
                write(&batch, store)
                _ = batch.add(append, hardState, messages, sequence)
                continue
            }
            write(&batch, store)
            switch item {
            case .append: break
            case .read(let read): answer(read, store)
            case .compact(let index): compactTo = max(compactTo, index)
            case .reset(let mark):
                whileFull { () throws(StorageError) in try store.reset(index: mark.index, term: mark.term) }
                core.consensus.post(.raft(.installed(mark.index)))
            case .stop(let done):
                core.orFail { () throws(StorageError) in try store.syncMark() }
                done.fulfil(())
                return false
            }
        }
        write(&batch, store)
        return true
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
                core.endIfStopping()
                pause(nanoseconds: Self.retryNanoseconds)
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

    /// One slice. Without space it can wait.
    private func compact(to target: Index, _ store: LogStore) {
        do throws(StorageError) {
            try store.compact(to: target, rowsMax: Self.compactionRowsMax)
        } catch {
            guard error.isFull else { core.fail(error) }
        }
    }
}
