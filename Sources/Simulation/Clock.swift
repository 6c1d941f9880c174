/// A machine's monotonic clock: it may run fast or slow and stand still, and never goes back.
struct Clock {
    private var reading: UInt64
    private var since: UInt64 = 0
    private var rate = 1.0
    private(set) var frozenUntil: UInt64 = 0

    /// - Parameter reading: what it shows at time 0.
    init(reading: UInt64) {
        self.reading = reading
    }

    func reading(at time: UInt64) -> UInt64 {
        let from = max(since, frozenUntil)
        return time <= from ? reading : reading + UInt64(Double(time - from) * rate)
    }

    /// When it will have advanced by `nanoseconds`.
    func time(after nanoseconds: UInt64, from time: UInt64) -> UInt64 {
        max(time, frozenUntil) + UInt64(Double(nanoseconds) / rate)
    }

    mutating func setRate(_ rate: Double, at time: UInt64) {
        reading = self.reading(at: time)
        since = time
        self.rate = rate
    }

    mutating func freeze(until end: UInt64, at time: UInt64) {
        reading = self.reading(at: time)
        since = time
        frozenUntil = max(end, frozenUntil)
    }

    mutating func thaw(at time: UInt64) {
        reading = self.reading(at: time)
        since = time
        frozenUntil = 0
    }
}
