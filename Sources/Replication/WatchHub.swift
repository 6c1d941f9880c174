internal import Bytes
package import MVCC

/// One watch. Owned by the hub.
package final class Watcher: @unchecked Sendable {
    let id: Int64
    /// Which of all watches it is: where their order matters it is this one, for that of a dictionary differs from run to run.
    let number: UInt64
    let request: WatchRequest
    let stream: WatchStream
    /// The first revision it is to hear of.
    let first: Int64
    /// The next revision it is to hear of, while it lags.
    var cursor: Int64
    /// It hears of changes as they come.
    var isSynced = false
    /// It waits for a pass over the history.
    var isWaiting = false
    var isCanceled = false
    /// What it hears of in the pass under way.
    var batch: [KeyValue] = []
    /// In its group.
    var place = 0
    var lastSaid: UInt64

    init(id: Int64, number: UInt64, _ request: WatchRequest, _ stream: WatchStream, cursor: Int64, now: UInt64) {
        self.id = id
        self.number = number
        self.request = request
        self.stream = stream
        first = cursor
        self.cursor = cursor
        lastSaid = now
    }

    /// Of changes of its keys those that it wants to hear of; of whole revisions.
    func wants(_ batch: ChangeBatch) -> ChangeBatch {
        if request.letsAll, batch.changes.first.map({ $0.modRevision >= first }) ?? true { return batch }
        return ChangeBatch(batch.changes.filter { $0.modRevision >= first && request.lets($0) })
    }
}

/// Brings changes to those who watch. Without threads: the shell calls it, from one thread at a time.
///
/// Every watch hears of every change of its keys from its first revision on, once, in order, whole revisions at a time. One
/// that has heard of everything is *synced*: it is found by its key when something changes. One whose stream has no room
/// is not; it goes on from its cursor when there is room, from the ring of the newest changes or from `kv.db`.
package struct WatchHub {
    struct StreamRecord {
        let stream: WatchStream
        var watchers: [Int64: Watcher] = [:]
        var nextID: Int64 = 0
        /// The client asked how far its watches are.
        var owesProgress = false

        /// An id for a watch that did not bring one.
        mutating func takeID() -> Int64 {
            while watchers[nextID] != nil { nextID += 1 }
            defer { nextID += 1 }
            return nextID
        }
    }

    /// Watches of the same keys.
    final class Group: @unchecked Sendable {
        private(set) var watchers: [Watcher] = []
        /// What they hear of in the portion under way.
        var batch: [KeyValue] = []

        func add(_ watcher: Watcher) {
            watcher.place = watchers.count
            watchers.append(watcher)
        }

        func remove(_ watcher: Watcher) {
            guard let last = watchers.popLast(), last !== watcher else { return }
            last.place = watcher.place
            watchers[last.place] = last
        }
    }

    private static let portionBytes = 1 << 20
    package static let ringBytesMax = 32 << 20
    /// Changes that the watches hear of together.
    private var gathered: [KeyValue] = []
    private var gatheredBytes = 0
    private(set) var ring: WatchRing
    private let ringBytesMax: Int
    var compactRevision: Int64
    private(set) var streams: [ObjectIdentifier: StreamRecord] = [:]
    private var byKey: [Key: Group] = [:]
    /// The same prefix is often watched by many.
    private var byRange = RangeIndex<Group>()
    var pass = HistoryPass()
    private let progressNanoseconds: UInt64
    let read: (HistoryRead) -> Void
    package private(set) var watcherCount = 0
    /// Of the newest watch.
    private var lastNumber: UInt64 = 0

    /// - Parameters:
    ///   - revision: the state's.
    ///   - ringBytesMax: the newest changes that are kept in memory, those beyond what must be.
    ///   - read: has a history read; the answer comes to `take`.
    package init(
        revision: Int64, compactRevision: Int64, progressNanoseconds: UInt64, ringBytesMax: Int = Self.ringBytesMax,
        read: @escaping (HistoryRead) -> Void
    ) {
        ring = WatchRing(revision: revision, written: revision, bytesMax: ringBytesMax)
        self.compactRevision = compactRevision
        self.progressNanoseconds = progressNanoseconds
        self.ringBytesMax = ringBytesMax
        self.read = read
    }

    package var revision: Int64 { ring.last }
    package var streamCount: Int { streams.count }

    // MARK: - What happens

    /// Changes were applied.
    package mutating func publish(_ changes: [KeyValue], revision: Int64, compactRevision: Int64, now: UInt64) {
        self.compactRevision = compactRevision
        var start = 0
        while start < changes.count {
            let current = changes[start].modRevision
            var end = start + 1
            while end < changes.count, changes[end].modRevision == current { end += 1 }
            defer { start = end }
            // Replayed at a start, what is in the file already.
            guard current > ring.last else { continue }
            precondition(current == ring.last + 1, "revision \(current) comes after \(ring.last)")
            let group = Array(changes[start..<end])
            ring.append(group)
            if watcherCount > 0 { gather(group, now: now) }
        }
        flush(now: now)
    }

    /// Adds the changes of a revision to what is told next: no more at once than a client takes.
    private mutating func gather(_ changes: [KeyValue], now: UInt64) {
        let size = changes.reduce(0) { $0 + $1.key.count + $1.value.count + 64 }
        if gatheredBytes > 0, gatheredBytes + size > Self.portionBytes { flush(now: now) }
        gathered += changes
        gatheredBytes += size
    }

    /// Tells the watches what was gathered.
    private mutating func flush(now: UInt64) {
        guard let last = gathered.last?.modRevision else { return }
        let changes = gathered
        gathered = []
        gatheredBytes = 0
        var touched: [Group] = []
        for change in changes {
            forEachGroup(of: change) { group in
                if group.batch.isEmpty { touched.append(group) }
                group.batch.append(change)
            }
        }
        for group in touched {
            let batch = ChangeBatch(group.batch)
            group.batch = []
            for watcher in group.watchers where watcher.isSynced {
                tell(watcher, watcher.wants(batch), revision: last, now)
            }
        }
    }

    private func tell(_ watcher: Watcher, _ batch: ChangeBatch, revision: Int64, _ now: UInt64) {
        guard let first = batch.changes.first?.modRevision else { return }
        watcher.lastSaid = now
        let output = WatchOutput.changes(id: watcher.id, batch, revision: revision, watcher.request.form)
        guard !watcher.stream.offer(output) else { return }
        watcher.isSynced = false
        watcher.cursor = makes(.resumesWatchesOneLate) ? revision + 1 : first
    }

    private func forEachGroup(of change: KeyValue, _ body: (Group) -> Void) {
        if let group = byKey[Key(change.key)] { body(group) }
        byRange.forEach(containing: change.key, body)
    }

    /// Puts changes into the batches of those who watch their keys, if `wants` says so; answers whose batches have something.
    func gather(_ changes: [KeyValue], _ wants: (Watcher, KeyValue) -> Bool) -> [Watcher] {
        var touched: [Watcher] = []
        for change in changes {
            forEachGroup(of: change) { group in
                for watcher in group.watchers where wants(watcher, change) && watcher.request.lets(change) {
                    if watcher.batch.isEmpty { touched.append(watcher) }
                    watcher.batch.append(change)
                }
            }
        }
        return touched
    }

    package mutating func noteWritten(through revision: Int64) {
        ring.noteWritten(through: revision)
        if pass.isPostponed { beginPass() }
    }

    /// Another state took the place of what was: what lies between can only come from its history.
    package mutating func replace(revision: Int64, compactRevision: Int64) {
        self.compactRevision = compactRevision
        leap(to: revision, written: revision)
    }

    /// Changes through `revision` did not come: they are read from `kv.db` once it has them.
    package mutating func skip(through revision: Int64, compactRevision: Int64) {
        self.compactRevision = compactRevision
        guard revision > ring.last else { return }
        leap(to: revision, written: ring.written)
    }

    private mutating func leap(to revision: Int64, written: Int64) {
        let before = ring.last
        ring = WatchRing(revision: revision, written: written, bytesMax: ringBytesMax)
        let watchers = streams.values.flatMap(\.watchers.values)
        for watcher in watchers.sorted(by: { $0.number < $1.number }) {
            if watcher.isSynced {
                watcher.isSynced = false
                watcher.cursor = max(before + 1, watcher.first)
            }
            catchUp(watcher)
        }
    }

    // MARK: - What clients ask

    /// - Parameter revision: the state's when it was asked for; what is posted of it may come later.
    package mutating func create(_ request: WatchRequest, on stream: WatchStream, revision: Int64, now: UInt64) {
        defer { stream.endRequest() }
        let key = ObjectIdentifier(stream)
        if streams[key] == nil { streams[key] = StreamRecord(stream: stream) }
        if let reason = Self.refusal(of: request, streams[key]) {
            _ = stream.offer(.refused(reason: reason, revision: ring.last), mustFit: true)
            return
        }
        let id = request.id != 0 ? request.id : streams[key]?.takeID() ?? 0
        // Before the first revision there is nothing: etcd calls it compacted.
        let current = max(revision, ring.last)
        let start = request.startRevision == 0 ? current + 1 : request.startRevision
        lastNumber += 1
        let watcher = Watcher(id: id, number: lastNumber, request, stream, cursor: start, now: now)
        streams[key]?.watchers[id] = watcher
        watcherCount += 1
        index(watcher)
        _ = stream.offer(.created(id: id, revision: current), mustFit: true)
        catchUp(watcher)
    }

    private static func refusal(of request: WatchRequest, _ record: StreamRecord?) -> String? {
        if let refusal = request.refusal { return refusal }
        if request.id != 0, record?.watchers[request.id] != nil {
            return "mvcc: duplicate watch ID provided on the WatchStream"
        }
        if case .before(let end) = request.range.end, !precedes(request.range.start, end) {
            return "mvcc: watcher range is empty"
        }
        return nil
    }

    package mutating func cancel(_ id: Int64, on stream: WatchStream) {
        defer { stream.endRequest() }
        guard let watcher = streams[ObjectIdentifier(stream)]?.watchers[id] else { return }
        remove(watcher)
        _ = stream.offer(.canceled(id: id, revision: ring.last, compactRevision: 0), mustFit: true)
    }

    package mutating func close(_ stream: WatchStream) {
        guard let record = streams.removeValue(forKey: ObjectIdentifier(stream)) else { return }
        for watcher in record.watchers.values { drop(watcher) }
    }

    package mutating func askProgress(of stream: WatchStream) {
        defer { stream.endRequest() }
        let key = ObjectIdentifier(stream)
        if streams[key] == nil { streams[key] = StreamRecord(stream: stream) }
        streams[key]?.owesProgress = true
        payProgress(stream)
    }

    /// There is room again.
    package mutating func resume(_ stream: WatchStream) {
        guard let record = streams[ObjectIdentifier(stream)] else { return }
        // From the one that lags most: nobody starves.
        let lagging = record.watchers.values.filter { !$0.isSynced && !$0.isWaiting }
        for watcher in lagging.sorted(by: { ($0.cursor, $0.number) < ($1.cursor, $1.number) }) { catchUp(watcher) }
        payProgress(stream)
    }

    /// Time has passed.
    package mutating func tick(now: UInt64) {
        if pass.isPostponed { beginPass() }
        for record in streams.values {
            if record.owesProgress { payProgress(record.stream) }
            for watcher in record.watchers.values
            where watcher.request.wantsProgress && hasHeardAll(watcher) && now - watcher.lastSaid >= progressNanoseconds
                && record.stream.isIdle
            {
                watcher.lastSaid = now
                _ = record.stream.offer(.progress(id: watcher.id, revision: ring.last), mustFit: true)
            }
        }
    }

    /// Ends the streams for which `reason` is none to go on.
    package mutating func end(_ reason: WatchEnd, where isConcerned: (WatchStream) -> Bool) {
        for record in streams.values where isConcerned(record.stream) {
            record.stream.end(reason)
            close(record.stream)
        }
    }

    /// If the newest revision is one that the watch is told of, and it was. Its first may be yet to come.
    private func hasHeardAll(_ watcher: Watcher) -> Bool {
        watcher.isSynced && watcher.request.startRevision <= ring.last && watcher.first <= ring.last + 1
    }

    mutating func payProgress(_ stream: WatchStream) {
        let key = ObjectIdentifier(stream)
        guard let record = streams[key], record.owesProgress, record.watchers.values.allSatisfy(hasHeardAll) else {
            return
        }
        streams[key]?.owesProgress = false
        _ = stream.offer(.progress(id: -1, revision: ring.last), mustFit: true)
    }

    // MARK: - The index

    private subscript(_ range: KeyRange) -> Group? {
        get { range.end == .single ? byKey[Key(range.start)] : byRange[range] }
        set {
            if range.end == .single {
                byKey[Key(range.start)] = newValue
            } else if let newValue {
                byRange.put(newValue, at: range)
            } else {
                byRange.remove(range)
            }
        }
    }

    private mutating func index(_ watcher: Watcher) {
        let range = watcher.request.range
        let known = self[range]
        let group = known ?? Group()
        group.add(watcher)
        if known == nil { self[range] = group }
    }

    private mutating func drop(_ watcher: Watcher) {
        watcherCount -= 1
        watcher.isCanceled = true
        pass.remove(watcher)
        let range = watcher.request.range
        guard let group = self[range] else { return }
        group.remove(watcher)
        if group.watchers.isEmpty { self[range] = nil }
    }

    mutating func remove(_ watcher: Watcher) {
        streams[ObjectIdentifier(watcher.stream)]?.watchers[watcher.id] = nil
        drop(watcher)
    }

    // MARK: - Catching up

    /// Lets a watch hear of what it missed, as far as there is room.
    mutating func catchUp(_ watcher: Watcher) {
        guard !watcher.isSynced, !watcher.isWaiting, !watcher.isCanceled else { return }
        while watcher.cursor <= ring.last {
            guard watcher.cursor >= max(compactRevision, 1) else { return cancelCompacted(watcher) }
            guard watcher.stream.hasRoom || !watcher.stream.awaitRoom() else { return }
            guard watcher.cursor >= ring.first else { return awaitPass(watcher) }
            say(watcher, fromRing(watcher))
        }
        watcher.isSynced = true
    }

    private func fromRing(_ watcher: Watcher) -> [KeyValue] {
        var found: [KeyValue] = []
        var bytes = 0
        while watcher.cursor <= ring.last, bytes < Self.portionBytes {
            for change in ring[watcher.cursor]
            where watcher.request.range.contains(change.key) && watcher.request.lets(change) {
                found.append(change)
                bytes += change.key.count + change.value.count
            }
            watcher.cursor += 1
        }
        return found
    }

    func say(_ watcher: Watcher, _ changes: [KeyValue], _ hold: MemoryHold? = nil) {
        guard !changes.isEmpty else { return }
        let part = hold?.part(changes.reduce(0) { $0 + $1.key.count + $1.value.count })
        let batch = ChangeBatch(changes, part)
        _ = watcher.stream.offer(
            .changes(id: watcher.id, batch, revision: ring.last, watcher.request.form), mustFit: true)
    }

    mutating func cancelCompacted(_ watcher: Watcher) {
        remove(watcher)
        _ = watcher.stream.offer(
            .canceled(id: watcher.id, revision: 0, compactRevision: max(compactRevision, 1)), mustFit: true)
    }
}
