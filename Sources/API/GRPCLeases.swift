internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import Replication
internal import Server
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Leases, locks and elections over gRPC.
extension GRPCService {
    func answerLease(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "LeaseGrant": return try await unary(call, grant)
        case "LeaseRevoke": return try await unary(call, revoke)
        case "LeaseTimeToLive": return try await unary(call, timeToLive)
        case "LeaseLeases": return try await unary(call, leases)
        case "LeaseKeepAlive":
            while let first: Etcdserverpb_LeaseKeepAliveRequest = try await receive(call) {
                // A client with a thousand leases sends them all at once: they share what a renewal costs.
                var ids = [first.id]
                while ids.count < Self.keepAlivesMax,
                    let next: Etcdserverpb_LeaseKeepAliveRequest = try receiveNow(call)
                {
                    ids.append(next.id)
                }
                for answer in try await keepAlive(ids) { try await send(answer, call) }
            }
            return true
        default: return false
        }
    }

    private func grant(
        _ request: Etcdserverpb_LeaseGrantRequest
    ) async throws(APIError) -> Etcdserverpb_LeaseGrantResponse {
        let (lease, applied) = try await member.kv { member throws(ServerError) in
            try await member.grantLease(id: request.id, ttl: request.ttl)
        }
        var answer = Etcdserverpb_LeaseGrantResponse()
        answer.header = header(applied)
        answer.id = lease.id
        answer.ttl = lease.ttl
        return answer
    }

    private func revoke(
        _ request: Etcdserverpb_LeaseRevokeRequest
    ) async throws(APIError) -> Etcdserverpb_LeaseRevokeResponse {
        let applied = try await member.kv { member throws(ServerError) in try await member.revokeLease(request.id) }
        var answer = Etcdserverpb_LeaseRevokeResponse()
        answer.header = header(applied)
        return answer
    }

    private static let keepAlivesMax = 1000

    private func keepAlive(_ ids: [Int64]) async throws(APIError) -> [Etcdserverpb_LeaseKeepAliveResponse] {
        let renewed = try await member.kv { member throws(ServerError) in try await member.renewLeases(Set(ids)) }
        return ids.map { id in
            var answer = Etcdserverpb_LeaseKeepAliveResponse()
            answer.header = header()
            answer.id = id
            answer.ttl = renewed[id] ?? 0
            return answer
        }
    }

    private func timeToLive(
        _ request: Etcdserverpb_LeaseTimeToLiveRequest
    ) async throws(APIError) -> Etcdserverpb_LeaseTimeToLiveResponse {
        let time = try await member.kv { member throws(ServerError) in
            try await member.leaseTime(request.id, withKeys: request.keys)
        }
        var answer = Etcdserverpb_LeaseTimeToLiveResponse()
        answer.header = header()
        answer.id = request.id
        answer.ttl = time?.left ?? -1
        answer.grantedTtl = time?.granted ?? 0
        answer.keys = (time?.keys ?? []).map { Data($0) }
        return answer
    }

    private func leases(
        _ request: Etcdserverpb_LeaseLeasesRequest
    ) async throws(APIError) -> Etcdserverpb_LeaseLeasesResponse {
        let ids = try await member.kv { member throws(ServerError) in try await member.leaseIDs() }
        var answer = Etcdserverpb_LeaseLeasesResponse()
        answer.header = header()
        answer.leases = ids.map { id in
            var status = Etcdserverpb_LeaseStatus()
            status.id = id
            return status
        }
        return answer
    }

    // MARK: - Locks

    private var concurrency: Concurrency { Concurrency(member: member) }

    func answerLock(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "Lock":
            try await unary(call) { (request: V3lockpb_LockRequest) async throws(APIError) in
                let (claim, applied) = try await concurrency.claim(
                    Array(request.name), lease: request.lease, value: [])
                var answer = V3lockpb_LockResponse()
                answer.header = header(applied)
                answer.key = Data(claim.key)
                return answer
            }
        case "Unlock":
            try await unary(call) { (request: V3lockpb_UnlockRequest) async throws(APIError) in
                var answer = V3lockpb_UnlockResponse()
                answer.header = header(try await concurrency.unlock(Array(request.key)))
                return answer
            }
        default: false
        }
    }

    // MARK: - Elections

    func answerElection(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "Campaign": return try await unary(call, campaign)
        case "Proclaim":
            return try await unary(call) { (request: V3electionpb_ProclaimRequest) async throws(APIError) in
                var answer = V3electionpb_ProclaimResponse()
                let claim = try Concurrency.Claim(request.hasLeader ? request.leader : nil)
                answer.header = header(try await concurrency.proclaim(claim, value: Array(request.value)))
                return answer
            }
        case "Leader":
            return try await unary(call) { (request: V3electionpb_LeaderRequest) async throws(APIError) in
                let (pair, revision, term) = try await concurrency.leader(Array(request.name))
                var answer = V3electionpb_LeaderResponse()
                answer.header = header(revision: revision, term: term)
                answer.kv = Mvccpb_KeyValue(pair)
                return answer
            }
        case "Resign":
            return try await unary(call) { (request: V3electionpb_ResignRequest) async throws(APIError) in
                var answer = V3electionpb_ResignResponse()
                let claim = try Concurrency.Claim(request.hasLeader ? request.leader : nil)
                answer.header = header(try await concurrency.resign(claim))
                return answer
            }
        case "Observe": return try await observe(call)
        default: return false
        }
    }

    private func campaign(
        _ request: V3electionpb_CampaignRequest
    ) async throws(APIError) -> V3electionpb_CampaignResponse {
        let (claim, applied) = try await concurrency.claim(
            Array(request.name), lease: request.lease, value: Array(request.value))
        var answer = V3electionpb_CampaignResponse()
        answer.header = header(applied)
        answer.leader.name = request.name
        answer.leader.key = Data(claim.key)
        answer.leader.rev = claim.revision
        answer.leader.lease = claim.lease
        return answer
    }

    private func observe(_ call: GRPCCall) async throws(APIError) -> Bool {
        guard let request: V3electionpb_LeaderRequest = try await receive(call) else { return true }
        try await concurrency.observe(Array(request.name)) { pair, revision, term async throws(APIError) in
            var answer = V3electionpb_LeaderResponse()
            answer.header = header(revision: revision, term: term)
            answer.kv = Mvccpb_KeyValue(pair)
            try await send(answer, call)
        }
        return true
    }
}

extension Concurrency.Claim {
    fileprivate init(_ leader: V3electionpb_LeaderKey?) throws(APIError) {
        guard let leader else { throw APIError(.invalidArgument, "\"leader\" field must be provided") }
        self.init(key: Array(leader.key), revision: leader.rev, lease: leader.lease)
    }
}
