/// How long a peer takes to answer, smoothed as in TCP (RFC 6298, section 2). Nanoseconds.
struct RoundTrip: Sendable {
    /// 0 until something was measured.
    private(set) var mean: UInt64 = 0
    private var variation: UInt64 = 0

    /// What takes longer is no distance: somebody stood still, or the connection broke.
    private static let longest: UInt64 = 2_000_000_000

    mutating func note(_ measured: UInt64) {
        let sample = min(measured, Self.longest)
        guard mean > 0 else {
            mean = max(sample, 1)
            variation = sample / 2
            return
        }
        let difference = mean > sample ? mean - sample : sample - mean
        variation = (3 * variation + difference) / 4
        mean = max((7 * mean + sample) / 8, 1)
    }

    /// Answers that are not lost come within this.
    var bound: UInt64 { mean + 4 * variation }
}
