/// How many keys live in which stretch of the key space, so that the keys of a range are counted without looking at each: etcd
/// answers the count of all with every range, however few its limit lets through.
///
/// The key space is cut into buckets at some of its keys. A range that covers whole buckets takes their counts; the keys of
/// the two at its ends are looked at. A bucket that has got too full is cut anew by whoever can read its keys.
struct LiveCounts: Sendable, Equatable {
    /// A bucket with more keys is cut, into such of half as many; two that have a quarter together become one.
    static let bucketMax: Int32 = 512
    private let bucketMax: Int32
    private var bucketWanted: Int { Int(bucketMax) / 2 }

    /// Where each bucket begins, ascending; the first has no key before it. It ends where the next begins.
    private(set) var starts: [[UInt8]]
    private(set) var counts: [Int32]
    private var hasOverfull = false

    init(bucketMax: Int32 = LiveCounts.bucketMax) {
        self.bucketMax = bucketMax
        starts = [[]]
        counts = [0]
    }

    /// From what was written; nil when it does not add up to `total`.
    init?(_ entries: [(start: [UInt8], count: Int64)], total: Int64, bucketMax: Int32) {
        self.bucketMax = bucketMax
        starts = entries.map(\.start)
        counts = entries.map { Int32(clamping: $0.count) }
        let isAscending = zip(starts, starts.dropFirst()).allSatisfy { precedes($0, $1) }
        let sum = entries.reduce(Int64(0)) { $0 &+ $1.count }
        guard starts.first == [], isAscending, sum == total, counts.allSatisfy({ $0 >= 0 }) else { return nil }
        hasOverfull = counts.contains { $0 > bucketMax }
    }

    /// From all keys, which come in order.
    struct Builder {
        private var made: LiveCounts

        init(bucketMax: Int32) {
            made = LiveCounts(bucketMax: bucketMax)
        }

        mutating func add(_ key: [UInt8]) {
            if made.counts[made.counts.count - 1] == Int32(made.bucketWanted) {
                made.starts.append(key)
                made.counts.append(0)
            }
            made.counts[made.counts.count - 1] += 1
        }

        consuming func finish() -> LiveCounts { made }
    }

    /// The last bucket that begins at or before `key`.
    private func bucket(of key: [UInt8]) -> Int {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if precedes(key, starts[middle]) { high = middle } else { low = middle }
        }
        return low
    }

    /// A key began or ceased to live.
    mutating func note(_ key: [UInt8], _ difference: Int32) {
        let place = bucket(of: key)
        counts[place] += difference
        if counts[place] > bucketMax { hasOverfull = true }
        guard difference < 0 else { return }
        let mergedMax = bucketMax / 4
        if place + 1 < counts.count, counts[place] + counts[place + 1] <= mergedMax {
            merge(place)
        } else if place > 0, counts[place - 1] + counts[place] <= mergedMax {
            merge(place - 1)
        }
    }

    private mutating func merge(_ place: Int) {
        counts[place] += counts[place + 1]
        counts.remove(at: place + 1)
        starts.remove(at: place + 1)
    }

    // MARK: - Buckets that are too full

    /// The keys of a bucket to be cut; nil when there is none.
    mutating func overfull() -> KeyRange? {
        guard hasOverfull else { return nil }
        guard let place = counts.firstIndex(where: { $0 > bucketMax }) else {
            hasOverfull = false
            return nil
        }
        let end: KeyRange.End = place + 1 < starts.count ? .before(starts[place + 1]) : .unbounded
        return KeyRange(start: starts[place], end: end)
    }

    /// Cuts the bucket that begins at `start`, and has these keys.
    mutating func cut(_ start: [UInt8], _ keys: [[UInt8]]) {
        let place = bucket(of: start)
        precondition(counts[place] == Int32(keys.count), "\(counts[place]) keys were counted, \(keys.count) are there")
        let heads = stride(from: 0, to: keys.count, by: bucketWanted)
        let parts = heads.map { Int32(min(keys.count - $0, bucketWanted)) }
        counts.replaceSubrange(place...place, with: parts)
        starts.replaceSubrange(place...place, with: [start] + heads.dropFirst().map { keys[$0] })
    }

    // MARK: - Counting

    /// No fewer than live within `range`.
    func atMost(in range: KeyRange) -> Int64 {
        let first = bucket(of: range.start)
        let last =
            switch range.end {
            case .single: first
            case .before(let end): max(bucket(of: end), first)
            case .unbounded: starts.count - 1
            }
        return counts[first...last].reduce(0) { $0 + Int64($1) }
    }

    /// The whole buckets within a range.
    struct Cover {
        /// Keys in them.
        let count: Int64
        /// They begin here.
        let start: [UInt8]
        /// And end before this; nil when they go on to the end of the key space.
        let end: [UInt8]?
    }

    /// The whole buckets within `range`; nil when that is hardly any.
    func cover(_ range: KeyRange) -> Cover? {
        var first = bucket(of: range.start)
        if starts[first] != range.start { first += 1 }
        let last: Int
        switch range.end {
        case .single: return nil
        case .unbounded: last = starts.count
        case .before(let end): last = bucket(of: end)
        }
        guard last - first >= 2 else { return nil }
        let count = counts[first..<last].reduce(Int64(0)) { $0 + Int64($1) }
        return Cover(count: count, start: starts[first], end: last < starts.count ? starts[last] : nil)
    }
}

extension LiveCounts.Cover {
    func contains(_ key: [UInt8]) -> Bool { !precedes(key, start) && end.map { precedes(key, $0) } ?? true }
}

/// The newest changes of which keys live, by which counts of a little while ago are known from those of now.
struct LiveChanges: Sendable {
    private struct Change: Sendable {
        let revision: Int64
        let key: [UInt8]
        let difference: Int32
    }

    private final class Chunk: Sendable {
        let changes: [Change]
        init(_ changes: [Change]) { self.changes = changes }
    }

    // A view that is published shares what there is: what comes next copies the tail, and a full tail the list of chunks.
    private static let chunkSize = 64
    private static let chunksMax = 1024

    private var chunks: [Chunk] = []
    private var tail: [Change] = []
    /// All changes after this revision are here.
    private var since: Int64

    init(since: Int64) {
        self.since = since
    }

    mutating func note(_ key: [UInt8], _ difference: Int32, revision: Int64) {
        tail.append(Change(revision: revision, key: key, difference: difference))
        guard tail.count == Self.chunkSize else { return }
        chunks.append(Chunk(tail))
        tail = []
        guard chunks.count > Self.chunksMax else { return }
        since = chunks.removeFirst().changes.last?.revision ?? since
    }

    /// If counts as of `revision` are known from those of now.
    func reaches(_ revision: Int64) -> Bool { revision >= since }

    /// How many keys within `cover` came to live, less those that ceased to, after `revision`; nil when that is too long ago.
    func difference(in cover: LiveCounts.Cover, after revision: Int64) -> Int64? {
        guard revision >= since else { return nil }
        var sum: Int64 = 0
        func add(_ changes: [Change]) -> Bool {
            for change in changes.reversed() {
                if change.revision <= revision { return false }
                if cover.contains(change.key) { sum += Int64(change.difference) }
            }
            return true
        }
        guard add(tail) else { return sum }
        for chunk in chunks.reversed() {
            guard add(chunk.changes) else { break }
        }
        return sum
    }
}
