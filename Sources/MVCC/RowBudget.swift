internal import SQLite

/// How many keys a txn that writes may look at to compare and to answer: while it is applied nothing else is. The same on every member,
/// whatever of it is in memory and whoever wants its answer; so it counts keys that live, and does not measure time. What is
/// deleted is not counted: deletions make room.
struct RowBudget {
    static let rowsMax: Int64 = 100_000

    private var left = rowsMax

    /// Takes the keys of a range; false when they are too many.
    mutating func take(
        _ range: KeyRange, limit: Int64 = 0, _ tables: Tables, _ revision: Int64, _ reader: StateReader
    ) throws(SQLiteError) -> Bool {
        if range.end == .single {
            left -= 1
        } else {
            let most = limit > 0 ? min(limit, left) : left
            left -= try tables.count(range, at: revision, atMost: most + 1, reader)
        }
        return left >= 0
    }

    /// Takes the ranges of the branches that a txn goes through.
    mutating func take(
        _ path: KeyValueStore.Path, _ tables: Tables, _ revision: Int64, _ reader: StateReader
    ) throws(SQLiteError) -> Bool {
        guard case .branch(_, let operations, let inner) = path else { return true }
        for (operation, nested) in zip(operations, inner) {
            switch operation {
            case .range(let request):
                // A sorted one looks at all before it answers the first.
                let limit = request.isSorted || request.hasFilters ? 0 : request.limit
                guard try take(request.range, limit: limit, tables, revision, reader) else { return false }
            case .txn: if let nested, try !take(nested, tables, revision, reader) { return false }
            case .put, .deleteRange: break
            }
        }
        return true
    }
}
