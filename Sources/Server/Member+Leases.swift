package import Access
package import Bytes
internal import Fabric
package import MVCC
package import Replication

/// What is left of a lease, as one member counts it.
package struct LeaseTime: Sendable {
    /// Seconds.
    package var left: Int64
    /// Seconds.
    package var granted: Int64
    package var keys: [[UInt8]] = []
    /// What the keys take of the member's memory budget.
    package var hold: MemoryHold?
}

/// Leases, as clients ask for them.
extension RunningMember {
    /// No lease is shorter than what an election takes, and half of it more.
    var leaseSecondsMin: Int64 {
        let milliseconds = core.serverSettings.replication.electionMilliseconds * 3 / 2
        return Int64((milliseconds + 999) / 1000)
    }

    /// What nodes have, or will once the fabric's version rises.
    private func isForNodes(_ id: Int64) -> Bool { NodeLeases(version: versions.upperBound).contains(id) }

    /// Raises the fabric's version: the last step of an upgrade.
    package func finishUpgrade() async throws(ServerError) -> Applied {
        // Nothing grants such an id now; an earlier release did.
        if fabricVersion < versions.upperBound, let id = core.view.leases.ids.first(where: isForNodes) {
            throw .refused(.leaseInTheWay(id))
        }
        return try await propose(.raiseVersion(versions.upperBound))
    }

    private static func anyLeaseID() -> Int64 { Int64.random(in: NodeLeases.idsForClients) }

    private func refusalToGrant(_ id: Int64, _ ttl: Int64) -> MVCCError? {
        guard ttl <= Lease.secondsMax else { return .leaseTooLong }
        return isForNodes(id) ? .leaseExists : nil
    }

    /// Grants a lease.
    /// - Parameters:
    ///   - id: 0 lets this member choose.
    ///   - ttl: seconds.
    package func grantLease(id: Int64, ttl: Int64, by author: Author? = nil) async throws(ServerError) -> (
        Lease, Applied
    ) {
        if let refusal = refusalToGrant(id, ttl) { throw .refused(refusal) }
        while true {
            let chosen = id != 0 ? id : Self.anyLeaseID()
            do throws(ServerError) {
                let applied = try await propose(.leaseGrant(id: chosen, ttl: max(ttl, leaseSecondsMin)), by: author)
                guard case .lease(let lease) = applied.result else { preconditionFailure("a grant without a lease") }
                return (lease, applied)
            } catch .refused(.leaseExists) where id == 0 {
                continue
            }
        }
    }

    /// The same without a task, as `propose(_:answer:)`.
    package func grantLease(
        id: Int64, ttl: Int64, by author: Author? = nil,
        answer: @escaping @Sendable (Result<(Lease, Applied), ServerError>) -> Void
    ) -> Bool {
        if let refusal = refusalToGrant(id, ttl) {
            answer(.failure(.refused(refusal)))
            return true
        }
        let chosen = id != 0 ? id : Self.anyLeaseID()
        return propose(.leaseGrant(id: chosen, ttl: max(ttl, leaseSecondsMin)), by: author) { [self] outcome in
            switch outcome {
            case .success(let applied):
                guard case .lease(let lease) = applied.result else { preconditionFailure("a grant without a lease") }
                answer(.success((lease, applied)))
            case .failure(.refused(.leaseExists)) where id == 0:
                if !grantLease(id: 0, ttl: ttl, by: author, answer: answer) { answer(.failure(.tooManyRequests)) }
            case .failure(let error): answer(.failure(error))
            }
        }
    }

    /// Begins a lease anew; nil when there is none of this id.
    package func renewLease(_ id: Int64, by author: Author? = nil) async throws(ServerError) -> (Lease, Applied)? {
        do throws(ServerError) {
            let applied = try await propose(.leaseRenew(id), by: author)
            guard case .lease(let lease) = applied.result else { preconditionFailure("a renewal without a lease") }
            return (lease, applied)
        } catch .refused(.leaseNotFound) {
            return nil
        }
    }

    private struct Renewal: Sendable {
        let id: Int64
        /// 0 when there is no such lease.
        var seconds: Int64 = 0
        var failure: ServerError?
    }

    /// Begins leases anew, all at once; answers the seconds of those that exist.
    package func renewLeases(_ ids: Set<Int64>, by author: Author? = nil) async throws(ServerError) -> [Int64: Int64] {
        let renewals = await withTaskGroup(of: Renewal.self) { group in
            for id in ids { group.addTask { await self.renewal(of: id, by: author) } }
            var renewals: [Renewal] = []
            for await renewal in group { renewals.append(renewal) }
            return renewals
        }
        var seconds: [Int64: Int64] = [:]
        for renewal in renewals {
            if let failure = renewal.failure { throw failure }
            seconds[renewal.id] = renewal.seconds
        }
        return seconds
    }

    private func renewal(of id: Int64, by author: Author?) async -> Renewal {
        do throws(ServerError) {
            let renewed = try await renewLease(id, by: author)
            return Renewal(id: id, seconds: renewed?.0.ttl ?? 0)
        } catch {
            return Renewal(id: id, failure: error)
        }
    }

    package func revokeLease(_ id: Int64, by author: Author? = nil) async throws(ServerError) -> Applied {
        guard core.view.fabric.leases.contains(id) else { return try await propose(.leaseRevoke(id), by: author) }
        // A node says that it goes.
        let trace = Trace(at: core.wallMilliseconds, by: "", reason: "its lease was revoked")
        do throws(ServerError) {
            return try await propose(.fabric(FabricCommand(.revokeLease(id), trace)))
        } catch .refused(.fabric) {
            throw .refused(.leaseNotFound)
        }
    }

    /// A lease, its seconds left as this member counts them, and its keys; nil when there is none of this id.
    package func leaseTime(
        _ id: Int64, withKeys: Bool
    ) async throws(ServerError) -> LeaseTime? {
        try await confirmCurrent()
        guard let entry = core.view.leases[id] else { return nil }
        let now = monotonicNanoseconds()
        let left = Int64((entry.deadline - min(entry.deadline, now)) / Lease.secondNanoseconds)
        var time = LeaseTime(left: left, granted: entry.lease.ttl)
        guard withKeys else { return time }
        time.hold = try await hold(forAnswerOf: entry.keys.reduce(0) { $0 + $1.bytes.count + 64 })
        time.keys = entry.keys.map(\.bytes).sorted(by: precedes)
        return time
    }

    /// Ids of all leases of clients, the one that ends first first; nodes of the fabric have their own.
    package func leaseIDs() async throws(ServerError) -> ([Int64], MemoryHold?) {
        try await confirmCurrent()
        let view = core.view
        let hold = try await hold(forAnswerOf: view.leases.ids.count * 32)
        let ends = view.leases.ids.filter { !view.fabric.leases.contains($0) }.map { id in
            (end: view.leases.time(of: id)?.deadline ?? 0, id: id)
        }
        return (ends.sorted { $0 < $1 }.map(\.id), hold)
    }
}
