#if canImport(Glibc)
    internal import Glibc
#endif
package import Access
internal import Bytes
internal import Logging
package import MVCC
package import Raft
package import Replication
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
    /// It found that what its disk holds is not what was written.
    package var isDamaged: Bool { core.isDamaged }
    package var settings: ServerSettings { core.serverSettings }

    /// If it keeps the log and no state.
    package var isWitness: Bool { core.isWitness }

    var deadline: UInt64 { monotonicNanoseconds() + core.serverSettings.requestTimeoutNanoseconds }

    /// If it leads, as far as it knows.
    package var leads: Bool { core.status.role == .leader }

    /// Milliseconds since 1970, by this machine's clock.
    package var wallMilliseconds: Int64 { core.wallMilliseconds }

    /// If there is a leader, or was within the three election timeouts that streams are given which ask for one.
    package var hasLeaderLately: Bool { core.hasLeaderLately }

    // MARK: - Writes

    /// Replicates a command and answers what it did here.
    /// - Parameter author: on whose behalf; nil while rights do not count, and for what the member does by itself.
    package func propose(_ command: Command, by author: Author? = nil) async throws(ServerError) -> Applied {
        let proposal = try proposal(of: command, by: author)
        // What it reads is not known before it is done, and then it cannot be refused.
        let bytes = bytesRead(by: command)
        let (delay, hold) = try await whileMemoryLacks { () async throws(ServerError) in
            (try admit(command), try take(bytes))
        }
        if delay > 0 { try? await Task.sleep(for: .milliseconds(delay)) }
        var applied = try await finish(proposal.id, bytes: proposal.payload.count) { [core, deadline] in
            core.mail.consensus.post(.propose(proposal, deadline: deadline))
        }
        applied.hold = hold
        return applied
    }

    /// The same without a task: `answer` is called once, on any thread, and must only pass it on.
    /// - Returns: false, and nothing is done, when the request has to wait before it may be made.
    package func propose(
        _ command: Command, by author: Author? = nil, answer: @escaping @Sendable (Outcome) -> Void
    ) -> Bool {
        do throws(ServerError) {
            guard try admit(command) == 0 else { return false }
            let bytes = bytesRead(by: command)
            guard bytes == 0 || !core.budget.isUsed(share: Self.crowdedShare) else { return false }
            let hold = try take(bytes)
            let proposal = try proposal(of: command, by: author)
            let isTaken = core.requests.add(proposal.id, bytes: proposal.payload.count) { outcome in
                answer(
                    outcome.map { applied in
                        var held = applied
                        held.hold = hold
                        return held
                    })
            }
            guard isTaken else { throw .tooManyRequests }
            core.mail.consensus.post(.propose(proposal, deadline: deadline))
        } catch {
            answer(.failure(error))
        }
        return true
    }

    private static let crowdedShare = 0.5

    /// What the values may take that a command reads on its way: as much as a request can store for each, but no more at once than
    /// leaves room for small ones.
    private func bytesRead(by command: Command) -> Int {
        let values = command.valuesRead
        return values == 0 ? 0 : min(values * core.serverSettings.requestBytesMax, core.budget.bytesMax / 2)
    }

    /// Takes memory for an answer; nil when it needs none.
    func take(_ bytes: Int) throws(ServerError) -> MemoryHold? {
        guard bytes > 0 else { return nil }
        guard core.budget.take(bytes, share: MemoryBudget.answerShare) else { throw .refused(.noMemory) }
        return MemoryHold(core.budget, bytes)
    }

    private func proposal(of command: Command, by author: Author?) throws(ServerError) -> Proposal {
        let id = core.requests.makeID()
        let payload = CommandEnvelope.encode(command, by: author, requestID: id)
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

    // MARK: - Membership

    package var membership: Membership { core.membership }

    /// Carries out one change of the membership; answers once it is applied here.
    package func change(_ change: ConfigurationChange) async throws(ServerError) -> Applied {
        let limit = deadline
        while true {
            let id = core.requests.makeID()
            do throws(ServerError) {
                return try await finish(id, bytes: 64) { [core] in
                    core.mail.consensus.post(.change(requestID: id, change, deadline: limit))
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
        core.mail.consensus.post(.raft(.transfer(to: target)))
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

    // MARK: - End

    /// Stops: hands the lead over and writes what is in memory to `kv.db` unless `quickly`. Blocks.
    package func stop(quickly: Bool) {
        core.beginStopping()
        if !quickly { handOver() }
        core.transport.stop()
        core.fabricFeed.close()
        core.mail.transfers.close()
        let ended = Rendezvous<Void>()
        core.stopLanes(flush: !quickly) { ended.fulfil(()) }
        waitForEnd(of: ended)
        core.readers.stop()
        core.authenticator.hasher.stop()
        core.auditLog.stop()
        core.requests.failAll(.stopping)
    }

    private static var stopNanosecondsMax: UInt64 { 60_000_000_000 }

    /// A disk that does not answer holds up no end: what was acknowledged is in the log.
    private func waitForEnd(of lanes: Rendezvous<Void>) {
        guard lanes.wait(until: monotonicNanoseconds() + Self.stopNanosecondsMax) == nil else { return }
        core.logger.error(
            "the disk does not answer: this member ends without writing what it has in memory; its log has it")
        core.serverSettings.flushLog()
        _exit(0)
    }

    /// Gives up the lead, if it has it, within an election timeout. Blocks.
    package func handOver() {
        core.beginStopping()
        let retired = Rendezvous<Void>()
        if core.mail.consensus.post(.retire { retired.fulfil(()) }) { waitForEnd(of: retired) }
    }

    /// Notes on disk that this member was removed, so that it is not started again as it was.
    package func markRemoved() {
        var identity = core.identity
        identity.state = .removed
        core.orFail { () throws(StorageError) in try core.directory.write(identity) }
    }
}

extension Command {
    var isPublish: Bool { if case .publish = self { true } else { false } }
}
