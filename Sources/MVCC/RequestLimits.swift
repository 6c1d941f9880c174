internal import Bytes

/// What is refused before it is proposed: limits and contradictions that etcd's API names.
package struct RequestLimits: Sendable {
    /// etcd's `--max-txn-ops`.
    package var transactionOperationsMax = 128

    package init() {}

    package func check(_ request: RangeRequest) throws(MVCCError) {
        if request.range.start.isEmpty { throw .emptyKey }
    }

    package func check(_ request: PutRequest) throws(MVCCError) {
        if request.key.isEmpty { throw .emptyKey }
        if request.ignoresValue && !request.value.isEmpty { throw .valueProvided }
        if request.ignoresLease && request.lease != 0 { throw .leaseProvided }
    }

    package func check(_ request: DeleteRangeRequest) throws(MVCCError) {
        if request.range.start.isEmpty { throw .emptyKey }
    }

    package func check(_ request: TxnRequest) throws(MVCCError) {
        try check(request, operationsMax: transactionOperationsMax, depth: 0)
        // Each branch by itself: the two never run together.
        _ = try writes(of: request.success)
        _ = try writes(of: request.failure)
    }

    private func check(_ request: TxnRequest, operationsMax: Int, depth: Int) throws(MVCCError) {
        let operations = max(request.compares.count, request.success.count, request.failure.count)
        guard operations <= operationsMax, depth < Command.depthMax else { throw .tooManyOperations }
        if request.compares.contains(where: { $0.range.start.isEmpty }) { throw .emptyKey }
        for operation in request.success + request.failure {
            switch operation {
            case .range(let request): try check(request)
            case .put(let request): try check(request)
            case .deleteRange(let request): try check(request)
            case .txn(let inner):
                try check(inner, operationsMax: operationsMax - operations, depth: depth + 1)
            }
        }
    }

    /// What a branch puts and deletes.
    private struct Writes {
        var puts: Set<Key> = []
        var deletes = KeyRanges()

        mutating func put(_ key: Key) throws(MVCCError) {
            guard !deletes.contain(key.bytes), puts.insert(key).inserted else { throw .duplicateKey }
        }
    }

    /// A key may be put once on every path, and not where a range is deleted (etcd's `checkIntervals`).
    private func writes(of branch: [TxnRequest.Operation]) throws(MVCCError) -> Writes {
        var all = Writes()
        for case .deleteRange(let request) in branch { all.deletes.insert(request.range) }
        for case .txn(let inner) in branch {
            let then = try writes(of: inner.success)
            let otherwise = try writes(of: inner.failure)
            // Only one of the two branches runs, so they may share keys with each other, but with nothing before them.
            for key in then.puts.union(otherwise.puts) { try all.put(key) }
            all.deletes.formUnion(then.deletes)
            all.deletes.formUnion(otherwise.deletes)
        }
        for case .put(let put) in branch { try all.put(Key(put.key)) }
        return all
    }
}

/// A set of key ranges that is asked for single keys: sorted and merged when it is asked, not at each insertion.
struct KeyRanges {
    private var merged: [KeyRange] = []
    private var fresh: [KeyRange] = []

    mutating func insert(_ range: KeyRange) { fresh.append(range) }

    mutating func formUnion(_ other: KeyRanges) { fresh += other.merged + other.fresh }

    mutating func contain(_ key: [UInt8]) -> Bool {
        merge()
        // The last range that begins at or before the key.
        var (low, high) = (0, merged.count)
        while low < high {
            let middle = (low + high) / 2
            if precedes(key, merged[middle].start) { high = middle } else { low = middle + 1 }
        }
        return low > 0 && merged[low - 1].contains(key)
    }

    private mutating func merge() {
        guard !fresh.isEmpty else { return }
        let sorted = (merged + fresh).sorted { precedes($0.start, $1.start) }
        merged = []
        fresh = []
        for range in sorted {
            if let last = merged.last, last.reaches(range.start) {
                if last.endsBefore(range) {
                    merged[merged.count - 1] = KeyRange(start: last.start, end: range.end.closed(range.start))
                }
            } else {
                merged.append(range)
            }
        }
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
