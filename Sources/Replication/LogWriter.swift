internal import Logging
internal import Raft
package import Storage

/// Makes log entries durable: one transaction and one fsync for all that was posted while the last ran. Owned by one thread,
/// the log lane. What it throws is final: see `LogStore`.
package final class LogWriter<Shell: ReplicationShell>: Lane {
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

    /// Entries removed in a slice: more when they come faster than that, or the file would only grow.
    private static var compactionRows: Index { 500 }
    private static var compactionSlicesMax: Index { 32 }
    private let shell: Shell
    private let store: LogStore
    private var compactTo: Index = 0
    private var nextChore: UInt64 = 0
    /// Between slices of chores.
    private static var choreNanoseconds: UInt64 { 20_000_000 }

    package init(shell: Shell, store: LogStore) {
        self.shell = shell
        self.store = store
    }

    package var due: UInt64? { hasChores ? nextChore : nil }

    /// If there is work that nobody posts: the mark to sync, a compaction to go on with.
    private var hasChores: Bool { store.isMarkUnsynced || compactTo > store.loaded().baseIndex }

    /// A slice of the chores. Also under load that never pauses they get their turn.
    private func doChores() throws(StorageError) {
        let now = shell.now
        guard now >= nextChore else { return }
        nextChore = now + Self.choreNanoseconds
        if store.isMarkUnsynced { try store.syncMark() }
        if compactTo > store.loaded().baseIndex { try compact() }
    }

    package func handle(_ work: [LogWork]) throws(StorageError) -> Bool {
        var batch = Batch()
        for (place, item) in work.enumerated() {
            if case .append(let sequence, let append, let hardState, let messages) = item {
                if batch.add(append, hardState, messages, sequence) { continue }
                try write(&batch)
                _ = batch.add(append, hardState, messages, sequence)
                continue
            }
            try write(&batch)
            switch item {
            case .append: break
            case .read(let read): try answer(read)
            case .compact(let index): compactTo = max(compactTo, index)
            case .reset(let mark):
                try whileFull { () throws(StorageError) in try store.reset(index: mark.index, term: mark.term) }
                shell.post(ConsensusWork.raft(.installed(mark.index)))
            case .recovered:
                try store.finishRecovery()
                try File.removeSetAside(shell.directory.statePath, suffixes: DataDirectory.stateSuffixes)
                shell.logger.info("everything that was lost is here again")
            case .stop(let done):
                try store.syncMark()
                done()
                refuse(Array(work[(place + 1)...]))
                return false
            }
        }
        try write(&batch)
        try doChores()
        return true
    }

    package func refuse(_ work: [LogWork]) {
        for case .stop(let done) in work { done() }
    }

    private func write(_ batch: inout Batch) throws(StorageError) {
        guard !batch.isEmpty else { return }
        if batch.append != nil || batch.hardState != nil {
            let hardState = batch.hardState ?? store.loaded().hardState
            let start = shell.now
            try whileFull { () throws(StorageError) in try store.append(batch.append, hardState: hardState) }
            shell.metrics.walSync.record(nanoseconds: shell.now - start)
        }
        shell.post(ConsensusWork.raft(.appended(sequence: batch.sequence)))
        sendDurable(batch.messages)
        batch = Batch()
    }

    /// Repeats work that finds no space until there is some; the transaction was rolled back, so nothing is half done.
    private func whileFull(_ work: () throws(StorageError) -> Void) throws(StorageError) {
        while true {
            do throws(StorageError) {
                try work()
                shell.noteSpace(for: "log.db")
                return
            } catch {
                guard error.isFull else { throw error }
                shell.awaitSpace(for: "log.db")
            }
        }
    }

    private func answer(_ read: Ready.LogRead) throws(StorageError) {
        let found =
            read.from > store.loaded().baseIndex
            ? try store.entries(from: read.from, through: read.through, costMax: read.costMax) : []
        shell.post(.raft(.logRead(read, found)))
    }

    /// One slice. Without space it can wait.
    private func compact() throws(StorageError) {
        do throws(StorageError) {
            let rows = compactTo - store.loaded().baseIndex
            try store.compact(
                to: compactTo, rowsMax: Int(max(Self.compactionRows, rows / Self.compactionSlicesMax)))
        } catch {
            guard error.isFull else { throw error }
        }
    }

    /// Sends what waited for the disk; the own vote comes back to this member.
    private func sendDurable(_ messages: [Message]) {
        let own = messages.filter { $0.to == shell.identity.memberID }
        if !own.isEmpty { shell.post(.messages(own)) }
        shell.send(messages.filter { $0.to != shell.identity.memberID })
    }
}
