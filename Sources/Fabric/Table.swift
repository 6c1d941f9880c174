/// Records of one kind by ascending id. A value: who holds one sees what it was.
struct RecordTable<R: Record>: Sendable {
    /// Copies of the table share them.
    private final class Box: Sendable {
        let record: R
        init(_ record: R) { self.record = record }
    }

    private var boxes: [Box] = []

    var count: Int { boxes.count }
    var first: R? { boxes.first?.record }
    var last: R? { boxes.last?.record }

    private func place(of id: R.ID) -> (place: Int, isThere: Bool) {
        var low = 0
        var high = boxes.count
        while low < high {
            let middle = (low + high) / 2
            if boxes[middle].record.id < id { low = middle + 1 } else { high = middle }
        }
        return (low, low < boxes.count && boxes[low].record.id == id)
    }

    subscript(_ id: R.ID) -> R? {
        let (place, isThere) = place(of: id)
        return isThere ? boxes[place].record : nil
    }

    mutating func put(_ record: R) {
        let (place, isThere) = place(of: record.id)
        if isThere { boxes[place] = Box(record) } else { boxes.insert(Box(record), at: place) }
    }

    mutating func remove(_ id: R.ID) {
        let (place, isThere) = place(of: id)
        if isThere { boxes.remove(at: place) }
    }

    /// All from `id` on, or from the first.
    func records(from id: R.ID? = nil) -> some Sequence<R> {
        boxes[(id.map { place(of: $0).place } ?? 0)...].lazy.map(\.record)
    }

    func records(after id: R.ID) -> some Sequence<R> {
        let (place, isThere) = place(of: id)
        return boxes[(isThere ? place + 1 : place)...].lazy.map(\.record)
    }
}
