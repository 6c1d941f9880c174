/// Counts times in classes that are at most 1.6 % wide, from 1 ns to an hour and more: a table of fixed size, so that
/// recording costs the same whatever comes.
package struct Histogram: Sendable {
    /// Classes per doubling.
    private static let stepBits = 6
    private static let steps = 1 << stepBits
    private static let doublings = 42

    private var counts: [UInt32]
    package private(set) var count = 0
    private var sum = 0.0
    package private(set) var max: UInt64 = 0
    package private(set) var min: UInt64 = .max

    package init() {
        counts = Array(repeating: 0, count: Self.steps * Self.doublings)
    }

    private static func place(of value: UInt64) -> Int {
        guard value >= UInt64(steps) else { return Int(value) }
        let doubling = 63 - value.leadingZeroBitCount - stepBits
        return Swift.min(
            (doubling + 1) << stepBits | Int(value >> UInt64(doubling)) & (steps - 1), steps * doublings - 1)
    }

    /// The largest value of a class.
    private static func value(at place: Int) -> UInt64 {
        guard place >= steps else { return UInt64(place) }
        let doubling = UInt64(place >> stepBits - 1)
        return (UInt64(place & (steps - 1)) + UInt64(steps) + 1) << doubling - 1
    }

    /// - Parameter nanoseconds: how long it took.
    package mutating func record(_ nanoseconds: UInt64) {
        counts[Self.place(of: nanoseconds)] += 1
        count += 1
        sum += Double(nanoseconds)
        max = Swift.max(max, nanoseconds)
        min = Swift.min(min, nanoseconds)
    }

    package mutating func add(_ other: Histogram) {
        for place in counts.indices { counts[place] += other.counts[place] }
        count += other.count
        sum += other.sum
        max = Swift.max(max, other.max)
        min = Swift.min(min, other.min)
    }

    package mutating func removeAll() { self = Histogram() }

    /// In nanoseconds; 0 when nothing was recorded.
    package var mean: Double { count == 0 ? 0 : sum / Double(count) }

    /// The least value that `fraction` (0...1) of all are not above, in nanoseconds; 0 when nothing was recorded.
    package func quantile(_ fraction: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let wanted = Swift.max(1, Int((fraction * Double(count)).rounded(.up)))
        var seen = 0
        for (place, number) in counts.enumerated() where number > 0 {
            seen += Int(number)
            if seen >= wanted { return Swift.min(Self.value(at: place), max) }
        }
        return max
    }
}
