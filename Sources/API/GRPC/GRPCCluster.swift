internal import EtcdProto
internal import MVCC
internal import Raft
internal import Replication
internal import Server

// The services Cluster, Maintenance and health over gRPC.

// MARK: - Cluster

extension Cluster.List: GeneratedOperation {
    typealias Response = Etcdserverpb_MemberListResponse

    init(_ request: Etcdserverpb_MemberListRequest) {
        self.init(linearizable: request.linearizable)
    }
}

extension Cluster.Add: GeneratedOperation {
    init(_ request: Etcdserverpb_MemberAddRequest) {
        self.init(peerURLs: request.peerUrls, role: request.isLearner ? .learner : .joining)
    }

    static func response(_ answer: Answered<Cluster.Added>) -> Etcdserverpb_MemberAddResponse {
        var response = Etcdserverpb_MemberAddResponse(answer.header)
        response.member = Etcdserverpb_Member(answer.body.member)
        response.members = answer.body.members.map(Etcdserverpb_Member.init)
        return response
    }
}

extension Cluster.Remove: GeneratedOperation {
    typealias Response = Etcdserverpb_MemberRemoveResponse

    init(_ request: Etcdserverpb_MemberRemoveRequest) {
        self.init(id: request.id)
    }
}

extension Cluster.Update: GeneratedOperation {
    typealias Response = Etcdserverpb_MemberUpdateResponse

    init(_ request: Etcdserverpb_MemberUpdateRequest) {
        self.init(id: request.id, peerURLs: request.peerUrls)
    }
}

extension Cluster.Promote: GeneratedOperation {
    typealias Response = Etcdserverpb_MemberPromoteResponse

    init(_ request: Etcdserverpb_MemberPromoteRequest) {
        self.init(id: request.id)
    }
}

/// An answer with all members.
protocol MembersMessage: HeadedMessage {
    var members: [Etcdserverpb_Member] { get set }
}

extension GeneratedOperation where Answer == Answered<[Membership.Entry]>, Response: MembersMessage {
    static func response(_ answer: Answered<[Membership.Entry]>) -> Response {
        var response = Response(answer.header)
        response.members = answer.body.map(Etcdserverpb_Member.init)
        return response
    }
}

extension Etcdserverpb_Member {
    fileprivate init(_ entry: Membership.Entry) {
        self.init()
        id = entry.member.id
        name = entry.attributes.name
        peerUrls = entry.member.peerURLs
        clientUrls = entry.attributes.clientURLs
        isLearner = !entry.member.isVoting
    }
}

// MARK: - Maintenance

extension Maintenance.Status: GeneratedOperation {
    init(_: Etcdserverpb_StatusRequest) {}

    static func response(_ answer: Answered<Report>) -> Etcdserverpb_StatusResponse {
        var response = Etcdserverpb_StatusResponse(answer.header)
        response.version = Version.etcd
        response.dbSize = answer.body.databaseBytes
        response.leader = answer.body.leader
        response.raftIndex = answer.body.commit
        response.raftTerm = answer.body.term
        response.raftAppliedIndex = answer.body.applied
        response.errors = answer.body.errors
        response.dbSizeInUse = answer.body.databaseBytesInUse
        response.dbSizeQuota = answer.body.quotaBytes
        response.isLearner = answer.body.isLearner
        response.storageVersion = Version.etcdCluster
        response.downgradeInfo = Etcdserverpb_DowngradeInfo()
        return response
    }
}

extension Maintenance.Alarms: GeneratedOperation {
    init(_ request: Etcdserverpb_AlarmRequest) {
        self.init(
            action: request.action.rawValue, memberID: request.memberID,
            kind: UInt8(exactly: request.alarm.rawValue).flatMap(Alarm.Kind.init))
    }

    static func response(_ answer: Answered<[Alarm]>) -> Etcdserverpb_AlarmResponse {
        var response = Etcdserverpb_AlarmResponse(answer.header)
        response.alarms = answer.body.map { alarm in
            var message = Etcdserverpb_AlarmMember()
            message.memberID = alarm.memberID
            message.alarm = Etcdserverpb_AlarmType(rawValue: Int(alarm.kind.rawValue)) ?? .none
            return message
        }
        return response
    }
}

extension Maintenance.Defragment: GeneratedOperation {
    init(_: Etcdserverpb_DefragmentRequest) {}
    static func response(_: Void) -> Etcdserverpb_DefragmentResponse { Etcdserverpb_DefragmentResponse() }
}

extension Maintenance.Hash: GeneratedOperation {
    init(_: Etcdserverpb_HashRequest) {}

    static func response(_ answer: Answered<UInt32>) -> Etcdserverpb_HashResponse {
        var response = Etcdserverpb_HashResponse(answer.header)
        response.hash = answer.body
        return response
    }
}

extension Maintenance.HashKV: GeneratedOperation {
    init(_ request: Etcdserverpb_HashKVRequest) {
        self.init(revision: request.revision)
    }

    static func response(_ answer: Answered<HistoryHash>) -> Etcdserverpb_HashKVResponse {
        var response = Etcdserverpb_HashKVResponse(answer.header)
        response.hash = answer.body.sum
        response.compactRevision = answer.body.etcdCompactRevision
        response.hashRevision = answer.body.revision
        return response
    }
}

extension HistoryHash {
    /// -1 before any compaction.
    var etcdCompactRevision: Int64 { compactRevision == 0 ? -1 : compactRevision }
}

extension Maintenance.MoveLeader: GeneratedOperation {
    typealias Response = Etcdserverpb_MoveLeaderResponse

    init(_ request: Etcdserverpb_MoveLeaderRequest) {
        self.init(target: request.targetID)
    }
}

extension Maintenance.Downgrade: GeneratedOperation {
    typealias Response = Etcdserverpb_DowngradeResponse

    init(_ request: Etcdserverpb_DowngradeRequest) {
        self.init(action: request.action.rawValue, version: request.version)
    }
}

// MARK: - Health

extension HealthOperations.IsServing: GeneratedOperation {
    init(_: Grpc_Health_V1_HealthCheckRequest) {}

    static func response(_ isServing: Bool) -> Grpc_Health_V1_HealthCheckResponse {
        var response = Grpc_Health_V1_HealthCheckResponse()
        response.status = isServing ? .serving : .notServing
        return response
    }
}
