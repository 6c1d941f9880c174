internal import Bytes
internal import SQLite

/// What was changed, in order: for watches that begin in the past.
extension View {
    /// Changes from revision `from` on that are in the file, in order, whole revisions only.
    ///
    /// - Parameters:
    ///   - through: where to stop; everything up to it must have been written to the file.
    ///   - bytesMax: about how much to answer; at least one revision.
    /// - Returns: the changes, and the last revision that was looked at.
    package func history(
        from: Int64, through: Int64, bytesMax: Int, _ reader: StateReader
    ) throws(ReadFailure) -> (changes: [KeyValue], through: Int64) {
        try reader.inSnapshot { () throws(ReadFailure) in
            // The mark is of what this process removed; another state that took the place of its own may lack more.
            guard from >= max(marks.pruned, compactRevision) else { throw .request(.compacted) }
            do throws(SQLiteError) {
                return try reader.changes(from: from, through: through, bytesMax: bytesMax)
            } catch {
                throw .disk(error)
            }
        } failure: {
            .disk($0)
        }
    }

    /// The pair of `key` before `revision`; nil when there was none, or it is compacted away, whether its row is gone or not.
    package func previous(_ key: [UInt8], before revision: Int64, _ reader: StateReader) throws(ReadFailure)
        -> KeyValue?
    {
        try reader.inSnapshot { () throws(ReadFailure) in
            guard revision - 1 >= max(marks.pruned, compactRevision) else { return nil }
            do throws(SQLiteError) {
                return try tables.latest(key, notAfter: revision - 1, reader)
            } catch {
                throw .disk(error)
            }
        } failure: {
            .disk($0)
        }
    }
}

extension StateReader {
    /// Rows looked at in one go: others wait for the connection.
    private var rowsMax: Int { 20_000 }

    func changes(
        from: Int64, through: Int64, bytesMax: Int
    ) throws(SQLiteError) -> (changes: [KeyValue], through: Int64) {
        var found: [KeyValue] = []
        var bytes = 0
        var rows = 0
        var last = from - 1
        try forEachRow(fromRevision: from) { change in
            let pair = change.pair
            guard pair.modRevision <= through else {
                last = through
                return false
            }
            if pair.modRevision != last, bytes >= bytesMax || rows >= rowsMax { return false }
            rows += 1
            last = pair.modRevision
            found.append(pair)
            bytes += pair.key.count + pair.value.count + 64
            return true
        } atEnd: {
            last = through
        }
        return (found, last)
    }
}

/// A checksum over changes, equal on all members.
package struct HistoryHash: Sendable {
    package var sum: UInt32
    package var compactRevision: Int64
    package var revision: Int64
}

extension View {
    /// Over what can be read up to `revision`: the pairs that live at the compacted revision, and all changes after it; 0 is the newest.
    /// In whatever order, so that a compaction changes it only by what can be read no more.
    package func hash(at revision: Int64, _ reader: StateReader) throws(ReadFailure) -> HistoryHash {
        guard revision <= self.revision else { throw .request(.futureRevision) }
        guard revision == 0 || revision >= compactRevision else { throw .request(.compacted) }
        let last = revision > 0 ? revision : self.revision
        return try reader.inSnapshot { () throws(ReadFailure) in
            var sum = PairSum()
            do throws(SQLiteError) {
                if compactRevision > 0 {
                    try tables.forEachLive(at: compactRevision, reader) { sum.add($0) }
                }
                var written: Int64 = 0
                try reader.forEachRow(fromRevision: compactRevision + 1) { change in
                    if change.pair.modRevision <= last { sum.add(change.pair) }
                    written = change.sequence
                    return true
                } atEnd: {
                }
                for table in [tables.frozen, tables.active] {
                    table?.forEachBySequence { row in
                        guard row.sequence > written, row.modRevision > compactRevision, row.modRevision <= last else {
                            return
                        }
                        sum.add(row.change.pair)
                    }
                }
            } catch {
                throw .disk(error)
            }
            return HistoryHash(sum: sum.value, compactRevision: compactRevision, revision: last)
        } failure: {
            .disk($0)
        }
    }
}

/// A sum over pairs that does not depend on their order.
private struct PairSum {
    private(set) var value: UInt32 = 0

    mutating func add(_ pair: KeyValue) {
        let row = RowSum(pair, sequence: 0).row
        // Scattered first: sums of checksums that differ in few bits would often agree.
        value = value &+ (row ^ row >> 15) &* 0x2c1b_3c6d
    }
}
