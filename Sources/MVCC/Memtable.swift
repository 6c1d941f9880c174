/// The changes of recent revisions, in order of key and then revision.
///
/// A value: readers keep a copy while the apply lane goes on. Copies share all chunks, and a change after a copy
/// duplicates one chunk and the list of them.
package struct Memtable: Sendable {
    /// One revision of one key; a deletion has version 0.
    package struct Change: Equatable, Sendable {
        package var pair: KeyValue
        /// Counts all changes ever made, in order; the row of `kv.db` that it becomes.
        package var sequence: Int64
    }

    /// A place between changes.
    struct Cursor {
        var chunk: Int
        var place: Int
    }

    private static let chunkChangesMax = 128
    private var chunks: [[Change]] = []
    package private(set) var count = 0
    /// About what it takes in memory.
    package private(set) var bytes = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// Adds a change; its revision is the newest of its key. A second change of a key in one revision (a txn may put a key
    /// and then delete it) takes the place of the first: between them nobody can look.
    mutating func insert(_ change: Change) {
        bytes += change.pair.key.count + change.pair.value.count + 160
        let cursor = lowerBound(change.pair.key, change.pair.modRevision)
        if let there = self.change(at: cursor), there.pair.key == change.pair.key,
            there.pair.modRevision == change.pair.modRevision
        {
            chunks[cursor.chunk][cursor.place] = change
            return
        }
        count += 1
        guard !chunks.isEmpty else {
            chunks.append([change])
            return
        }
        let chunk = min(cursor.chunk, chunks.count - 1)
        let place = cursor.chunk == chunk ? cursor.place : chunks[chunk].count
        chunks[chunk].insert(change, at: place)
        if chunks[chunk].count > Self.chunkChangesMax { split(chunk, insertedAt: place) }
    }

    private mutating func split(_ chunk: Int, insertedAt place: Int) {
        // Keys often come in ascending order: then full chunks stay behind.
        let isAppending = chunk == chunks.count - 1 && place == chunks[chunk].count - 1
        let keep = isAppending ? chunks[chunk].count - 1 : chunks[chunk].count / 2
        let rest = Array(chunks[chunk][keep...])
        chunks[chunk].removeLast(rest.count)
        chunks.insert(rest, at: chunk + 1)
    }

    /// The first change not before (`key`, `revision`).
    func lowerBound(_ key: [UInt8], _ revision: Int64) -> Cursor {
        // The first chunk whose last change is not before it.
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = (low + high) / 2
            let last = chunks[middle][chunks[middle].count - 1]
            if Self.isBefore(last, key, revision) { low = middle + 1 } else { high = middle }
        }
        guard low < chunks.count else { return Cursor(chunk: low, place: 0) }
        let chunk = low
        low = 0
        high = chunks[chunk].count
        while low < high {
            let middle = (low + high) / 2
            if Self.isBefore(chunks[chunk][middle], key, revision) { low = middle + 1 } else { high = middle }
        }
        return Cursor(chunk: chunk, place: low)
    }

    private static func isBefore(_ change: Change, _ key: [UInt8], _ revision: Int64) -> Bool {
        let byKey = order(change.pair.key, key)
        return byKey != 0 ? byKey < 0 : change.pair.modRevision < revision
    }

    func change(at cursor: Cursor) -> Change? {
        guard cursor.chunk < chunks.count else { return nil }
        return chunks[cursor.chunk][cursor.place]
    }

    func next(_ cursor: Cursor) -> Cursor {
        let isLast = cursor.place + 1 == chunks[cursor.chunk].count
        return isLast ? Cursor(chunk: cursor.chunk + 1, place: 0) : Cursor(chunk: cursor.chunk, place: cursor.place + 1)
    }

    private func previous(_ cursor: Cursor) -> Cursor? {
        if cursor.place > 0 { return Cursor(chunk: cursor.chunk, place: cursor.place - 1) }
        return cursor.chunk > 0 ? Cursor(chunk: cursor.chunk - 1, place: chunks[cursor.chunk - 1].count - 1) : nil
    }

    /// The newest change of `key` not after `revision`.
    func latest(_ key: [UInt8], notAfter revision: Int64) -> Change? {
        guard !chunks.isEmpty else { return nil }
        guard let place = previous(lowerBound(key, revision + 1)), let found = change(at: place) else { return nil }
        return found.pair.key == key ? found : nil
    }

    /// Calls `body` with each change, in order.
    func forEach<E: Error>(_ body: (Change) throws(E) -> Void) throws(E) {
        for chunk in chunks {
            for change in chunk { try body(change) }
        }
    }

    /// All changes in the order they were made.
    func bySequence() -> [Change] {
        chunks.flatMap { $0 }.sorted { $0.sequence < $1.sequence }
    }
}
