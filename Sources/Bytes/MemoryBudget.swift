internal import Synchronization

/// A bound in bytes that several parts share. Whoever takes bytes gives them back. Thread-safe.
package final class MemoryBudget: Sendable {
    package let bytesMax: Int
    private let taken = Atomic<Int>(0)

    package init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    /// For tests and tools.
    package static let unlimited = MemoryBudget(bytesMax: .max)

    /// Of the whole, what requests may take that came in, and what answers may take that are read to be sent. The rest is for small
    /// requests, which are counted and not refused: so those who ask for much do not keep others from asking for little.
    package static let requestShare = 0.5
    package static let answerShare = 0.75
    /// And what the changes may take that were read again for watches that lag: clients that take nothing hold them for a while.
    package static let historyShare = 0.4

    /// What takes no more than this is counted and not refused.
    package static let smallBytes = 64 << 10

    /// Bytes taken now.
    package var bytesTaken: Int { taken.load(ordering: .relaxed) }

    /// If so much of the whole is taken, or more.
    package func isUsed(share: Double) -> Bool { Double(bytesTaken) >= Double(bytesMax) * share }

    /// Takes bytes if so many are left; false, and nothing is taken, when they are not.
    /// - Parameter share: of the whole.
    package func take(_ bytes: Int, share: Double = 1) -> Bool {
        precondition(bytes >= 0, "cannot take \(bytes) bytes")
        let now = taken.wrappingAdd(bytes, ordering: .relaxed).newValue
        if Double(now) <= Double(bytesMax) * share { return true }
        taken.wrappingSubtract(bytes, ordering: .relaxed)
        return false
    }

    /// Counts bytes that are there already, or no longer, whatever is left.
    package func note(_ difference: Int) {
        taken.wrappingAdd(difference, ordering: .relaxed)
    }

    package func give(_ bytes: Int) {
        let left = taken.wrappingSubtract(bytes, ordering: .relaxed).newValue
        precondition(left >= 0, "\(bytes) bytes were given back, more than were taken")
    }
}

/// Bytes of a budget that are given back when nobody needs what they are for.
package final class MemoryHold: Sendable {
    private let budget: MemoryBudget
    private let bytes: Int

    /// - Parameter bytes: taken already.
    package init(_ budget: MemoryBudget, _ bytes: Int) {
        self.budget = budget
        self.bytes = bytes
    }

    /// For a part of what it is for, which may live longer: so little that counting it twice matters less than to keep it all. Else itself.
    package func part(_ bytes: Int) -> MemoryHold {
        guard bytes < self.bytes / 8 else { return self }
        budget.note(bytes)
        return MemoryHold(budget, bytes)
    }

    deinit { budget.give(bytes) }
}
