internal import SQLite

/// A large range bit by bit: each portion is read on a snapshot of its own, at the same revision.
extension View {
    /// Some keys of a range, in order.
    package struct Portion: Sendable {
        /// Without values when only their sizes were asked for.
        package var pairs: [KeyValue] = []
        /// Bytes of each pair's value.
        package var valueCounts: [Int] = []
        /// Where the next portion begins; nil when this is the last.
        package var next: [UInt8]?
    }

    private static let portionKeysMax = 2000
    private static let portionBytesMax = 1 << 20

    /// The live keys from the beginning of `range` on, as of `revision`: about a megabyte of them.
    /// - Parameter withValues: false asks for their sizes only.
    package func portion(
        of range: KeyRange, at revision: Int64, withValues: Bool, _ reader: StateReader
    ) throws(ReadFailure) -> Portion {
        guard revision <= self.revision else { throw .request(.futureRevision) }
        guard revision >= compactRevision else { throw .request(.compacted) }
        return try reader.inSnapshot { () throws(ReadFailure) in
            // Opened before the mark is read, as in `range`.
            guard revision >= marks.pruned else { throw .request(.compacted) }
            do throws(SQLiteError) {
                return try collect(range, revision, withValues, reader)
            } catch {
                throw .disk(error)
            }
        } failure: {
            .disk($0)
        }
    }

    private func collect(
        _ range: KeyRange, _ revision: Int64, _ withValues: Bool, _ reader: StateReader
    ) throws(SQLiteError) -> Portion {
        var found: [Tables.Found] = []
        var portion = Portion()
        try tables.scan(range, notAfter: revision, reader) { item in
            if found.count == Self.portionKeysMax { portion.next = item.pair.key }
            if portion.next == nil { found.append(item) }
            return portion.next == nil
        }
        var bytes = 0
        for item in found {
            if bytes >= Self.portionBytesMax {
                portion.next = item.pair.key
                break
            }
            var pair = item.pair
            var count = pair.value.count
            if let row = item.row {
                if withValues {
                    pair.value = try reader.value(of: row)
                    count = pair.value.count
                } else {
                    count = try reader.valueCount(of: row)
                }
            }
            if !withValues { pair.value = [] }
            bytes += withValues ? pair.key.count + count : 0
            portion.pairs.append(pair)
            portion.valueCounts.append(count)
        }
        return portion
    }
}
