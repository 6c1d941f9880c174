/// What one answer may take in memory: answers are built whole, so a few small requests could otherwise ask for all of it.
package struct AnswerBudget: Sendable {
    /// Most bytes of keys and values in one answer.
    package static let bytesMax = 256 << 20
    private static let pairBytes = 96

    private var left: Int

    package init() { left = Self.bytesMax }

    /// - Parameter left: bytes of keys and values, and a little for each pair.
    package init(left: Int) { self.left = left }

    /// For what is read to decide, not to answer.
    static let unlimited = AnswerBudget(left: .max)

    var isExceeded: Bool { left < 0 }

    /// Takes what `pair` needs; false when that is too much.
    mutating func take(_ pair: KeyValue) -> Bool {
        left -= pair.key.count + pair.value.count + Self.pairBytes
        return left >= 0
    }
}
