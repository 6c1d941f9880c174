package import SQLite

/// Where a walk over all rows of `kv.db` goes on.
package enum ScrubPlace: Sendable {
    case revisions(from: Int64)
    case index(from: [UInt8])
    /// Leases and records of the fabric.
    case rest

    package static var start: ScrubPlace { .revisions(from: 0) }
}

/// A slow look at everything, a portion at a time: each page is compared with its sum when it is read, and each row with its own.
extension StateReader {
    private static let portionBytes = 256 << 10
    private static let portionRows = 1000

    /// Reads a portion. Answers where the next begins; nil when this was the last.
    package func scrub(from place: ScrubPlace) throws(SQLiteError) -> ScrubPlace? {
        // What is in memory is not read.
        try connection.execute("PRAGMA shrink_memory")
        switch place {
        case .revisions(let first):
            return try scrubRevisions(from: first).map { .revisions(from: $0) } ?? .index(from: [])
        case .index(let first): return try scrubIndex(from: first).map { .index(from: $0) } ?? .rest
        case .rest:
            return try inSnapshot { () throws(SQLiteError) in
                _ = (try meta(), try leases(), try records())
                for table in ["live_count", "start"] { _ = try connection.integer("SELECT sum(count) FROM \(table)") }
                return nil
            } failure: {
                $0
            }
        }
    }

    private func scrubRevisions(from first: Int64) throws(SQLiteError) -> Int64? {
        var bytes = 0
        var last: Int64?
        try forEachRow(from: first) { change in
            bytes += change.pair.key.count + change.pair.value.count + 64
            last = change.sequence
            return bytes < Self.portionBytes
        } atEnd: {
            last = nil
        }
        return last.map { $0 + 1 }
    }

    private func scrubIndex(from first: [UInt8]) throws(SQLiteError) -> [UInt8]? {
        var rows = 0
        var last: [UInt8]?
        var next: [UInt8]?
        try forEachIndexRow(from: first) { key in
            rows += 1
            // All revisions of a key are of one portion.
            if rows > Self.portionRows, key != last { next = key }
            last = key
            return next == nil
        } atEnd: {
        }
        return next
    }
}
