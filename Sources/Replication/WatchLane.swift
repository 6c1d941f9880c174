package import Bytes
package import MVCC
package import SQLite
package import Storage

/// What is posted to `WatchLane`.
package enum WatchWork: Sendable {
    case changes([KeyValue], revision: Int64, compactRevision: Int64)
    /// Changes through this revision were not posted: there was no room. `kv.db` has them soon.
    case skipped(through: Int64, compactRevision: Int64)
    /// `kv.db` has everything through this revision.
    case written(through: Int64)
    /// Another state took the place of what was.
    case replaced(revision: Int64, compactRevision: Int64)
    /// With the revision of the state when it was asked for: one that begins now begins after that.
    case create(WatchRequest, WatchStream, revision: Int64)
    case cancel(Int64, WatchStream)
    case progress(WatchStream)
    case resume(WatchStream)
    case close(WatchStream)
    case history(HistoryRead, Result<HistoryFound, ReadFailure>)
    case stop
}

extension WatchWork {
    /// What it holds of clients' values.
    package var bytes: Int {
        guard case .changes(let changes, _, _) = self else { return 0 }
        return changes.reduce(0) { $0 + $1.key.count + $1.value.count + 96 }
    }
}

/// What a read of the history found.
package struct HistoryFound: Sendable {
    package let changes: [KeyValue]
    /// The last revision that was looked at.
    package let through: Int64
    /// What it takes of the member's memory budget.
    package let hold: MemoryHold?

    package init(changes: [KeyValue], through: Int64, hold: MemoryHold?) {
        self.changes = changes
        self.through = through
        self.hold = hold
    }
}

/// What the watch lane needs of what surrounds it.
package protocol WatchShell: AnyObject, Sendable {
    func post(_ work: WatchWork)
    /// If what waits for the watch lane holds as much memory as it should.
    var areWatchesFull: Bool { get }
    /// Has a read of the history done; what it finds is posted to the watch lane.
    func readHistory(_ read: HistoryRead)
    /// A read of the history failed.
    func noteReadFailure(_ error: SQLiteError) throws(StorageError)
    func noteWatches(streams: Int, watches: Int)
    /// If there is a leader, or was one within some election timeouts.
    var hasLeaderLately: Bool { get }
    /// If this member keeps the log and no keys.
    var isWitness: Bool { get }
}

/// Brings changes to watchers.
package struct WatchLane<Shell: ReplicationShell>: Lane {
    private static var tickNanoseconds: UInt64 { 250_000_000 }
    private let shell: Shell
    private var hub: WatchHub
    private var nextTick: UInt64

    /// - Parameters:
    ///   - revision, compactRevision: the state's.
    ///   - ringBytesMax: see `WatchHub`.
    package init(
        shell: Shell, revision: Int64, compactRevision: Int64, progressNanoseconds: UInt64,
        ringBytesMax: Int = WatchHub.ringBytesMax
    ) {
        self.shell = shell
        nextTick = shell.now + Self.tickNanoseconds
        hub = WatchHub(
            revision: revision, compactRevision: compactRevision, progressNanoseconds: progressNanoseconds,
            ringBytesMax: ringBytesMax
        ) { [unowned shell] read in
            shell.readHistory(read)
        }
    }

    /// Without streams there is nothing that time could bring.
    package var due: UInt64? { hub.streamCount > 0 ? nextTick : nil }

    package mutating func handle(_ work: [WatchWork]) throws(StorageError) -> Bool {
        let now = shell.now
        for (place, item) in work.enumerated() {
            if case .stop = item {
                hub.end(.stopping) { _ in true }
                refuse(Array(work[(place + 1)...]))
                return false
            }
            try handle(item, now)
        }
        shell.noteWatches(streams: hub.streamCount, watches: hub.watcherCount)
        guard now >= nextTick else { return true }
        nextTick = now + Self.tickNanoseconds
        if !shell.hasLeaderLately { hub.end(.noLeader, where: \.requiresLeader) }
        if shell.isWitness { hub.end(.witness) { _ in true } }
        hub.tick(now: now)
        return true
    }

    package func refuse(_ work: [WatchWork]) {
        for case .create(_, let stream, _) in work { stream.end(.stopping) }
    }

    private mutating func handle(_ work: WatchWork, _ now: UInt64) throws(StorageError) {
        switch work {
        case .changes(let changes, let revision, let compactRevision):
            hub.publish(changes, revision: revision, compactRevision: compactRevision, now: now)
        case .skipped(let revision, let compactRevision):
            hub.skip(through: revision, compactRevision: compactRevision)
        case .written(let revision): hub.noteWritten(through: revision)
        case .replaced(let revision, let compactRevision):
            hub.replace(revision: revision, compactRevision: compactRevision)
        case .create(let request, let stream, let revision):
            hub.create(request, on: stream, revision: revision, now: now)
        case .cancel(let id, let stream): hub.cancel(id, on: stream)
        case .progress(let stream): hub.askProgress(of: stream)
        case .resume(let stream): hub.resume(stream)
        case .close(let stream): hub.close(stream)
        case .history(let read, .success(let found)):
            hub.take((found.changes, found.through), for: read, found.hold)
        case .history(_, .failure(.request(.noMemory))): hub.postponePass()
        case .history(let read, .failure(.request)): hub.take(nil, for: read)
        // Another state is taking the place of what it reads.
        case .history(_, .failure(.disk(let error))) where error.isBusy: hub.postponePass()
        case .history(_, .failure(.disk(let error))):
            try shell.noteReadFailure(error)
            hub.failPass()
        case .stop: break
        }
    }
}
