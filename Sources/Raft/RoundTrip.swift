/// How long a peer takes to answer, smoothed as in TCP (RFC 6298, section 2). Nanoseconds.
struct RoundTrip: Sendable {
    private var mean: UInt64 = 0
    private var variation: UInt64 = 0

    mutating func note(_ sample: UInt64) {
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
