/// Lengths of time as etcd's flags take them: `10m`, `1h30m`, `500ms`.
enum Durations {
    private static let units: [(suffix: String, nanoseconds: Double)] = [
        ("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("ns", 1), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
    ]
    private static let secondsMax = 1e9

    /// Whole seconds, as a flag says them.
    static func seconds(_ text: String, _ flag: String, atMost longest: Int64) throws -> Int64 {
        guard let time = nanoseconds(text), (1...longest).contains(Int64(time / 1_000_000_000)) else {
            throw Problem(
                .usage, "\(flag): \"\(text)\" is not a time from 1s to \(longest / 3600)h, such as 10m or 24h")
        }
        return Int64(time / 1_000_000_000)
    }

    /// Nanoseconds; nil when `text` is no length of time or one of over 30 years.
    static func nanoseconds(_ text: String) -> UInt64? {
        var rest = text[...]
        var total = 0.0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            guard let number = Double(digits), let unit = units.first(where: { rest.hasPrefix($0.suffix) }) else {
                return nil
            }
            rest = rest.dropFirst(unit.suffix.count)
            total += number * unit.nanoseconds
        }
        return total <= secondsMax * 1e9 ? UInt64(total) : nil
    }
}
