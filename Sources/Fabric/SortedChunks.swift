internal import Bytes

/// What has a place among others of its type.
protocol Ordered: Sendable {
    associatedtype Order: Comparable
    /// Unique in a collection.
    var order: Order { get }
}

extension Int64: Ordered {
    var order: Int64 { self }
}

/// Elements in their order. A value: who holds one sees what it was. A change of one that is shared copies one chunk and the
/// references to all: with 100,000 elements some hundreds of each.
struct SortedChunks<Element: Ordered>: Sendable {
    /// A chunk that grows beyond this is cut in two; two neighbours that have no more than half of it become one.
    private static var chunkMax: Int { 512 }

    private var chunks: [[Element]] = []
    private(set) var count = 0

    var first: Element? { chunks.first?.first }
    var last: Element? { chunks.last?.last }

    private struct Place {
        var chunk: Int
        var offset: Int
        var isThere: Bool
    }

    /// Where an element is, or is to go.
    private func place(of order: Element.Order) -> Place {
        // In the last chunk that begins with it or before it.
        let behind = chunks.partitioningIndex { $0[0].order > order }
        let chunk = max(behind - 1, 0)
        guard chunk < chunks.count else { return Place(chunk: 0, offset: 0, isThere: false) }
        let offset = chunks[chunk].partitioningIndex { $0.order >= order }
        let isThere = offset < chunks[chunk].count && chunks[chunk][offset].order == order
        return Place(chunk: chunk, offset: offset, isThere: isThere)
    }

    subscript(_ order: Element.Order) -> Element? {
        let place = place(of: order)
        return place.isThere ? chunks[place.chunk][place.offset] : nil
    }

    /// Puts it in, or in the place of the one that has the same order.
    mutating func put(_ element: Element) {
        let place = place(of: element.order)
        guard !place.isThere else { return chunks[place.chunk][place.offset] = element }
        count += 1
        guard place.chunk < chunks.count else { return chunks.append([element]) }
        let size = chunks[place.chunk].count
        if size < Self.chunkMax { return chunks[place.chunk].insert(element, at: place.offset) }
        // What comes in order fills its chunks, from either end.
        if place.offset == size {
            let next = place.chunk + 1
            if next < chunks.count, chunks[next].count < Self.chunkMax { return chunks[next].insert(element, at: 0) }
            return chunks.insert([element], at: next)
        }
        let half = size / 2
        let upper = Array(chunks[place.chunk][half...])
        chunks[place.chunk].removeSubrange(half...)
        chunks.insert(upper, at: place.chunk + 1)
        if place.offset <= half {
            chunks[place.chunk].insert(element, at: place.offset)
        } else {
            chunks[place.chunk + 1].insert(element, at: place.offset - half)
        }
    }

    mutating func remove(_ order: Element.Order) {
        let place = place(of: order)
        guard place.isThere else { return }
        count -= 1
        chunks[place.chunk].remove(at: place.offset)
        if chunks[place.chunk].isEmpty {
            chunks.remove(at: place.chunk)
        } else if place.chunk > 0 {
            join(place.chunk - 1)
        } else {
            join(place.chunk)
        }
    }

    /// Makes a chunk and the next one, if they are small.
    private mutating func join(_ chunk: Int) {
        guard chunk + 1 < chunks.count, chunks[chunk].count + chunks[chunk + 1].count <= Self.chunkMax / 2 else {
            return
        }
        let next = chunks.remove(at: chunk + 1)
        chunks[chunk] += next
    }

    // MARK: - Walking

    struct Walk: Sequence, IteratorProtocol {
        fileprivate let chunks: [[Element]]
        fileprivate var chunk: Int
        fileprivate var offset: Int

        mutating func next() -> Element? {
            guard chunk < chunks.count else { return nil }
            if offset == chunks[chunk].count {
                chunk += 1
                offset = 0
                guard chunk < chunks.count else { return nil }
            }
            defer { offset += 1 }
            return chunks[chunk][offset]
        }
    }

    /// All from this one on, or from the first.
    func walk(from order: Element.Order? = nil) -> Walk {
        guard let order else { return Walk(chunks: chunks, chunk: 0, offset: 0) }
        let place = place(of: order)
        return Walk(chunks: chunks, chunk: place.chunk, offset: place.offset)
    }

    func walk(after order: Element.Order) -> Walk {
        let place = place(of: order)
        return Walk(chunks: chunks, chunk: place.chunk, offset: place.offset + (place.isThere ? 1 : 0))
    }

    /// How many chunks of it another has not, and how many it has: what a change of one that is shared costs.
    func chunks(apartFrom other: SortedChunks) -> (apart: Int, all: Int) {
        func addresses(_ chunks: [[Element]]) -> [UnsafePointer<Element>?] {
            chunks.map { $0.withUnsafeBufferPointer(\.baseAddress) }
        }
        let others = Set(addresses(other.chunks))
        return (addresses(chunks).count { !others.contains($0) }, chunks.count)
    }
}

extension SortedChunks: Equatable where Element: Equatable {
    static func == (a: SortedChunks, b: SortedChunks) -> Bool {
        a.count == b.count && a.walk().elementsEqual(b.walk())
    }
}
