/// Rows in their order. A value: who holds one sees what it was.
struct Table<Row: Ordered>: Sendable where Row.Order: Sendable {
    /// Copies of the table share them.
    private final class Box: Ordered {
        let row: Row
        init(_ row: Row) { self.row = row }
        var order: Row.Order { row.order }
    }

    private var boxes = SortedChunks<Box>()

    var count: Int { boxes.count }
    var last: Row? { boxes.last?.row }

    subscript(_ order: Row.Order) -> Row? { boxes[order]?.row }

    /// Puts it in, or in the place of the one that has the same order.
    mutating func put(_ row: Row) { boxes.put(Box(row)) }
    mutating func remove(_ order: Row.Order) { boxes.remove(order) }

    /// All from this one on, or from the first.
    func rows(from order: Row.Order? = nil) -> some Sequence<Row> { boxes.walk(from: order).lazy.map(\.row) }
    func rows(after order: Row.Order) -> some Sequence<Row> { boxes.walk(after: order).lazy.map(\.row) }

    /// How many chunks of it another has not, and how many it has: see `SortedChunks`.
    func chunks(apartFrom other: Table) -> (apart: Int, all: Int) { boxes.chunks(apartFrom: other.boxes) }
}
