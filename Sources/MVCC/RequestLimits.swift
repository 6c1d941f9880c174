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
        for branch in [request.success, request.failure] where branch.count > 1 || request.isNested {
            _ = try writes(of: branch)
        }
    }

    private func check(_ request: TxnRequest, operationsMax: Int, depth: Int) throws(MVCCError) {
        let operations = max(request.compares.count, request.success.count, request.failure.count)
        guard operations <= operationsMax, depth < Command.depthMax else { throw .tooManyOperations }
        if request.compares.contains(where: { $0.range.start.isEmpty }) { throw .emptyKey }
        for branch in [request.success, request.failure] {
            for operation in branch {
                switch operation {
                case .range(let request): try check(request)
                case .put(let request): try check(request)
                case .deleteRange(let request): try check(request)
                case .txn(let inner):
                    try check(inner, operationsMax: operationsMax - operations, depth: depth + 1)
                }
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
