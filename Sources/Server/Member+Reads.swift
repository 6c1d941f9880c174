internal import Bytes
internal import Logging
package import MVCC
package import Raft
package import Replication
internal import SQLite
internal import Synchronization

/// Reads, as clients ask for them.
extension RunningMember {
    /// Answers a range: linearizable, unless it says serializable.
    /// - Parameter budget: what the answer may take in memory.
    package func range(
        _ request: RangeRequest, bytesMax: Int = AnswerBudget.bytesMax
    ) async throws(ServerError) -> (RangeResult, term: Term) {
        core.metrics.ranges.add()
        let budget = AnswerBudget(left: bytesMax, shared: core.budget)
        let length = ReadLength(isShort: core.view.isShort(request))
        return try await whileMemoryLacks { () async throws(ServerError) in
            try await read(length, serializable: request.serializable) { (view, reader) throws(ReadFailure) in
                (try view.range(request, reader, budget: budget), view.appliedTerm)
            }
        }
    }

    /// Answers a txn that only reads; serializable when each of its ranges is.
    package func readTxn(_ request: TxnRequest) async throws(ServerError) -> (TxnResult, Applied) {
        let budget = AnswerBudget(shared: core.budget)
        let length = ReadLength(isShort: core.view.isShort(request))
        return try await whileMemoryLacks { () async throws(ServerError) in
            try await read(length, serializable: request.isSerializable) { (view, reader) throws(ReadFailure) in
                let result = try view.txn(request, reader, budget: budget)
                return (result, Applied(result: .txn(result), revision: view.revision, term: view.appliedTerm))
            }
        }
    }

    /// Does a read again, for a while, when there is no memory for its answer.
    func whileMemoryLacks<T: Sendable>(_ body: () async throws(ServerError) -> T) async throws(ServerError) -> T {
        let limit = monotonicNanoseconds() + Self.memoryNanosecondsMax
        while true {
            do throws(ServerError) {
                return try await body()
            } catch .refused(.noMemory) {
                guard monotonicNanoseconds() < limit, !Task.isCancelled else { throw .refused(.noMemory) }
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    private static var memoryNanosecondsMax: UInt64 { 3_000_000_000 }

    /// A part of a large range, from this member's own state.
    package func portion(
        of range: KeyRange, at revision: Int64, withValues: Bool
    ) async throws(ServerError) -> View.Portion {
        try await readOn(.short) { (view, reader) throws(ReadFailure) in
            try view.portion(of: range, at: revision, withValues: withValues, reader)
        }
    }

    /// What the keys of `changes` were before; nil for those that were not.
    package func previous(of changes: [KeyValue]) async throws(ServerError) -> [KeyValue?] {
        try await readOn(.short) { (view, reader) throws(ReadFailure) in
            var found: [KeyValue?] = []
            for change in changes {
                let isNew = change.version == 1
                found.append(isNew ? nil : try view.previous(change.key, before: change.modRevision, reader))
            }
            return found
        }
    }

    /// The same over what is not compacted, as of a revision.
    package func hashKV(at revision: Int64) async throws(ServerError) -> HistoryHash {
        try await read(.long, serializable: true) { (view, reader) throws(ReadFailure) in
            try view.hash(at: revision, reader)
        }
    }

    // MARK: - Threads

    typealias Body<T> = @Sendable (View, StateReader) throws(ReadFailure) -> T

    private func read<T: Sendable>(
        _ length: ReadLength, serializable: Bool, _ body: @escaping Body<T>
    ) async throws(ServerError) -> T {
        try admitRead(serializable: serializable)
        let underWay = core.readsUnderWay.wrappingAdd(1, ordering: .relaxed).newValue
        defer { core.readsUnderWay.wrappingSubtract(1, ordering: .relaxed) }
        guard underWay <= core.serverSettings.requestsMax else { throw .tooManyRequests }
        if serializable { return try await run(length, body) }
        return try await answer { [core] resume in
            Self.whenCurrent(core, deadline) { failure in
                if let failure { resume(.failure(failure)) } else { Self.run(length, body, core, resume) }
            }
        }
    }

    /// Goes on with what was admitted before.
    private func readOn<T: Sendable>(_ length: ReadLength, _ body: @escaping Body<T>) async throws(ServerError) -> T {
        try admitRead(serializable: false)
        return try await run(length, body)
    }

    func run<T: Sendable>(_ length: ReadLength, _ body: @escaping Body<T>) async throws(ServerError) -> T {
        try await answer { [core] resume in Self.run(length, body, core, resume) }
    }

    private func answer<T: Sendable>(
        _ start: (@escaping @Sendable (Result<T, ServerError>) -> Void) -> Void
    ) async throws(ServerError) -> T {
        let result: Result<T, ServerError> = await withCheckedContinuation { continuation in
            start { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    private static func run<T>(
        _ length: ReadLength, _ body: @escaping Body<T>, _ core: MemberCore,
        _ resume: @escaping @Sendable (Result<T, ServerError>) -> Void
    ) {
        let isTaken = core.readers.submit(length) { view, reader in
            // A newcomer learns that it is a witness from the snapshot that a read may have waited for.
            guard !core.isWitness else { return resume(.failure(.witness)) }
            do {
                resume(.success(try body(view, try reader.get())))
            } catch ReadFailure.request(let refusal) {
                resume(.failure(.refused(refusal)))
            } catch ReadFailure.disk(let error) {
                resume(.failure(core.failure(error)))
            } catch let error as SQLiteError {
                resume(.failure(core.failure(error)))
            } catch {
                preconditionFailure("an error of another kind: \(error)")
            }
        }
        if !isTaken { resume(.failure(.stopping)) }
    }

    // MARK: - Being current

    private func admitRead(serializable: Bool) throws(ServerError) {
        guard !core.isStopping else { throw .stopping }
        guard !isWitness else { throw .witness }
        guard !alarms.contains(.corrupt) else { throw .refused(.corrupt) }
        if serializable { try expectCaughtUp() }
    }

    /// Calls `proceed`, on any thread, once this member sees what was acknowledged before.
    static func whenCurrent(
        _ core: MemberCore, _ deadline: UInt64, _ proceed: @escaping @Sendable (ServerError?) -> Void
    ) {
        if core.isCurrent { return proceed(nil) }
        if !core.mail.consensus.post(.read(PendingRead(deadline: deadline, proceed: proceed))) { proceed(.stopping) }
    }

    /// Returns once this member has applied everything that was committed when it was called.
    package func confirmCurrent() async throws(ServerError) {
        try admitRead(serializable: false)
        try await awaitCurrent()
    }

    /// The same, also while an alarm forbids to read keys.
    package func confirmCurrentDespiteAlarms() async throws(ServerError) {
        guard !core.isStopping else { throw .stopping }
        guard !isWitness else { throw .witness }
        try await awaitCurrent()
    }

    private func awaitCurrent() async throws(ServerError) {
        let failure: ServerError? = await withCheckedContinuation { continuation in
            Self.whenCurrent(core, deadline) { continuation.resume(returning: $0) }
        }
        if let failure { throw failure }
        guard !isWitness else { throw .witness }
    }

    /// The revision and term of this member's state; what was acknowledged before is in it unless `serializable`.
    package func current(serializable: Bool) async throws(ServerError) -> (revision: Int64, term: Term) {
        if serializable { try admitRead(serializable: true) } else { try await confirmCurrent() }
        let view = core.view
        return (view.revision, view.appliedTerm)
    }

    /// Size of `kv.db`, and of what is in use of it, in bytes, as of the last checkpoint.
    package var databaseSizes: (total: Int64, inUse: Int64) { core.databaseSizes }
}

extension TxnRequest {
    /// If every range in it may be answered from this member's own state.
    fileprivate var isSerializable: Bool {
        let operations = success + failure
        return !operations.isEmpty
            && operations.allSatisfy { operation in
                switch operation {
                case .range(let range): range.serializable
                case .txn(let inner): inner.isSerializable
                case .put, .deleteRange: false
                }
            }
    }
}
