#if canImport(Glibc)
    internal import Glibc
#endif
internal import Access
internal import Bytes
internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage
internal import Synchronization
internal import Transport

/// What the lanes of `Replication` are given here: threads with mailboxes, and sockets.
extension MemberCore: ReplicationShell {
    private static let retryNanoseconds: UInt64 = 250_000_000

    var settings: ReplicationSettings { serverSettings.replication }
    var now: UInt64 { monotonicNanoseconds() }
    var wallMilliseconds: Int64 { millisecondsSince1970() }
    func makeRequestID() -> UInt64 { requests.makeID() }

    func post(_ work: ConsensusWork, wakes: Bool) { mail.consensus.post(work, wakes: wakes) }
    func post(_ work: LogWork) -> Bool { mail.log.post(work) }
    func post(_ work: ApplyWork) -> Bool { mail.apply.post(work) }
    func post(_ work: CheckpointWork) -> Bool { mail.checkpoint.post(work) }
    func post(_ work: SnapshotWork) { mail.snapshots.post(work) }

    func post(_ work: WatchWork) {
        // Without watches there is no hurry.
        let wakes = if case .changes = work { isWatched.load(ordering: .relaxed) } else { true }
        if !mail.watches.post(work, wakes: wakes), case .create(_, let stream, _) = work { stream.end(.stopping) }
    }

    var areWatchesFull: Bool { mail.watches.isFull }

    func send(_ image: SnapshotImage, to peer: NodeID) {
        transport.sendSnapshot(image.header, at: image.path, to: peer) { [self] succeeded in
            if succeeded { metrics.snapshotsSent.add() }
            mail.consensus.post(.snapshotEnded(peer, succeeded ? image.header.mark.index : nil))
            mail.snapshots.post(.ended(peer))
        }
    }

    var imageSource: (configuration: Configuration, appliedIndex: Index, firstIndex: Index)? {
        if isDamaged { return nil }
        let status = status
        return (status.configuration, view.appliedIndex, status.firstIndex)
    }

    func takeReceivedSnapshot(_ mark: SnapshotMark) -> String? { reports.takeReceived(mark) }

    func awaitSpace(for file: String) {
        noteDiskFull(true, what: file)
        if isStopping, !isDamaged {
            // A lane that cannot go on for want of space does not hold up the end: what was acknowledged is on disk.
            serverSettings.flushLog()
            _exit(0)
        }
        pause(nanoseconds: Self.retryNanoseconds)
    }

    func noteSpace(for file: String) { noteDiskFull(false, what: file) }
    func awaitReaders() { pause(nanoseconds: Self.retryNanoseconds) }

    func awaits(_ requestID: UInt64) -> Bool { requests.contains(requestID) }
    func finish(_ requestID: UInt64, _ outcome: Outcome) { requests.finish(requestID, outcome) }
    func failAllRequests(_ error: ServerError) { requests.failAll(error) }
    func noteFabric(_ changes: [FabricChange], revision: Int64) { fabricFeed.publish(changes, revision: revision) }

    func note(_ events: [TokenEvent]) { authenticator.note(events) }

    func noteReplaced(fabricRevision: Int64) { fabricFeed.replace(revision: fabricRevision) }

    func noteWatches(streams: Int, watches: Int) {
        isWatched.store(streams > 0, ordering: .relaxed)
        metrics.watchers.set(watches)
        metrics.watchStreams.set(streams)
    }

    func noteReadFailure(_ error: SQLiteError) { _ = failure(error) }

    func readHistory(_ read: HistoryRead) {
        // If the readers have stopped, so do watches.
        _ = readers.submit(.short) { [self] view, reader in
            mail.watches.post(.history(read, history(read, view, reader)))
        }
    }

    private func history(
        _ read: HistoryRead, _ view: View, _ reader: Result<StateReader, SQLiteError>
    ) -> Result<HistoryFound, ReadFailure> {
        let bytesMax = min(HistoryRead.bytesMax, budget.bytesMax / 4)
        guard budget.take(bytesMax, share: MemoryBudget.historyShare) else { return .failure(.request(.noMemory)) }
        defer { budget.give(bytesMax) }
        do throws(SQLiteError) {
            let reader = try reader.get()
            return Result { () throws(ReadFailure) in
                let found = try view.history(from: read.from, through: read.through, bytesMax: bytesMax, reader)
                let bytes = found.changes.reduce(0) { $0 + $1.key.count + $1.value.count }
                budget.note(bytes)
                return HistoryFound(
                    changes: found.changes, through: found.through, hold: MemoryHold(budget, bytes))
            }
        } catch {
            return .failure(.disk(error))
        }
    }

    func fail(_ error: StorageError) { end(error) }
    func leave() { onEnd(.removed) }
    func noteBegun() { transport.directory.confirm() }
}
