internal import Raft

/// Chance for one purpose. Each purpose has a stream of its own, so that leaving a kind of fault out changes as little as can
/// be of all others.
struct Dice {
    private var generator: SplitMix64

    init(seed: UInt64, purpose: String) {
        var mixed = seed
        for byte in purpose.utf8 { mixed = (mixed ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        generator = SplitMix64(seed: mixed)
    }

    mutating func next() -> UInt64 { generator.next() }

    /// A number from 0 up to but without `bound`.
    mutating func below(_ bound: Int) -> Int { Int(generator.next() % UInt64(max(bound, 1))) }

    mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }

    mutating func chance(_ probability: Double) -> Bool { unit() < probability }

    /// From 0 up to but without 1.
    mutating func unit() -> Double { Double(generator.next() >> 11) / 9_007_199_254_740_992 }

    mutating func pick<T>(_ items: [T]) -> T { items[below(items.count)] }

    /// Nanoseconds around `mean` with a long tail: a third of the time above it, rarely ten times as much.
    mutating func duration(mean: UInt64) -> UInt64 {
        let shape = unit()
        let factor = shape < 0.66 ? 0.2 + shape : shape < 0.97 ? 1 + (shape - 0.66) * 6 : 3 + (shape - 0.97) * 250
        return UInt64(Double(mean) * factor)
    }
}
