internal import Bytes

/// Key ranges, ascending, with gaps between them: those that touch or overlap are one.
struct MergedRanges: Equatable, Sendable {
    private(set) var ranges: [KeyRange] = []

    init(_ ranges: [KeyRange]) {
        for range in ranges.sorted(by: { precedes($0.start, $1.start) }) {
            if let last = self.ranges.last, last.reaches(range.start) {
                if last.endsBefore(range) {
                    self.ranges[self.ranges.count - 1] = KeyRange(start: last.start, end: range.end.closed(range.start))
                }
            } else {
                self.ranges.append(range)
            }
        }
    }

    /// The only one that a key can be in.
    private func range(around key: [UInt8]) -> KeyRange? {
        let place = ranges.partitioningIndex { precedes(key, $0.start) }
        return place > 0 && ranges[place - 1].contains(key) ? ranges[place - 1] : nil
    }

    func contain(_ key: [UInt8]) -> Bool { range(around: key) != nil }

    /// If all keys of a range are in them.
    func contain(_ other: KeyRange) -> Bool { range(around: other.start).map { !$0.endsBefore(other) } ?? false }
}

/// A set of key ranges that is asked for single keys: sorted and merged when it is asked, not at each insertion.
struct KeyRanges {
    private var merged = MergedRanges([])
    private var fresh: [KeyRange] = []

    mutating func insert(_ range: KeyRange) { fresh.append(range) }

    mutating func formUnion(_ other: KeyRanges) { fresh += other.merged.ranges + other.fresh }

    mutating func contain(_ key: [UInt8]) -> Bool {
        if !fresh.isEmpty {
            merged = MergedRanges(merged.ranges + fresh)
            fresh = []
        }
        return merged.contain(key)
    }
}

extension KeyRange {
    /// If a range that begins at `start` touches or overlaps this one, which does not begin later.
    fileprivate func reaches(_ start: [UInt8]) -> Bool {
        switch end {
        case .unbounded: true
        case .before(let end): !precedes(end, start)
        case .single: start == self.start || start == self.start + [0]
        }
    }

    fileprivate func endsBefore(_ other: KeyRange) -> Bool {
        switch (end.closed(start), other.end.closed(other.start)) {
        case (.unbounded, _): false
        case (_, .unbounded): true
        case (.before(let a), .before(let b)): precedes(a, b)
        default: false
        }
    }
}

extension KeyRange.End {
    /// The same end, said of ranges that are more than one key.
    fileprivate func closed(_ start: [UInt8]) -> KeyRange.End {
        if case .single = self { .before(start + [0]) } else { self }
    }
}
