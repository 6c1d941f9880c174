internal import Bytes
internal import EtcdProto
internal import MVCC
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

// The services Lease, Lock and Election over gRPC.

extension Leases.Grant: GRPCOperation {
    static func decode(_ message: [UInt8]) throws(APIError) -> Leases.Grant {
        let request = try Etcdserverpb_LeaseGrantRequest(grpc: message)
        return Leases.Grant(id: request.id, ttl: request.ttl)
    }

    static func encode(_ answer: Answered<Lease>) -> [UInt8] {
        var message = ProtoWriter(reserving: 56)
        message.field(1, answer.header.proto)
        message.field(2, answer.body.id)
        message.field(3, answer.body.ttl)
        return message.bytes
    }
}

extension Leases.Revoke: GeneratedOperation {
    typealias Response = Etcdserverpb_LeaseRevokeResponse

    init(_ request: Etcdserverpb_LeaseRevokeRequest) {
        self.init(id: request.id)
    }
}

extension Leases.TimeToLive: GeneratedOperation {
    init(_ request: Etcdserverpb_LeaseTimeToLiveRequest) {
        self.init(id: request.id, withKeys: request.keys)
    }

    static func response(_ answer: Answered<Leases.Time>) -> Etcdserverpb_LeaseTimeToLiveResponse {
        var response = Etcdserverpb_LeaseTimeToLiveResponse(answer.header)
        response.id = answer.body.id
        response.ttl = answer.body.left
        response.grantedTtl = answer.body.granted
        response.keys = answer.body.keys.map { Data($0) }
        return response
    }
}

extension Leases.List: GeneratedOperation {
    init(_: Etcdserverpb_LeaseLeasesRequest) {}

    static func response(_ answer: Answered<[Int64]>) -> Etcdserverpb_LeaseLeasesResponse {
        var response = Etcdserverpb_LeaseLeasesResponse(answer.header)
        response.leases = answer.body.map { id in
            var status = Etcdserverpb_LeaseStatus()
            status.id = id
            return status
        }
        return response
    }
}

extension Etcdserverpb_LeaseKeepAliveResponse {
    init(_ answer: Answered<Leases.Renewed>) {
        self.init()
        header = Etcdserverpb_ResponseHeader(answer.header)
        id = answer.body.id
        ttl = answer.body.ttl
    }
}

// MARK: - Lock

extension Locks.Lock: GeneratedOperation {
    init(_ request: V3lockpb_LockRequest) {
        self.init(name: Array(request.name), lease: request.lease)
    }

    static func response(_ answer: Answered<[UInt8]>) -> V3lockpb_LockResponse {
        var response = V3lockpb_LockResponse(answer.header)
        response.key = Data(answer.body)
        return response
    }
}

extension Locks.Unlock: GeneratedOperation {
    typealias Response = V3lockpb_UnlockResponse

    init(_ request: V3lockpb_UnlockRequest) {
        self.init(key: Array(request.key))
    }
}

// MARK: - Election

extension Elections.Campaign: GeneratedOperation {
    init(_ request: V3electionpb_CampaignRequest) {
        self.init(name: Array(request.name), lease: request.lease, value: Array(request.value))
    }

    static func response(_ answer: Answered<Elections.Won>) -> V3electionpb_CampaignResponse {
        var response = V3electionpb_CampaignResponse(answer.header)
        response.leader.name = Data(answer.body.name)
        response.leader.key = Data(answer.body.claim.key)
        response.leader.rev = answer.body.claim.revision
        response.leader.lease = answer.body.claim.lease
        return response
    }
}

extension Elections.Proclaim: GeneratedOperation {
    typealias Response = V3electionpb_ProclaimResponse

    init(_ request: V3electionpb_ProclaimRequest) {
        self.init(
            claim: request.hasLeader ? Concurrency.Claim(request.leader) : nil, value: Array(request.value))
    }
}

extension Elections.Leader: GeneratedOperation {
    init(_ request: V3electionpb_LeaderRequest) {
        self.init(name: Array(request.name))
    }

    static func response(_ answer: Answered<KeyValue>) -> V3electionpb_LeaderResponse {
        var response = V3electionpb_LeaderResponse(answer.header)
        response.kv = Mvccpb_KeyValue(answer.body)
        return response
    }
}

extension Elections.Resign: GeneratedOperation {
    typealias Response = V3electionpb_ResignResponse

    init(_ request: V3electionpb_ResignRequest) {
        self.init(claim: request.hasLeader ? Concurrency.Claim(request.leader) : nil)
    }
}

extension Concurrency.Claim {
    fileprivate init(_ leader: V3electionpb_LeaderKey) {
        self.init(key: Array(leader.key), revision: leader.rev, lease: leader.lease)
    }
}
