internal import MVCC
internal import Raft
internal import Replication
internal import Storage

/// Somebody who watches all keys for the whole run, at one member after another.
final class SimulatedWatcher {
    /// The revision to hear of next.
    var next: Int64 = 2
    var process: SimulatedProcess?
    var stream: WatchStream?
    /// Of changes that wait for it.
    let bytesMax: Int

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }
}

extension World {
    /// Takes what a watcher was told, compares it, and finds it another member when its own is gone.
    func watch(_ number: Int) {
        let mean = min(3 * plan.thinkNanoseconds, isTroubled ? 5 * Self.second : Self.second)
        defer { if !isOver { add(.watch(number), after: clients.dice.duration(mean: mean)) } }
        let watcher = watchers[number]
        if let process = watcher.process, process.isAlive, machines[process.machine].pausedUntil > now { return }
        guard let process = watcher.process, process.isAlive, let stream = watcher.stream,
            !process.isWitness, isTroubled ? !clients.dice.chance(0.02) : isMember(process)
        else { return beginWatching(watcher) }
        // One that does not look for a while falls behind.
        if clients.dice.chance(0.1) { return }
        guard let (outputs, wasBehind) = try? stream.take() else { return beginWatching(watcher) }
        for output in outputs { attempt { () throws(Violation) in try hear(output, watcher) } }
        if wasBehind { process.resume(stream) }
    }

    /// Removed members that were never told so go on for themselves.
    private func isMember(_ process: SimulatedProcess) -> Bool {
        leader?.replica?.raft.configuration[process.identity.memberID] != nil
    }

    private func beginWatching(_ watcher: SimulatedWatcher) {
        if let process = watcher.process, let stream = watcher.stream, process.isAlive { process.close(stream) }
        watcher.process = nil
        let awake = machines.compactMap(\.process).filter {
            !$0.isWitness && machines[$0.machine].pausedUntil <= now && (isTroubled || isMember($0))
        }
        guard let process = awake.randomElement(using: &clients.dice) else { return }
        var request = WatchRequest(range: KeyRange(prefix: Array("k".utf8)))
        request.startRevision = watcher.next
        request.wantsProgress = true
        let stream = WatchStream(requiresLeader: false, bytesMax: watcher.bytesMax)
        process.watch(request, stream)
        (watcher.process, watcher.stream) = (process, stream)
    }

    private static func text(_ changes: [KeyValue]) -> [String] {
        changes.map { change in
            "\(String(decoding: change.key, as: UTF8.self)) \(change.modRevision) \(change.version) \(change.lease)"
        }
    }

    /// Every change once, in order, whole revisions, none left out.
    private func hear(_ output: WatchOutput, _ watcher: SimulatedWatcher) throws(Violation) {
        switch output {
        case .created: break
        case .refused(let reason, _): throw Violation(check: "watches are told all", detail: "refused: \(reason)")
        case .changes(_, let batch, _, _):
            let changes = batch.changes
            guard let last = changes.last?.modRevision else { return }
            try expect(changes, through: last, watcher)
        case .progress(_, let revision): try expect([], through: revision, watcher)
        case .canceled(_, _, let compactRevision):
            guard compactRevision > watcher.next, compactRevision <= oracle.model.compactRevision else {
                throw Violation(
                    check: "watches are told all",
                    detail: "canceled at \(watcher.next), as if \(compactRevision) were compacted")
            }
            watcher.next = compactRevision
            watcher.process = nil
        }
    }

    private func expect(_ changes: [KeyValue], through last: Int64, _ watcher: SimulatedWatcher) throws(Violation) {
        func sorted(_ changes: [KeyValue]) -> [KeyValue] {
            changes.sorted {
                $0.modRevision < $1.modRevision || $0.modRevision == $1.modRevision && precedes($0.key, $1.key)
            }
        }
        let isOrdered = zip(changes, changes.dropFirst()).allSatisfy { $0.modRevision <= $1.modRevision }
        guard isOrdered, sorted(changes) == sorted(oracle.model.changes(from: watcher.next, through: last)) else {
            throw Violation(
                check: "watches are told all",
                detail: "m\(watcher.process?.machine ?? -1) tells of \(Self.text(changes)) from \(watcher.next) "
                    + "through \(last), not of \(Self.text(oracle.model.changes(from: watcher.next, through: last)))")
        }
        watcher.next = max(watcher.next, last + 1)
    }
}
