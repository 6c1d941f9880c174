/// A first-in first-out buffer that also gives random access; both ends are amortised O(1).
package struct Queue<Element>: RandomAccessCollection {
    private var storage: [Element?] = []
    private var head = 0

    package init() {}

    package var startIndex: Int { 0 }
    package var endIndex: Int { storage.count - head }

    package subscript(position: Int) -> Element {
        get {
            guard let element = storage[head + position] else {
                preconditionFailure("empty slot \(position) of a queue")
            }
            return element
        }
        set { storage[head + position] = newValue }
    }

    // The library's go by indices, one generic step after another.
    package var first: Element? { isEmpty ? nil : self[0] }
    package var last: Element? { isEmpty ? nil : self[endIndex - 1] }
    package var isEmpty: Bool { head == storage.count }

    package mutating func append(_ element: Element) {
        storage.append(element)
    }

    package mutating func insert(_ element: Element, at position: Int) {
        storage.insert(element, at: head + position)
    }

    package mutating func removeFirst(_ count: Int = 1) {
        precondition(count <= self.count, "cannot take \(count) of \(self.count)")
        for place in head..<head + count { storage[place] = nil }
        head += count
        // Half of the storage being free pays for moving the other half.
        if head > 32 && head * 2 >= storage.count {
            storage.removeFirst(head)
            head = 0
        }
    }

    package mutating func removeLast(_ count: Int) {
        precondition(count <= self.count, "cannot take \(count) of \(self.count)")
        storage.removeLast(count)
    }

    package mutating func removeAll() {
        storage.removeAll()
        head = 0
    }
}

extension Queue: Sendable where Element: Sendable {}
