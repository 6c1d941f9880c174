internal import Bytes

package protocol Named {
    var name: [UInt8] { get }
}

/// Records by their names, which are compared as bytes.
package struct NameTable<Record: Named & Equatable & Sendable>: Equatable, Sendable {
    /// Ascending.
    package private(set) var all: [Record] = []

    /// Where a record of this name is, or would be.
    private func place(of name: [UInt8]) -> (index: Int, isThere: Bool) {
        let index = all.partitioningIndex { !$0.name.lexicographicallyPrecedes(name) }
        return (index, index < all.count && all[index].name == name)
    }

    package subscript(_ name: [UInt8]) -> Record? {
        let (index, isThere) = place(of: name)
        return isThere ? all[index] : nil
    }

    mutating func put(_ record: Record) {
        let (index, isThere) = place(of: record.name)
        if isThere { all[index] = record } else { all.insert(record, at: index) }
    }

    /// What is new, other or gone, by ascending name.
    func differences(from before: Self) -> [(name: [UInt8], record: Record?)] {
        var found: [(name: [UInt8], record: Record?)] = []
        var place = 0
        for record in all {
            while place < before.all.count, before.all[place].name.lexicographicallyPrecedes(record.name) {
                found.append((before.all[place].name, nil))
                place += 1
            }
            let isKnown = place < before.all.count && before.all[place].name == record.name
            if !isKnown || before.all[place] != record { found.append((record.name, record)) }
            if isKnown { place += 1 }
        }
        return found + before.all[place...].map { ($0.name, nil) }
    }

    /// Answers if there was one.
    mutating func remove(_ name: [UInt8]) -> Bool {
        let (index, isThere) = place(of: name)
        if isThere { all.remove(at: index) }
        return isThere
    }
}
