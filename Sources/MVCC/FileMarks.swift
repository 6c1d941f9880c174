internal import Bytes
package import SQLite
internal import Synchronization

/// What readers of `kv.db` must know of the file beside what is in it. All connections share it. Thread-safe.
package final class FileMarks: Sendable {
    private let prunedRevision = Atomic<Int64>(0)

    private struct Place {
        /// Which file lies at the path: each that takes the place of another has a number of its own.
        var generation: UInt64 = 0
        var opening = 0
        var isReplacing = false
        /// Connections, by the file they are to.
        var open: [UInt64: Int] = [:]
    }
    private let place = Mutex(Place())

    /// A connection to one of the files, for as long as this lasts.
    final class Use: Sendable {
        let generation: UInt64
        private let marks: FileMarks

        fileprivate init(_ generation: UInt64, _ marks: FileMarks) {
            self.generation = generation
            self.marks = marks
        }

        deinit {
            marks.place.withLock { place in
                let left = (place.open[generation] ?? 0) - 1
                place.open[generation] = left > 0 ? left : nil
            }
        }
    }

    package init() {}

    /// How far compaction may have removed rows from the file; raised before the first of them goes.
    package func raisePruned(to revision: Int64) { prunedRevision.store(revision, ordering: .sequentiallyConsistent) }

    var pruned: Int64 { prunedRevision.load(ordering: .sequentiallyConsistent) }

    /// Opens a connection while the file at the path stays what it is.
    /// - Parameters:
    ///   - cacheBytes: pages kept in memory.
    ///   - generation: the file that is meant; nil for whichever it is.
    /// - Throws: an error that `isBusy` tells when another file just takes its place, or has.
    package func reader(
        _ path: String, cacheBytes: Int, of generation: UInt64? = nil
    ) throws(SQLiteError) -> StateReader {
        let use = place.withLock { place -> Use? in
            let isThere = !place.isReplacing && (generation ?? place.generation) == place.generation
            guard isThere || makes(.opensWhatLiesThere) else { return nil }
            place.opening += 1
            place.open[place.generation, default: 0] += 1
            return Use(place.generation, self)
        }
        guard let use else { throw .busy("another state takes its place", path) }
        defer { place.withLock { $0.opening -= 1 } }
        return try StateReader(path: path, cacheBytes: cacheBytes, use: use)
    }

    /// If a file is still open that is no longer at the path.
    package var isOldOpen: Bool {
        place.withLock { place in place.open.keys.contains { $0 != place.generation } }
    }

    /// Runs `replace`, which puts another file at the path, while nobody opens one.
    /// - Parameter wait: lets those pass who are just opening it; called again and again.
    package func replacing<T, E: Error>(
        wait: () -> Void, _ replace: () throws(E) -> T
    ) throws(E) -> T {
        place.withLock { $0.isReplacing = true }
        while place.withLock({ $0.opening > 0 }) { wait() }
        defer {
            place.withLock { place in
                place.generation += 1
                place.isReplacing = false
            }
        }
        return try replace()
    }
}
