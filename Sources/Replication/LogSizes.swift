internal import Raft

/// How many bytes of the log lie where, as far as entries were appended since the start: so that what is kept for followers that
/// lag is bounded in bytes, too.
struct LogSizes {
    private static let grain = 256 << 10
    private var marks = Queue<(index: Index, bytes: Int)>()
    /// Of all entries that were ever appended.
    private var total = 0

    /// Of those that were removed.
    private var removed = 0

    mutating func note(_ append: Ready.Append) {
        while let last = marks.last, last.index >= append.firstIndex { marks.removeLast(1) }
        for entry in append.entries {
            total += entry.cost
            if total - (marks.last?.bytes ?? removed) >= Self.grain { marks.append((entry.index, total)) }
        }
    }

    /// How many marks `isBefore` holds for, which it does for the first ones.
    private func count(where isBefore: ((index: Index, bytes: Int)) -> Bool) -> Int {
        var low = 0
        var high = marks.count
        while low < high {
            let middle = (low + high) / 2
            if isBefore(marks[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The newest index that is known to have at least so many bytes after it; 0 when there is none.
    func index(withBytesAfter bytes: Int) -> Index {
        let place = count { total - $0.bytes >= bytes }
        return place == 0 ? 0 : marks[place - 1].index
    }

    /// About how many bytes there are up to `index`.
    func bytes(through index: Index) -> Int {
        let place = count { $0.index <= index }
        return place == 0 ? 0 : marks[place - 1].bytes - removed
    }

    /// About how many bytes there are after `index`.
    func bytes(after index: Index) -> Int {
        let place = count { $0.index <= index }
        return total - (place == 0 ? removed : marks[place - 1].bytes)
    }

    mutating func remove(through index: Index) {
        while let first = marks.first, first.index <= index {
            removed = first.bytes
            marks.removeFirst()
        }
    }
}
