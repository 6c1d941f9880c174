internal import Synchronization

/// A number that only rises.
package final class Counter: Sendable {
    private let number = Atomic<UInt64>(0)

    package func add(_ amount: UInt64 = 1) { number.wrappingAdd(amount, ordering: .relaxed) }
    package var value: UInt64 { number.load(ordering: .relaxed) }
}

/// Counts durations by etcd's buckets: doubling from 1 ms.
package final class DurationHistogram: Sendable {
    package struct Reading: Sendable {
        /// Upper bounds in seconds and how many were not above, ascending; without the last, infinite one.
        package var buckets: [(bound: Double, count: UInt64)] = []
        package var count: UInt64 = 0
        package var sumSeconds = 0.0
    }

    private static let bucketCount = 14
    private struct Counts {
        var buckets = [UInt64](repeating: 0, count: bucketCount)
        var count: UInt64 = 0
        var nanoseconds: UInt64 = 0
    }
    private let counts = Mutex(Counts())

    package func record(nanoseconds: UInt64) {
        var bound: UInt64 = 1_000_000
        var bucket = 0
        while bucket < Self.bucketCount, nanoseconds > bound {
            bound *= 2
            bucket += 1
        }
        counts.withLock { counts in
            if bucket < Self.bucketCount { counts.buckets[bucket] += 1 }
            counts.count += 1
            counts.nanoseconds += nanoseconds
        }
    }

    package func reading() -> Reading {
        let counts = counts.withLock { $0 }
        var reading = Reading(count: counts.count, sumSeconds: Double(counts.nanoseconds) / 1e9)
        var bound = 0.001
        var running: UInt64 = 0
        for count in counts.buckets {
            running += count
            reading.buckets.append((bound, running))
            bound *= 2
        }
        return reading
    }
}

/// A number that goes up and down.
package final class Gauge: Sendable {
    private let number = Atomic<Int>(0)

    package func set(_ value: Int) { number.store(value, ordering: .relaxed) }
    package var value: Int { number.load(ordering: .relaxed) }
}

/// What a member counts.
package final class Metrics: Sendable {
    package let leaderChanges = Counter()
    package let proposalsApplied = Counter()
    package let proposalsFailed = Counter()
    package let slowReads = Counter()
    package let puts = Counter()
    package let deletes = Counter()
    package let txns = Counter()
    package let ranges = Counter()
    package let walSync = DurationHistogram()
    package let backendCommit = DurationHistogram()
    package let snapshotsSent = Counter()
    package let snapshotsReceived = Counter()
    package let peerMessagesSent = Counter()
    package let peerMessagesReceived = Counter()
    package let watchers = Gauge()
    package let watchStreams = Gauge()

    package init() {}
}
