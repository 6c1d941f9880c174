package import Access
package import Fabric
package import SQLite

/// The state at one applied index, for readers of other threads.
package struct View: Sendable {
    let tables: Tables
    let marks: FileMarks
    /// Of the file that has what is not in memory: see `FileMarks`.
    let generation: UInt64
    package let revision: Int64
    package let compactRevision: Int64
    package let appliedIndex: UInt64
    package let appliedTerm: UInt64
    /// `StateMeta.hash`
    package let hash: UInt64
    package let alarms: [Alarm]
    /// `StateMeta.version`
    package let version: UInt64
    /// As they are now, perhaps later than the rest of this.
    package let leases: LeaseTable
    package let fabric: FabricState
    /// Users and roles.
    package let access: AccessState

    /// What somebody may do in this state.
    package func authorizer(for author: Author?, _ known: inout KnownRights) -> Authorizer {
        Authorizer(author, in: access, leases, &known)
    }

    /// What a certificate's role allows to somebody who is no user.
    package func authorizer(for role: ReservedRole) -> Authorizer {
        // Once users count, keys are theirs.
        Authorizer(allKeys: role == .root || role == .client && !access.isEnabled, leases)
    }

    /// For those of whom nothing is known that counts.
    package var strangersAuthorizer: Authorizer {
        Authorizer(access.isEnabled ? .emptyUserName : .noCertificate, leases)
    }

    /// Answers a range; a revision of 0 reads the newest this view has.
    /// - Parameter budget: what the answer may take in memory.
    package func range(
        _ request: RangeRequest, _ reader: StateReader, budget: AnswerBudget = AnswerBudget()
    ) throws(ReadFailure) -> RangeResult {
        let readRevision = try readRevision(request)
        return try reader.inSnapshot { () throws(ReadFailure) in
            // Opened before the mark is read: if rows this needs are gone from the snapshot, the mark says so.
            guard readRevision >= marks.pruned else { throw .request(.compacted) }
            var budget = budget
            var result: RangeResult
            do throws(SQLiteError) {
                result = try tables.range(request, at: readRevision, reader, &budget)
            } catch {
                _ = budget.hold()
                throw .disk(error)
            }
            result.hold = budget.hold()
            guard !budget.isExceeded else { throw .request(budget.refusal) }
            result.revision = revision
            return result
        } failure: {
            .disk($0)
        }
    }

    /// Answers ranges of single keys, all on one snapshot; the file is not touched for those that memory answers.
    package func points(
        _ requests: [RangeRequest], _ reader: Result<StateReader, SQLiteError>
    ) -> [Result<RangeResult, ReadFailure>] {
        var results: [Result<RangeResult, ReadFailure>] = []
        results.reserveCapacity(requests.count)
        var missing: [(place: Int, revision: Int64)] = []
        for request in requests {
            do throws(ReadFailure) {
                let readRevision = try readRevision(request)
                if let change = tables.latestInMemory(request.range.start, notAfter: readRevision) {
                    results.append(.success(point(change, request)))
                    continue
                }
                missing.append((results.count, readRevision))
                results.append(.success(point(nil, request)))
            } catch {
                results.append(.failure(error))
            }
        }
        if missing.isEmpty { return results }
        do throws(SQLiteError) {
            let reader = try reader.get()
            let marked = try reader.inSnapshot { () throws(SQLiteError) in
                // Opened before the mark is read, as in `range`.
                let mark = marks.pruned
                for (place, readRevision) in missing {
                    let key = requests[place].range.start
                    results[place] = .success(
                        point(try reader.latest(key, notAfter: readRevision), requests[place]))
                }
                return mark
            } failure: {
                $0
            }
            for (place, readRevision) in missing where readRevision < marked {
                results[place] = .failure(.request(.compacted))
            }
        } catch {
            for (place, _) in missing { results[place] = .failure(.disk(error)) }
        }
        return results
    }

    private func point(_ change: Memtable.Change?, _ request: RangeRequest) -> RangeResult {
        var result = RangeResult()
        result.revision = revision
        guard let change, change.pair.version > 0 else { return result }
        result.count = 1
        if request.countOnly || !request.lets(change.pair) { return result }
        result.pairs = [change.pair]
        if request.keysOnly { result.pairs[0].value = [] }
        return result
    }

    /// Answers a txn that only reads.
    /// - Parameter budget: what the answer may take in memory.
    package func txn(
        _ request: TxnRequest, _ reader: StateReader, budget: AnswerBudget = AnswerBudget()
    ) throws(ReadFailure) -> TxnResult {
        precondition(request.isReadOnly, "a view cannot write")
        return try reader.inSnapshot { () throws(ReadFailure) in
            guard revision >= marks.pruned else { throw .request(.compacted) }
            var budget = budget
            let txnReader = TxnReader(tables: tables, revision: revision, reader: reader)
            let answer = Result { () throws(ReadFailure) in
                try txnReader.run(request, &budget) { (range) throws(ReadFailure) in
                    let readRevision = try readRevision(range)
                    guard readRevision >= marks.pruned else { throw .request(.compacted) }
                    return readRevision
                }
            }
            // A txn that failed half-way gives back what its first ranges took.
            let hold = budget.hold()
            var result = try answer.get()
            guard !budget.isExceeded else { throw .request(budget.refusal) }
            result.hold = hold
            return result
        } failure: {
            .disk($0)
        }
    }

    private func readRevision(_ request: RangeRequest) throws(ReadFailure) -> Int64 {
        guard request.revision > 0 else { return revision }
        guard request.revision <= revision else { throw .request(.futureRevision) }
        guard request.revision >= compactRevision else { throw .request(.compacted) }
        return request.revision
    }
}

/// The reading half of txns.
struct TxnReader {
    let tables: Tables
    let revision: Int64
    let reader: StateReader

    /// If all compares hold.
    func holds(_ compares: [Compare]) throws(SQLiteError) -> Bool {
        for compare in compares {
            guard try holds(compare) else { return false }
        }
        return true
    }

    /// Looks no further than to the first key that does not hold it, and keeps none.
    func holds(_ compare: Compare) throws(SQLiteError) -> Bool {
        let isOfValues = if case .value = compare.operand { true } else { false }
        guard compare.range.end != .single else {
            let pair = try tables.latest(compare.range.start, notAfter: revision, reader)
            return pair.map(compare.holds) ?? compare.holdsForNothing
        }
        var keys = 0
        var holds = true
        var toLoad: [Tables.Found] = []
        var from = compare.range
        repeat {
            toLoad = []
            try tables.scan(from, notAfter: revision, reader) { found in
                keys += 1
                if isOfValues { toLoad.append(found) } else { holds = compare.holds(for: found.pair) }
                return holds && toLoad.count < Self.valuesMax
            }
            // A value is read after the scan, which has the file's statement.
            for found in toLoad where holds { holds = compare.holds(for: try tables.whole(found, reader)) }
            if let last = toLoad.last { from = KeyRange(start: last.pair.key + [0], end: compare.range.end) }
        } while holds && toLoad.count == Self.valuesMax
        return keys == 0 ? compare.holdsForNothing : holds
    }

    /// Keys whose values are looked at between two scans.
    private static let valuesMax = 64

    /// Runs a txn without writes; `revisionOf` checks the revision a range asks for.
    func run(
        _ request: TxnRequest, _ budget: inout AnswerBudget,
        revisionOf: (RangeRequest) throws(ReadFailure) -> Int64
    ) throws(ReadFailure) -> TxnResult {
        do {
            let succeeded = try holds(request.compares)
            var result = TxnResult(succeeded: succeeded, responses: [])
            for operation in succeeded ? request.success : request.failure {
                switch operation {
                case .range(let range):
                    var answer = try tables.range(range, at: try revisionOf(range), reader, &budget)
                    answer.revision = revision
                    result.responses.append(.range(answer))
                case .txn(let inner): result.responses.append(.txn(try run(inner, &budget, revisionOf: revisionOf)))
                case .put, .deleteRange: preconditionFailure("a write in a txn that only reads")
                }
            }
            return result
        } catch let failure as ReadFailure {
            throw failure
        } catch let error as SQLiteError {
            throw .disk(error)
        } catch {
            preconditionFailure("an error of another kind: \(error)")
        }
    }
}

extension Compare {
    /// An absent key has version, revisions and lease 0, but no value to compare with.
    var holdsForNothing: Bool {
        if case .value = operand { return false }
        return holds(for: KeyValue())
    }

    func holds(for pair: KeyValue) -> Bool {
        let difference =
            switch operand {
            case .version(let number): Self.difference(pair.version, number)
            case .create(let number): Self.difference(pair.createRevision, number)
            case .mod(let number): Self.difference(pair.modRevision, number)
            case .value(let bytes): order(pair.value, bytes)
            case .lease(let number): Self.difference(pair.lease, number)
            }
        return switch relation {
        case .equal: difference == 0
        case .notEqual: difference != 0
        case .greater: difference > 0
        case .less: difference < 0
        }
    }

    private static func difference(_ a: Int64, _ b: Int64) -> Int {
        a < b ? -1 : a > b ? 1 : 0
    }
}
