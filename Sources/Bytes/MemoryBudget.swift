internal import Synchronization

/// A bound in bytes that several parts share. Whoever takes bytes gives them back. Thread-safe.
package final class MemoryBudget: Sendable {
    package let bytesMax: Int
    private let taken = Atomic<Int>(0)

    package init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    /// Bytes taken now.
    package var bytesTaken: Int { taken.load(ordering: .relaxed) }

    /// Takes bytes if so many are left; false, and nothing is taken, when they are not.
    /// - Parameter share: of the whole; those who ask for less importance get a smaller one.
    package func take(_ bytes: Int, share: Double = 1) -> Bool {
        precondition(bytes >= 0, "cannot take \(bytes) bytes")
        let limit = Int(Double(bytesMax) * share)
        let now = taken.wrappingAdd(bytes, ordering: .relaxed).newValue
        if now <= limit { return true }
        taken.wrappingSubtract(bytes, ordering: .relaxed)
        return false
    }

    /// Takes bytes that are there already, whatever is left.
    package func note(_ bytes: Int) {
        taken.wrappingAdd(bytes, ordering: .relaxed)
    }

    package func give(_ bytes: Int) {
        let left = taken.wrappingSubtract(bytes, ordering: .relaxed).newValue
        precondition(left >= 0, "\(bytes) bytes were given back, more than were taken")
    }
}
