package import SQLite

/// Why a read was not answered.
package enum ReadFailure: Error, Sendable {
    case request(MVCCError)
    case disk(SQLiteError)
}

/// The state as a reader sees it: recent changes in memory over what `kv.db` holds.
///
/// Whoever reads takes the tables first and opens a snapshot of the file after that: the file then has everything that
/// left the tables meanwhile, and what both have is the same.
package struct Tables: Sendable {
    var active = Memtable()
    /// On its way into the file.
    var frozen: Memtable?

    /// How many keys live, and how that changed lately.
    private(set) var counts: LiveCounts
    private var liveChanges: LiveChanges

    /// - Parameter revision: the state's.
    init(_ counts: LiveCounts, revision: Int64) {
        self.counts = counts
        liveChanges = LiveChanges(since: revision)
    }

    /// A key began or ceased to live.
    mutating func noteLive(_ key: [UInt8], _ difference: Int32, revision: Int64) {
        counts.note(key, difference)
        liveChanges.note(key, difference, revision: revision)
    }

    /// If what lived at `revision` is about what lives now.
    func isRecent(_ revision: Int64) -> Bool { liveChanges.reaches(revision) }

    /// Cuts buckets of keys that have got too full.
    mutating func cutBuckets(revision: Int64, _ reader: StateReader) throws(SQLiteError) {
        while let range = counts.overfull() {
            var keys: [[UInt8]] = []
            try scan(range, notAfter: revision, reader) { item in
                keys.append(item.pair.key)
                return true
            }
            counts.cut(range.start, keys)
        }
    }

    /// The newest change of `key` not after `revision` that is in memory; what is there hides what the file has.
    func latestInMemory(_ key: [UInt8], notAfter revision: Int64) -> Memtable.Change? {
        active.latest(key, notAfter: revision) ?? frozen?.latest(key, notAfter: revision)
    }

    /// The live pair of `key` as of `revision`.
    func latest(_ key: [UInt8], notAfter revision: Int64, _ reader: StateReader) throws(SQLiteError) -> KeyValue? {
        let change: Memtable.Change?
        if let found = latestInMemory(key, notAfter: revision) {
            change = found
        } else {
            change = try reader.latest(key, notAfter: revision)
        }
        guard let change, change.pair.version > 0 else { return nil }
        return change.pair
    }

    /// The live pair of `key`, for the writer, who is about to change it.
    func newest(_ key: [UInt8], _ reader: StateReader, withValue: Bool) throws(SQLiteError) -> KeyValue? {
        let pair: KeyValue?
        if let change = active.newest(key, withValue: withValue) ?? frozen?.latest(key, notAfter: .max) {
            pair = change.pair
        } else if withValue {
            pair = try reader.latest(key, notAfter: .max)?.pair
        } else {
            pair = try reader.latestIndex(key, notAfter: .max)?.pair
        }
        return pair.flatMap { $0.version > 0 ? $0 : nil }
    }

    /// A live key that a scan came to; the value of one from disk is fetched when it is wanted.
    struct Found {
        var pair: KeyValue
        var row: StateReader.IndexRow?
    }

    /// Calls `body` with the live keys of `range` as of `revision`, ascending, until it answers false.
    func scan(
        _ range: KeyRange, notAfter revision: Int64, _ reader: StateReader, _ body: (Found) -> Bool
    ) throws(SQLiteError) {
        var newer = MemoryScan(active, range, revision)
        var older = frozen.map { MemoryScan($0, range, revision) }
        try reader.beginScan(range, notAfter: revision)
        var fromActive = newer.next()
        var fromFrozen = older?.next()
        var fromFile = try reader.nextScanned()
        while true {
            var key = fromActive?.pair.key
            if let other = fromFrozen?.pair.key, key.map({ precedes(other, $0) }) ?? true { key = other }
            if let other = fromFile?.pair.key, key.map({ precedes(other, $0) }) ?? true { key = other }
            guard let key else { break }
            // The newest of the three counts: memory is newer than the file, active newer than frozen.
            var found: Found?
            if let row = fromFile, row.pair.key == key {
                found = Found(pair: row.pair, row: row)
                fromFile = try reader.nextScanned()
            }
            if let change = fromFrozen, change.pair.key == key {
                found = Found(pair: change.pair)
                fromFrozen = older?.next()
            }
            if let change = fromActive, change.pair.key == key {
                found = Found(pair: change.pair)
                fromActive = newer.next()
            }
            if let found, found.pair.version > 0, !body(found) { break }
        }
        reader.endScan()
    }

    /// Goes through the keys of a memtable, newest revision of each.
    private struct MemoryScan {
        let table: Memtable
        let range: KeyRange
        let revision: Int64
        var cursor: Memtable.Cursor

        init(_ table: Memtable, _ range: KeyRange, _ revision: Int64) {
            self.table = table
            self.range = range
            self.revision = revision
            cursor = table.lowerBound(range.start, .min)
        }

        mutating func next() -> Memtable.Change? {
            while !cursor.isEnd {
                let key = table.key(at: cursor)
                guard range.contains(key) else { return nil }
                var newest: Memtable.Cursor?
                while table.isOf(key, cursor) {
                    if table.modRevision(at: cursor) <= revision { newest = cursor }
                    cursor = table.next(cursor)
                }
                if let newest { return table.change(at: newest) }
            }
            return nil
        }
    }

    // MARK: - Range requests

    /// Answers a range as of `revision`, with etcd's rules for sort, filters, limit and count.
    ///
    /// Once `budget` is exceeded no more is collected, and the result is of no use.
    /// - Parameter keysAlways: collects all keys even so.
    func range(
        _ request: RangeRequest, at revision: Int64, _ reader: StateReader, _ budget: inout AnswerBudget,
        keysAlways: Bool = false
    ) throws(SQLiteError) -> RangeResult {
        var result = RangeResult()
        if request.range.end == .single {
            // The usual case: one key, no scan.
            guard let pair = try latest(request.range.start, notAfter: revision, reader) else { return result }
            result.count = 1
            if !request.countOnly, request.lets(pair), budget.take(pair) || keysAlways { result.pairs = [pair] }
        } else {
            try collect(request, at: revision, reader, &budget, keysAlways: keysAlways, into: &result)
        }
        if request.keysOnly {
            for place in result.pairs.indices { result.pairs[place].value = [] }
        }
        return result
    }

    private func collect(
        _ request: RangeRequest, at revision: Int64, _ reader: StateReader, _ budget: inout AnswerBudget,
        keysAlways: Bool, into result: inout RangeResult
    ) throws(SQLiteError) {
        let limit = request.limit > 0 ? Int(clamping: request.limit) : Int.max
        let readsAll = request.isSorted || request.hasFilters
        let known =
            request.countOnly || limit < Int.max && !readsAll
            ? try count(request.range, at: revision, reader) : nil
        var found: [Found] = []
        var seen: Int64 = 0
        if known == nil || !request.countOnly {
            try scan(request.range, notAfter: revision, reader) { item in
                seen += 1
                if !request.countOnly, readsAll || found.count <= limit, request.lets(item.pair),
                    budget.take(item.pair) || keysAlways
                {
                    found.append(item)
                }
                return known == nil || found.count <= limit
            }
        }
        result.count = known ?? seen
        if request.sortTarget == .value {
            for place in found.indices { try load(&found[place], reader, &budget) }
        }
        // etcd: another target than the key, without an order, sorts ascending.
        let order = request.sortOrder == .none && request.sortTarget != .key ? .ascend : request.sortOrder
        if order != .none {
            found.sort { request.sortTarget.areInOrder($0.pair, $1.pair, descending: order == .descend) }
        }
        if found.count > limit {
            found.removeLast(found.count - limit)
            result.more = true
        }
        if !request.keysOnly {
            for place in found.indices { try load(&found[place], reader, &budget) }
        }
        result.pairs = found.map(\.pair)
    }

    /// The keys of `range` that live at `revision`, or `most` when there are more.
    func count(
        _ range: KeyRange, at revision: Int64, atMost most: Int64, _ reader: StateReader
    ) throws(SQLiteError) -> Int64 {
        if let known = try count(range, at: revision, reader) { return min(known, most) }
        var count: Int64 = 0
        try scan(range, notAfter: revision, reader) { _ in
            count += 1
            return count < most
        }
        return count
    }

    /// The keys of `range` that live at `revision`, without looking at most of them; nil when it is better to look.
    private func count(
        _ range: KeyRange, at revision: Int64, _ reader: StateReader
    ) throws(SQLiteError) -> Int64? {
        guard let cover = counts.cover(range), let later = liveChanges.difference(in: cover, after: revision) else {
            return nil
        }
        var count = cover.count - later
        func add(_ edge: KeyRange) throws(SQLiteError) {
            try scan(edge, notAfter: revision, reader) { _ in
                count += 1
                return true
            }
        }
        if cover.start != range.start { try add(KeyRange(start: range.start, end: .before(cover.start))) }
        if let end = cover.end { try add(KeyRange(start: end, end: range.end)) }
        return count
    }

    /// Calls `body` with all pairs that live at `revision`, by ascending key.
    func forEachLive(
        at revision: Int64, _ reader: StateReader, _ body: (KeyValue) -> Void
    ) throws(SQLiteError) {
        var from: [UInt8]? = []
        while let start = from {
            var found: [Found] = []
            try scan(KeyRange(start: start, end: .unbounded), notAfter: revision, reader) { item in
                found.append(item)
                return found.count < Self.portion
            }
            // A value is read after the scan, which has the file's statement.
            for item in found { body(try whole(item, reader)) }
            from = found.count == Self.portion ? found.last.map { $0.pair.key + [0] } : nil
        }
    }

    private static let portion = 256

    /// The pair of a key that was found, whole.
    func whole(_ found: Found, _ reader: StateReader) throws(SQLiteError) -> KeyValue {
        guard let row = found.row else { return found.pair }
        var pair = found.pair
        pair.value = try reader.value(of: row)
        return pair
    }

    private func load(
        _ found: inout Found, _ reader: StateReader, _ budget: inout AnswerBudget
    ) throws(SQLiteError) {
        guard let row = found.row, !budget.isExceeded else { return }
        found.pair.value = try reader.value(of: row)
        found.row = nil
        _ = budget.take(found.pair)
    }
}

extension RangeRequest {
    /// If the answer's order is not the keys' own.
    var isSorted: Bool {
        sortTarget == .key ? sortOrder == .descend : sortOrder != .none || sortTarget != .key
    }

    var hasFilters: Bool {
        minModRevision != 0 || maxModRevision != 0 || minCreateRevision != 0 || maxCreateRevision != 0
    }

    func lets(_ pair: KeyValue) -> Bool {
        (minModRevision == 0 || pair.modRevision >= minModRevision)
            && (maxModRevision == 0 || pair.modRevision <= maxModRevision)
            && (minCreateRevision == 0 || pair.createRevision >= minCreateRevision)
            && (maxCreateRevision == 0 || pair.createRevision <= maxCreateRevision)
    }
}

extension RangeRequest.SortTarget {
    /// If `a` belongs strictly before `b`; pairs that are equal in the target stay in key order.
    fileprivate func areInOrder(_ a: KeyValue, _ b: KeyValue, descending: Bool) -> Bool {
        let (first, second) = descending ? (b, a) : (a, b)
        return switch self {
        case .key: precedes(first.key, second.key)
        case .version: first.version < second.version
        case .create: first.createRevision < second.createRevision
        case .mod: first.modRevision < second.modRevision
        case .value: precedes(first.value, second.value)
        }
    }
}
