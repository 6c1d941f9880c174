/// How long reads take.
extension View {
    private static let keysOfShortReads: Int64 = 1000

    /// If it comes to a thousand keys at most: it waits for none that take longer. What lives is known without looking,
    /// what lived once is not.
    package func isShort(_ request: RangeRequest) -> Bool {
        if request.range.end == .single { return true }
        guard request.revision <= 0 || tables.isRecent(request.revision) else { return false }
        if tables.counts.atMost(in: request.range) <= Self.keysOfShortReads { return true }
        if request.countOnly { return !request.isFiltered }
        return (1...Self.keysOfShortReads).contains(request.limit) && request.isInKeyOrder && !request.isFiltered
    }

    package func isShort(_ request: TxnRequest) -> Bool {
        request.compares.allSatisfy { tables.counts.atMost(in: $0.range) <= Self.keysOfShortReads }
            && (request.success + request.failure).allSatisfy { operation in
                switch operation {
                case .range(let range): isShort(range)
                case .txn(let inner): isShort(inner)
                case .put, .deleteRange: false
                }
            }
    }
}

extension RangeRequest {
    fileprivate var isFiltered: Bool {
        minModRevision != 0 || maxModRevision != 0 || minCreateRevision != 0 || maxCreateRevision != 0
    }

    fileprivate var isInKeyOrder: Bool { sortOrder == .none || sortTarget == .key && sortOrder == .ascend }
}
