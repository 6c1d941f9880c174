/// A key's bytes and what the store knows of one of its revisions (etcd's `mvccpb.KeyValue`).
package struct KeyValue: Equatable, Sendable {
    package var key: [UInt8]
    /// The revision of the put that created the key.
    package var createRevision: Int64
    /// The revision of this change.
    package var modRevision: Int64
    /// Puts since the key was created; 0 in what marks a deletion.
    package var version: Int64
    package var lease: Int64
    package var value: [UInt8]

    package init(
        key: [UInt8] = [], createRevision: Int64 = 0, modRevision: Int64 = 0, version: Int64 = 0, lease: Int64 = 0,
        value: [UInt8] = []
    ) {
        self.key = key
        self.createRevision = createRevision
        self.modRevision = modRevision
        self.version = version
        self.lease = lease
        self.value = value
    }
}

/// The keys from `start` up to but without `end`.
package struct KeyRange: Equatable, Sendable {
    package enum End: Equatable, Sendable {
        /// Only `start` itself.
        case single
        case before([UInt8])
        case unbounded
    }

    package var start: [UInt8]
    package var end: End

    package init(start: [UInt8], end: End) {
        self.start = start
        self.end = end
    }

    /// As etcd's requests say it: no end for one key, a zero byte for "and all after it".
    package init(key: [UInt8], rangeEnd: [UInt8]) {
        start = key
        end = rangeEnd.isEmpty ? .single : rangeEnd == [0] ? .unbounded : .before(rangeEnd)
    }

    /// All keys that begin with `prefix`.
    package init(prefix: [UInt8]) {
        var end = prefix
        while end.last == 0xff { end.removeLast() }
        guard let last = end.last else {
            // No key is empty, so this is all of them.
            self.init(start: prefix.isEmpty ? [0] : prefix, end: .unbounded)
            return
        }
        end[end.count - 1] = last + 1
        self.init(start: prefix, end: .before(end))
    }

    /// The end as etcd's requests say it.
    package var rangeEnd: [UInt8] {
        switch end {
        case .single: []
        case .before(let end): end
        case .unbounded: [0]
        }
    }

    package func contains(_ key: [UInt8]) -> Bool {
        switch end {
        case .single: key == start
        case .before(let end): !precedes(key, start) && precedes(key, end)
        case .unbounded: !precedes(key, start)
        }
    }

    package func intersects(_ other: KeyRange) -> Bool {
        startsBeforeEnd(of: other) && other.startsBeforeEnd(of: self) && !isEmpty && !other.isEmpty
    }

    private func startsBeforeEnd(of other: KeyRange) -> Bool {
        switch other.end {
        case .single: !precedes(other.start, start)
        case .before(let end): precedes(start, end)
        case .unbounded: true
        }
    }

    private var isEmpty: Bool {
        if case .before(let end) = end { return !precedes(start, end) }
        return false
    }
}

/// If `a` comes before `b`, byte by byte.
@inline(__always)
package func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    order(a, b) < 0
}
