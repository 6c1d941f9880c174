package protocol Named {
    var name: [UInt8] { get }
}

/// Records by their names, which are compared as bytes.
package struct NameTable<Record: Named & Equatable & Sendable>: Equatable, Sendable {
    /// Ascending.
    package private(set) var all: [Record] = []

    /// Where a record of this name is, or would be.
    private func place(of name: [UInt8]) -> (index: Int, isThere: Bool) {
        var low = 0
        var high = all.count
        while low < high {
            let middle = (low + high) / 2
            if all[middle].name.lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
        }
        return (low, low < all.count && all[low].name == name)
    }

    package subscript(_ name: [UInt8]) -> Record? {
        let (index, isThere) = place(of: name)
        return isThere ? all[index] : nil
    }

    mutating func put(_ record: Record) {
        let (index, isThere) = place(of: record.name)
        if isThere { all[index] = record } else { all.insert(record, at: index) }
    }

    /// Answers if there was one.
    mutating func remove(_ name: [UInt8]) -> Bool {
        let (index, isThere) = place(of: name)
        if isThere { all.remove(at: index) }
        return isThere
    }
}
