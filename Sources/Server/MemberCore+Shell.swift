#if canImport(Glibc)
    internal import Glibc
#endif
internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
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

    func post(_ work: ConsensusWork, wakes: Bool) { consensus.post(work, wakes: wakes) }
    func post(_ work: LogWork) { logs.post(work) }
    func post(_ work: ApplyWork) { apply.post(work) }
    func post(_ frozen: KeyValueStore.Frozen) { checkpoints.post(.write(frozen)) }
    func sendSnapshot(to peer: NodeID) { snapshots.post(.send(to: peer)) }

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
    func noteChanges(_ changes: [KeyValue], revision: Int64, compactRevision: Int64) {
        let isWatched = isWatched.load(ordering: .relaxed)
        watches.post(
            .changes(changes, revision: revision, compactRevision: compactRevision), wakes: isWatched)
    }

    func noteWritten(through revision: Int64) { watches.post(.written(through: revision)) }

    func noteFabric(_ changes: [FabricChange], revision: Int64) { fabricFeed.publish(changes, revision: revision) }

    func noteReplaced(revision: Int64, compactRevision: Int64, fabricRevision: Int64) {
        fabricFeed.replace(revision: fabricRevision)
        watches.post(.replaced(revision: revision, compactRevision: compactRevision))
    }

    func fail(_ error: StorageError) { end(error) }
    func leave() { onEnd(.removed) }
    func noteBegun() { transport.directory.confirm() }
}
