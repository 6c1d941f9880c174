/// When history is compacted without being asked to. Names and meaning are those of etcd's `--auto-compaction-mode`.
package enum AutoCompaction: Equatable, Sendable {
    case off
    /// What is older than so many seconds goes.
    case periodic(seconds: UInt64)
    /// So many revisions stay.
    case revision(retained: Int64)
}

/// Finds the revision to compact to. Every member notes the times, so that whoever becomes leader knows; only a leader
/// proposes.
struct AutoCompactor {
    private static let second: UInt64 = 1_000_000_000
    private static let samples: UInt64 = 10
    private static let revisionInterval = 300 * second

    private let mode: AutoCompaction
    /// Between two looks.
    private let interval: UInt64
    private var nextLook: UInt64
    /// Which revision there was when, ascending.
    private var history: [(time: UInt64, revision: Int64)] = []

    init(_ mode: AutoCompaction, now: UInt64) {
        self.mode = mode
        switch mode {
        case .off: interval = .max
        case .periodic(let seconds): interval = min(seconds, 3600) * Self.second / Self.samples
        case .revision: interval = Self.revisionInterval
        }
        nextLook = now
    }

    /// The revision that a leader is to compact to now, if there is one.
    mutating func tick(now: UInt64, isLeading: Bool, revision: Int64, compactRevision: Int64) -> Int64? {
        guard mode != .off, now >= nextLook else { return nil }
        nextLook = now + interval
        guard let target = target(now: now, revision: revision), target > compactRevision, isLeading else { return nil }
        return target
    }

    private mutating func target(now: UInt64, revision: Int64) -> Int64? {
        switch mode {
        case .off: return nil
        case .revision(let retained): return revision - retained
        case .periodic(let seconds):
            history.append((now, revision))
            let period = seconds * Self.second
            guard let oldest = history.lastIndex(where: { $0.time + period <= now }) else { return nil }
            history.removeFirst(oldest)
            return history[0].revision
        }
    }
}
