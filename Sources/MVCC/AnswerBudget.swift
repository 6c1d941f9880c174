package import Bytes

/// What one answer may take in memory: answers are built whole, so a few small requests could otherwise ask for all of it.
package struct AnswerBudget: Sendable {
    /// Most bytes of keys and values in one answer.
    package static let bytesMax = 256 << 20
    private static let pairBytes = 96

    private var left: Int
    /// That of the member, for all answers together.
    private let shared: MemoryBudget?
    private var taken = 0
    private(set) var lacksMemory = false

    /// - Parameters:
    ///   - left: bytes of keys and values, and a little for each pair.
    ///   - shared: what all answers together may take.
    package init(left: Int = bytesMax, shared: MemoryBudget? = nil) {
        self.left = left
        self.shared = shared
    }

    /// For what is read to decide, not to answer.
    static let unlimited = AnswerBudget(left: .max)

    var isExceeded: Bool { left < 0 || lacksMemory }
    /// Why it is.
    var refusal: MVCCError { lacksMemory ? .noMemory : .answerTooLarge }

    /// Takes what `pair` needs; false when that is too much. Called before the pair is kept.
    mutating func take(_ pair: KeyValue) -> Bool {
        let bytes = pair.key.count + pair.value.count + Self.pairBytes
        left -= bytes
        guard left >= 0, !lacksMemory else { return false }
        guard let shared else { return true }
        if taken + bytes <= MemoryBudget.smallBytes {
            // A small answer passes even when others hold much.
            shared.note(bytes)
        } else if !shared.take(bytes, share: MemoryBudget.answerShare) {
            lacksMemory = true
            return false
        }
        taken += bytes
        return true
    }

    /// What was taken of the shared budget, to be kept with the answer; a refused one keeps nothing.
    mutating func hold() -> MemoryHold? {
        guard let shared, taken > 0 else { return nil }
        defer { taken = 0 }
        return MemoryHold(shared, taken)
    }
}
