/// What happened in a run, or on one of its event loops.
package struct Recorder: Sendable {
    /// One stretch of time.
    package struct Slice: Sendable {
        package var latency = Histogram()
        package var events = 0
    }

    /// Pauses are found to this precision.
    private static let slotNanoseconds: UInt64 = 5_000_000

    package let sliceNanoseconds: UInt64
    private let from: UInt64
    private let to: UInt64
    /// Of operations that succeeded, those too that ended after the run.
    package private(set) var latency = Histogram()
    /// From a put's beginning to its event.
    package private(set) var events = Histogram()
    package private(set) var slices: [Slice]
    /// Operations that failed, by what was said.
    package private(set) var failures: [String: Int] = [:]
    /// Succeeded within the run.
    package private(set) var completed = 0
    package private(set) var eventsDelivered = 0
    private var slots: [Bool]
    private var last: UInt64 = 0

    /// - Parameters: the monotonic time that is recorded.
    init(from: UInt64, to: UInt64) {
        self.from = from
        self.to = to
        let length = Swift.max(to - from, 1)
        sliceNanoseconds = Swift.max(1_000_000_000, length / 120)
        slices = Array(repeating: Slice(), count: Int((length + sliceNanoseconds - 1) / sliceNanoseconds))
        slots = Array(repeating: false, count: Int(length / Self.slotNanoseconds) + 1)
    }

    /// - Parameter begun: when it was begun or, at a rate, should have been.
    mutating func succeeded(begun: UInt64, now: UInt64) {
        guard begun >= from, begun < to else { return }
        latency.record(now - begun)
        guard now < to else { return }
        last = Swift.max(last, now)
        completed += 1
        slices[Int((now - from) / sliceNanoseconds)].latency.record(now - begun)
        slots[Int((now - from) / Self.slotNanoseconds)] = true
    }

    mutating func failed(_ reason: String, begun: UInt64) {
        guard begun >= from, begun < to else { return }
        failures[reason, default: 0] += 1
    }

    mutating func event(put: UInt64, now: UInt64) {
        guard put >= from, now < to else { return }
        events.record(now - put)
        eventsDelivered += 1
        slices[Int((now - from) / sliceNanoseconds)].events += 1
    }

    mutating func add(_ other: Recorder) {
        latency.add(other.latency)
        events.add(other.events)
        for place in slices.indices {
            slices[place].latency.add(other.slices[place].latency)
            slices[place].events += other.slices[place].events
        }
        failures.merge(other.failures, uniquingKeysWith: +)
        completed += other.completed
        eventsDelivered += other.eventsDelivered
        for place in slots.indices where other.slots[place] { slots[place] = true }
        last = Swift.max(last, other.last)
    }

    /// The stretches up to the last in which something happened.
    package var busySlices: ArraySlice<Slice> {
        slices[..<((slices.lastIndex { $0.latency.count > 0 || $0.events > 0 } ?? -1) + 1)]
    }

    /// How long the recording was, in seconds: until the last success when there was a number of operations to do.
    package func seconds(endsEarly: Bool) -> Double {
        Double((endsEarly ? Swift.max(last, from + 1) : to) - from) / 1e9
    }

    /// The longest time without a success, in nanoseconds; to within 5 ms.
    package var longestPause: UInt64 {
        var longest = 0
        var current = 0
        for isBusy in slots[..<Swift.min(slots.count, Int((Swift.max(last, from) - from) / Self.slotNanoseconds) + 1)] {
            current = isBusy ? 0 : current + 1
            longest = Swift.max(longest, current)
        }
        return UInt64(longest) * Self.slotNanoseconds
    }
}
