package import Bytes
package import MVCC

/// A read of the history: all changes from one revision on, as many as fit.
package struct HistoryRead: Sendable {
    package let from: Int64
    package let through: Int64

    package static let bytesMax = 1 << 20
}

/// Watches that lag so far that only `kv.db` has what they miss. One pass at a time reads it for all of them, so that a
/// thousand that come back at once read it no more often than one, and leave the readers to others.
struct HistoryPass {
    private(set) var waiting: [ObjectIdentifier: Watcher] = [:]
    var isUnderWay = false
    /// There was no memory for it, or the file had not what it needs.
    var isPostponed = false
    /// Where the next pass goes on. It begins anew behind the last watch, so that nobody waits for those who keep coming.
    var position: Int64 = 0

    mutating func add(_ watcher: Watcher) {
        watcher.isWaiting = true
        waiting[ObjectIdentifier(watcher)] = watcher
    }

    mutating func remove(_ watcher: Watcher) {
        guard watcher.isWaiting else { return }
        watcher.isWaiting = false
        waiting[ObjectIdentifier(watcher)] = nil
    }

    /// Where to read from; nil when nobody waits for what the file has, which is everything through `written`.
    func start(written: Int64) -> Int64? {
        let cursors = waiting.values.map(\.cursor).filter { $0 <= written }
        return cursors.filter { $0 >= position }.min() ?? cursors.min()
    }

    func watchers(where isMeant: (Watcher) -> Bool) -> [Watcher] {
        waiting.values.filter(isMeant).sorted { ($0.cursor, $0.number) < ($1.cursor, $1.number) }
    }
}

extension WatchHub {
    mutating func awaitPass(_ watcher: Watcher) {
        pass.add(watcher)
        // Else it waits with the others.
        if !pass.isPostponed || watcher.cursor <= ring.written { beginPass() }
    }

    mutating func beginPass() {
        guard !pass.isUnderWay else { return }
        pass.isPostponed = false
        let compacted = compactRevision
        for watcher in pass.watchers(where: { $0.cursor < compacted }) { cancelCompacted(watcher) }
        // What was skipped may not be in the file yet.
        let written = makes(.readsHistoryBeforeItIsWritten) ? ring.last : ring.written
        guard let from = pass.start(written: written) else {
            pass.isPostponed = !pass.waiting.isEmpty
            return
        }
        pass.isUnderWay = true
        read(HistoryRead(from: from, through: max(from, min(ring.first - 1, written))))
    }

    /// What a pass found: all changes from `read.from` through a revision; nil when they are compacted away meanwhile.
    /// - Parameter hold: what the changes take of the member's memory budget until everybody has heard of them.
    package mutating func take(
        _ found: (changes: [KeyValue], through: Int64)?, for read: HistoryRead, _ hold: MemoryHold? = nil
    ) {
        pass.isUnderWay = false
        guard let found else {
            compactRevision = max(compactRevision, read.from + 1)
            return beginPass()
        }
        let concerned = pass.watchers { $0.cursor >= read.from && $0.cursor <= found.through }
        _ = gather(found.changes) { watcher, change in
            watcher.isWaiting && watcher.cursor >= read.from && watcher.cursor <= change.modRevision
        }
        pass.position = found.through + 1
        for watcher in concerned { pass.remove(watcher) }
        for watcher in concerned where !watcher.isCanceled {
            let batch = watcher.batch
            watcher.batch = []
            // Those before it may have filled their stream. Then it hears of all this later.
            guard watcher.stream.hasRoom || !watcher.stream.awaitRoom() else { continue }
            say(watcher, batch, hold)
            watcher.cursor = found.through + 1
            catchUp(watcher)
            payProgress(watcher.stream)
        }
        beginPass()
    }

    /// There was no memory for a pass: it is tried again in a while, when clients have taken what was read for them, or are gone.
    package mutating func postponePass() {
        pass.isUnderWay = false
        pass.isPostponed = true
    }

    /// A pass failed: the streams that wait for it end, and their clients begin them again.
    package mutating func failPass() {
        pass.isUnderWay = false
        let streams = Set(pass.waiting.values.map { ObjectIdentifier($0.stream) })
        end(.stopping) { streams.contains(ObjectIdentifier($0)) }
    }
}
