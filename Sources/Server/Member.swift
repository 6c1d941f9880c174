internal import Bytes
internal import Logging
package import MVCC
package import Raft
package import Replication
internal import SQLite
internal import Storage
internal import Synchronization
internal import Transport

/// A member of a fabric, running: the one object that the API talks to. Thread-safe.
package final class RunningMember: Sendable {
    let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    package var clusterID: UInt64 { core.identity.clusterID }
    package var id: NodeID { core.identity.memberID }
    package var name: String { core.serverSettings.name }
    package var limits: RequestLimits { core.serverSettings.limits }
    package var metrics: Metrics { core.metrics }
    package var status: RaftStatus { core.status }
    package var revision: Int64 { core.view.revision }
    package var compactRevision: Int64 { core.view.compactRevision }
    package var appliedIndex: Index { core.view.appliedIndex }
    /// Of the formats in use: see `FabricVersion`.
    package var fabricVersion: UInt64 { core.view.version }
    /// Versions of a fabric that this release can be part of.
    package var versions: ClosedRange<UInt64> { core.settings.versions }
    package var isDiskFull: Bool { core.isDiskFull }
    package var settings: ServerSettings { core.serverSettings }

    /// If it keeps the log and no state.
    package var isWitness: Bool { core.isWitness }

    private var deadline: UInt64 { monotonicNanoseconds() + core.serverSettings.requestTimeoutNanoseconds }

    /// If there is a leader, or was within the three election timeouts that streams are given which ask for one.
    package var hasLeaderLately: Bool { core.hasLeaderLately }

    // MARK: - Writes

    /// Replicates a command and answers what it did here.
    package func propose(_ command: Command) async throws(ServerError) -> Applied {
        let proposal = try proposal(of: command)
        let delay = try admit(command)
        if delay > 0 { try? await Task.sleep(for: .milliseconds(delay)) }
        // What it answers is not known before it is done, and then it cannot be refused.
        let bytes = answerBytes(of: command)
        let hold = try await whileMemoryLacks { () async throws(ServerError) in try takeForAnswer(bytes) }
        defer { withExtendedLifetime(hold) {} }
        return try await finish(proposal.id, bytes: proposal.payload.count) { [core, deadline] in
            core.consensus.post(.propose(proposal, deadline: deadline))
        }
    }

    /// The same without a task: `answer` is called once, on any thread, and must only pass it on.
    /// - Returns: false, and nothing is done, when the request has to wait before it may be made.
    package func propose(_ command: Command, answer: @escaping @Sendable (Outcome) -> Void) -> Bool {
        do throws(ServerError) {
            guard try admit(command) == 0 else { return false }
            let bytes = answerBytes(of: command)
            guard bytes == 0 || !core.budget.isUsed(share: Self.crowdedShare) else { return false }
            let hold = try takeForAnswer(bytes)
            let proposal = try proposal(of: command)
            let isTaken = core.requests.add(proposal.id, bytes: proposal.payload.count) { outcome in
                withExtendedLifetime(hold) { answer(outcome) }
            }
            guard isTaken else { throw .tooManyRequests }
            core.consensus.post(.propose(proposal, deadline: deadline))
        } catch {
            answer(.failure(error))
        }
        return true
    }

    private static let crowdedShare = 0.5

    /// What a command may answer that reads values on its way: as much as a request can store for each, but no more at once than
    /// leaves room for others.
    private func answerBytes(of command: Command) -> Int {
        let values = command.valuesAnswered
        return values == 0 ? 0 : min(values * core.serverSettings.requestBytesMax, core.budget.bytesMax / 8)
    }

    private func takeForAnswer(_ bytes: Int) throws(ServerError) -> MemoryHold? {
        guard bytes > 0 else { return nil }
        guard core.budget.take(bytes, share: MemoryBudget.answerShare) else { throw .refused(.noMemory) }
        return MemoryHold(core.budget, bytes)
    }

    private func proposal(of command: Command) throws(ServerError) -> Proposal {
        let id = core.requests.makeID()
        let payload = CommandEnvelope.encode(command, requestID: id)
        guard payload.count <= core.serverSettings.requestBytesMax else { throw .requestTooLarge }
        return Proposal(id: id, kind: .command, payload: payload)
    }

    private func finish(
        _ id: UInt64, bytes: Int, start: @Sendable () -> Void
    ) async throws(ServerError) -> Applied {
        guard !core.isStopping else { throw .stopping }
        let outcome: Outcome = await withCheckedContinuation { continuation in
            if core.requests.add(id, bytes: bytes, answer: { continuation.resume(returning: $0) }) {
                start()
            } else {
                continuation.resume(returning: .failure(.tooManyRequests))
            }
        }
        return try outcome.get()
    }

    // MARK: - Reads

    /// Answers a range: linearizable, unless it says serializable.
    /// - Parameter budget: what the answer may take in memory.
    package func range(
        _ request: RangeRequest, bytesMax: Int = AnswerBudget.bytesMax
    ) async throws(ServerError) -> (RangeResult, term: Term) {
        core.metrics.ranges.add()
        let budget = AnswerBudget(left: bytesMax, shared: core.budget)
        return try await whileMemoryLacks { () async throws(ServerError) in
            try await read(serializable: request.serializable) { (view, reader) throws(ReadFailure) in
                (try view.range(request, reader, budget: budget), view.appliedTerm)
            }
        }
    }

    /// Does a read again, for a while, when there is no memory for its answer.
    private func whileMemoryLacks<T: Sendable>(
        _ body: () async throws(ServerError) -> T
    ) async throws(ServerError) -> T {
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

    private static let memoryNanosecondsMax: UInt64 = 3_000_000_000

    /// The revision and term of this member's state; what was acknowledged before is in it unless `serializable`.
    package func current(serializable: Bool) async throws(ServerError) -> (revision: Int64, term: Term) {
        try await read(serializable: serializable) { (view, _) throws(ReadFailure) in
            (view.revision, view.appliedTerm)
        }
    }

    /// A part of a large range, from this member's own state.
    package func portion(
        of range: KeyRange, at revision: Int64, withValues: Bool
    ) async throws(ServerError) -> View.Portion {
        try await read(serializable: true, isOwn: true) { (view, reader) throws(ReadFailure) in
            try view.portion(of: range, at: revision, withValues: withValues, reader)
        }
    }

    /// Answers a txn that only reads; serializable when each of its ranges is.
    package func readTxn(_ request: TxnRequest) async throws(ServerError) -> (TxnResult, Applied) {
        let budget = AnswerBudget(shared: core.budget)
        return try await whileMemoryLacks { () async throws(ServerError) in
            try await read(serializable: request.isSerializable) { (view, reader) throws(ReadFailure) in
                let result = try view.txn(request, reader, budget: budget)
                return (result, Applied(result: .txn(result), revision: view.revision, term: view.appliedTerm))
            }
        }
    }

    /// - Parameter isOwn: it goes on with what was admitted before.
    func read<T: Sendable>(
        serializable: Bool, isOwn: Bool = false,
        _ body: @escaping @Sendable (View, StateReader) throws(ReadFailure) -> T
    ) async throws(ServerError) -> T {
        guard !core.isStopping else { throw .stopping }
        guard !isWitness else { throw .witness }
        guard !alarms.contains(.corrupt) else { throw .refused(.corrupt) }
        if serializable, !isOwn { try expectCaughtUp() }
        let underWay = core.readsUnderWay.wrappingAdd(1, ordering: .relaxed).newValue
        defer { core.readsUnderWay.wrappingSubtract(1, ordering: .relaxed) }
        guard underWay <= core.serverSettings.requestsMax || isOwn else { throw .tooManyRequests }
        let result: Result<T, ServerError> = await withCheckedContinuation { continuation in
            let job: @Sendable () -> Void = { [core] in
                core.readers.submit { reader in
                    continuation.resume(returning: Self.run(body, reader, core))
                }
            }
            if serializable {
                job()
            } else {
                core.consensus.post(
                    .read(
                        PendingRead(deadline: deadline) { failure in
                            if let failure { continuation.resume(returning: .failure(failure)) } else { job() }
                        }))
            }
        }
        return try result.get()
    }

    private static func run<T>(
        _ body: (View, StateReader) throws(ReadFailure) -> T, _ reader: Result<StateReader, SQLiteError>,
        _ core: MemberCore
    ) -> Result<T, ServerError> {
        let view = core.view
        // A newcomer learns that it is a witness from the snapshot that a read may have waited for.
        guard !core.isWitness else { return .failure(.witness) }
        do {
            return .success(try body(view, try reader.get()))
        } catch ReadFailure.request(let refusal) {
            return .failure(.refused(refusal))
        } catch {
            core.logger.error("a read failed: \(error)")
            return .failure(.disk("\(error)"))
        }
    }

    /// Returns once this member has applied everything that was committed when it was called.
    package func confirmCurrent() async throws(ServerError) {
        _ = try await read(serializable: false) { (view, _) throws(ReadFailure) in view.revision }
    }

    /// The same, also while an alarm forbids to read keys.
    package func confirmCurrentDespiteAlarms() async throws(ServerError) {
        guard !core.isStopping else { throw .stopping }
        guard !isWitness else { throw .witness }
        let failure: ServerError? = await withCheckedContinuation { continuation in
            core.consensus.post(
                .read(PendingRead(deadline: deadline) { continuation.resume(returning: $0) }))
        }
        if let failure { throw failure }
    }

    // MARK: - Membership

    package var membership: Membership { core.membership }

    /// Carries out one change of the membership; answers once it is applied here.
    package func change(_ change: ConfigurationChange) async throws(ServerError) -> Applied {
        let limit = deadline
        while true {
            let id = core.requests.makeID()
            do throws(ServerError) {
                return try await finish(id, bytes: 64) { [core] in
                    core.consensus.post(.change(requestID: id, change, deadline: limit))
                }
            } catch .change(let refusal) where refusal == .notReady || refusal == .notLeader {
                guard monotonicNanoseconds() < limit, !Task.isCancelled else { throw .change(refusal) }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Hands the lead to another voter.
    package func transferLead(to target: NodeID) async throws(ServerError) {
        guard core.status.configuration.isVoter(target) else { throw .badTransferTarget }
        guard core.status.leader != target else { return }
        guard core.status.role == .leader else { throw .change(.notLeader) }
        // Asked once: as long as it is under way nothing can be written.
        core.consensus.post(.raft(.transfer(to: target)))
        let limit = monotonicNanoseconds() + 2 * UInt64(core.settings.electionMilliseconds) * 1_000_000
        while core.status.leader != target {
            guard monotonicNanoseconds() < limit, !Task.isCancelled else { throw .transferTimeout }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Tells the fabric this member's name and client URLs, until it is known.
    package func publishAttributes() async {
        let wanted = MemberAttributes(
            name: core.serverSettings.name, clientURLs: core.serverSettings.advertisedClientURLs,
            release: MemberAttributes.Release(name: core.serverSettings.release, versions: core.settings.versions))
        while !core.isStopping {
            let known = core.membership[id]
            if known?.attributes == wanted { return }
            // A newcomer that has not got the configuration yet has nobody to tell.
            // And a founder is known to take part only once it has something on its own disk: see PeerDirectory.
            let hasBegun = core.view.appliedIndex > MemberDisk.foundingIndex
            if hasBegun, known != nil, (try? await propose(.publish(memberID: id, wanted))) != nil { continue }
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Has the fabric's configuration say where this member is reached, when that is no longer what it says: other members that
    /// start then find it. The settings of the machine decide, as they do about where it listens.
    package func announceAddress() async {
        let wanted = core.serverSettings.advertisedPeerURLs
        guard core.serverSettings.isPeerAddressSaid else { return }
        while !core.isStopping, let known = core.membership[id], known.member.peerURLs != wanted {
            if (try? await change(.update(id, peerURLs: wanted))) != nil {
                core.logger.notice("the fabric knows this member at \(wanted.joined(separator: ", ")) now")
                return
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    /// Size of `kv.db` on disk, and of what is in use of it.
    package func databaseSizes() async throws(ServerError) -> (total: Int64, inUse: Int64) {
        let sizes: Result<(total: Int64, inUse: Int64), SQLiteError> = await withCheckedContinuation { continuation in
            core.readers.submit { reader in
                continuation.resume(
                    returning: reader.flatMap { reader in
                        Result { () throws(SQLiteError) in try reader.sizes() }
                    })
            }
        }
        do throws(SQLiteError) { return try sizes.get() } catch { throw .disk(error.description) }
    }

    // MARK: - End

    /// Stops: hands the lead over and writes what is in memory to `kv.db` unless `quickly`. Blocks.
    package func stop(quickly: Bool) {
        core.beginStopping()
        if !quickly { handOver() }
        core.consensus.post(.stop)
        core.transport.stop()
        core.watches.post(.stop)
        core.fabricFeed.close()
        core.snapshots.post(.stop)
        core.transfers.mailbox.post(nil)
        let applied = Rendezvous<Void>()
        core.apply.post(.stop(flush: !quickly) { applied.fulfil(()) })
        applied.wait()
        let closed = Rendezvous<Void>()
        core.checkpoints.post(.stop(closed))
        closed.wait()
        let logged = Rendezvous<Void>()
        core.logs.post(.stop { logged.fulfil(()) })
        logged.wait()
        core.readers.stop()
        core.requests.failAll(.stopping)
    }

    /// Gives up the lead, if it has it, within an election timeout. Blocks.
    package func handOver() {
        core.beginStopping()
        let retired = Rendezvous<Void>()
        core.consensus.post(.retire { retired.fulfil(()) })
        retired.wait()
    }

    /// Notes on disk that this member was removed, so that it is not started again as it was.
    package func markRemoved() {
        var identity = core.identity
        identity.state = .removed
        core.orFail { () throws(StorageError) in try core.directory.write(identity) }
    }
}

extension TxnRequest {
    /// If every range in it may be answered from this member's own state.
    var isSerializable: Bool {
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

extension Command {
    var isPublish: Bool { if case .publish = self { true } else { false } }
}
