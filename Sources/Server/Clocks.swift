#if canImport(Glibc)
    internal import Glibc
#endif

/// Nanoseconds of a clock that only runs forward, also while the machine sleeps.
package func monotonicNanoseconds() -> UInt64 { reading(CLOCK_BOOTTIME) }

private func reading(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// A time of `monotonicNanoseconds` by the clock that a thread can wait by, which stands still while the machine sleeps.
func conditionTime(_ deadline: UInt64) -> timespec {
    let left = deadline - min(monotonicNanoseconds(), deadline)
    let (end, isTooFar) = reading(CLOCK_MONOTONIC).addingReportingOverflow(left)
    let last = isTooFar ? UInt64.max : end
    return timespec(tv_sec: Int(last / 1_000_000_000), tv_nsec: Int(last % 1_000_000_000))
}

/// Milliseconds since 1970, by a clock that may jump.
package func millisecondsSince1970() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// Lets this thread rest.
func pause(nanoseconds: UInt64) {
    var rest = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    var remaining = timespec()
    while nanosleep(&rest, &remaining) != 0, errno == EINTR { rest = remaining }
}

/// A moment in words that people read.
package func utcText(seconds: Int64) -> String {
    var moment = time_t(seconds)
    var parts = tm()
    guard gmtime_r(&moment, &parts) != nil else { return "?" }
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
