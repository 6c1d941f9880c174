internal import Bytes
internal import Logging
internal import MVCC
internal import Replication
internal import SQLite
internal import Synchronization

/// The thread that brings changes to watchers.
final class WatchLane: Sendable {
    enum Work: Sendable {
        case changes([KeyValue], revision: Int64, compactRevision: Int64)
        case written(through: Int64)
        case replaced(revision: Int64, compactRevision: Int64)
        case create(WatchRequest, WatchStream)
        case cancel(Int64, WatchStream)
        case progress(WatchStream)
        case resume(WatchStream)
        case close(WatchStream)
        case history(HistoryRead, Result<Found, ReadFailure>)
        case stop
    }

    struct Found: Sendable {
        let changes: [KeyValue]
        let through: Int64
        let hold: MemoryHold
    }

    private static let tickNanoseconds: UInt64 = 250_000_000
    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(revision: Int64, compactRevision: Int64) {
        let (core, mailbox) = (core, mailbox)
        var hub = WatchHub(
            revision: revision, compactRevision: compactRevision,
            progressNanoseconds: core.serverSettings.watchProgressNanoseconds
        ) { read in
            // If the readers have stopped, so does this.
            _ = core.readers.submit(.short) { view, reader in
                let found = Self.history(read, core, view, reader)
                mailbox.post(.history(read, found))
            }
        }
        var nextTick = core.now + Self.tickNanoseconds
        while true {
            // Without streams there is nothing that time could bring.
            let isWatched = hub.streamCount > 0
            let work = mailbox.take(until: isWatched ? nextTick : nil)
            let now = core.now
            for item in work {
                if case .stop = item { return hub.end(.stopping) { _ in true } }
                handle(item, &hub, now)
            }
            core.isWatched.store(hub.streamCount > 0, ordering: .relaxed)
            guard now >= nextTick else { continue }
            nextTick = now + Self.tickNanoseconds
            if !core.hasLeaderLately { hub.end(.noLeader, where: \.requiresLeader) }
            if core.isWitness { hub.end(.witness) { _ in true } }
            hub.tick(now: now)
            core.metrics.watchers.set(hub.watcherCount)
            core.metrics.watchStreams.set(hub.streamCount)
        }
    }

    private func handle(_ work: Work, _ hub: inout WatchHub, _ now: UInt64) {
        switch work {
        case .changes(let changes, let revision, let compactRevision):
            hub.publish(changes, revision: revision, compactRevision: compactRevision, now: now)
        case .written(let revision): hub.noteWritten(through: revision)
        case .replaced(let revision, let compactRevision):
            hub.replace(revision: revision, compactRevision: compactRevision)
        case .create(let request, let stream): hub.create(request, on: stream, now: now)
        case .cancel(let id, let stream): hub.cancel(id, on: stream)
        case .progress(let stream): hub.askProgress(of: stream)
        case .resume(let stream): hub.resume(stream)
        case .close(let stream): hub.close(stream)
        case .history(let read, .success(let found)):
            hub.take((found.changes, found.through), for: read, found.hold)
        case .history(_, .failure(.request(.noMemory))): hub.postponePass()
        case .history(let read, .failure(.request)): hub.take(nil, for: read)
        case .history(_, .failure(.disk(let error))):
            _ = core.failure(error)
            hub.failPass()
        case .stop: break
        }
    }

    private static func history(
        _ read: HistoryRead, _ core: MemberCore, _ view: View, _ reader: Result<StateReader, SQLiteError>
    ) -> Result<Found, ReadFailure> {
        let budget = core.budget
        let bytesMax = min(HistoryRead.bytesMax, budget.bytesMax / 4)
        guard budget.take(bytesMax, share: MemoryBudget.historyShare) else { return .failure(.request(.noMemory)) }
        defer { budget.give(bytesMax) }
        do throws(SQLiteError) {
            let reader = try reader.get()
            return Result { () throws(ReadFailure) in
                let found = try view.history(
                    from: read.from, through: read.through, bytesMax: bytesMax, reader)
                let bytes = found.changes.reduce(0) { $0 + $1.key.count + $1.value.count }
                budget.note(bytes)
                return Found(changes: found.changes, through: found.through, hold: MemoryHold(budget, bytes))
            }
        } catch {
            return .failure(.disk(error))
        }
    }
}
