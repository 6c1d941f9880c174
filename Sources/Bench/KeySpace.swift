#if canImport(Glibc)
    internal import Glibc
#endif
internal import Synchronization

/// A small fast generator (xorshift64*, Vigna 2014): good enough to spread keys, and a seed repeats a run.
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_f491_4f6c_dd1d
    }
}

/// Which of the keys an operation takes.
package enum KeyDistribution: String, CaseIterable, Sendable {
    case uniform
    /// A few keys get most: the k-th in proportion to 1/k^0.99 (YCSB's).
    case zipf
    /// One after the other, over all clients.
    case sequential
}

/// The keys of a run: `prefix` and a number of ten digits.
package final class KeySpace: Sendable {
    package let prefix: String
    package let count: Int
    package let keySize: Int
    private let head: [UInt8]
    private let distribution: KeyDistribution
    private let nextInLine = Atomic<Int>(0)
    private let zipf: Zipf?
    private static let digits = 10

    /// - Parameter keySize: bytes of each key; keys that would be longer are.
    package init(prefix: String, count: Int, keySize: Int, distribution: KeyDistribution) {
        self.prefix = prefix
        self.count = max(count, 1)
        self.keySize = max(keySize, prefix.utf8.count + Self.digits)
        self.distribution = distribution
        let filling = String(repeating: "0", count: self.keySize - prefix.utf8.count - Self.digits)
        head = Array((prefix + filling).utf8)
        zipf = distribution == .zipf ? Zipf(count: self.count) : nil
    }

    func key(_ number: Int) -> [UInt8] {
        var key = head
        key.reserveCapacity(keySize)
        var divisor = 1_000_000_000
        while divisor > 0 {
            key.append(UInt8(ascii: "0") + UInt8(number / divisor % 10))
            divisor /= 10
        }
        return key
    }

    func number(_ dice: inout Dice) -> Int {
        switch distribution {
        case .uniform: Int.random(in: 0..<count, using: &dice)
        case .sequential: nextInLine.wrappingAdd(1, ordering: .relaxed).oldValue % count
        case .zipf: zipf?.number(&dice) ?? 0
        }
    }

    func key(_ dice: inout Dice) -> [UInt8] { key(number(&dice)) }

    /// The first key after all of the prefix.
    var end: [UInt8] {
        var end = Array(prefix.utf8)
        while let last = end.popLast() {
            if last < 0xff { return end + [last + 1] }
        }
        return [0]
    }
}

/// Gray et al., "Quickly generating billion-record synthetic databases" (1994), as YCSB has it.
private struct Zipf {
    private static let theta = 0.99
    private let count: Double
    private let zeta: Double
    private let eta: Double
    private let second: Double

    init(count: Int) {
        self.count = Double(count)
        second = 1 + pow(0.5, Self.theta)
        zeta = (1...count).reduce(0.0) { $0 + 1 / pow(Double($1), Self.theta) }
        eta = (1 - pow(2 / Double(count), 1 - Self.theta)) / (1 - second / zeta)
    }

    func number(_ dice: inout Dice) -> Int {
        let u = Double.random(in: 0..<1, using: &dice)
        let uz = u * zeta
        if uz < 1 { return 0 }
        if uz < second { return 1 }
        return min(Int(count * pow(eta * u - eta + 1, 1 / (1 - Self.theta))), Int(count) - 1)
    }
}
