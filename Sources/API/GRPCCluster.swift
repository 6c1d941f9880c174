internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import Raft
internal import Replication
internal import Server
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Cluster, Maintenance, Auth and health over gRPC.
extension GRPCService {
    // MARK: - Cluster

    func answerCluster(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "MemberList":
            try await unary(call) { (request: Etcdserverpb_MemberListRequest) async throws(APIError) in
                if request.linearizable {
                    try await member.kv { member throws(ServerError) in try await member.confirmCurrent() }
                }
                var answer = Etcdserverpb_MemberListResponse()
                answer.header = header()
                answer.members = members
                return answer
            }
        case "MemberAdd":
            try await unary(call) { (request: Etcdserverpb_MemberAddRequest) async throws(APIError) in
                let newcomer = try await member.addMember(request.peerUrls, isLearner: request.isLearner)
                var answer = Etcdserverpb_MemberAddResponse()
                answer.header = header()
                answer.member = Etcdserverpb_Member(newcomer)
                answer.members = members
                return answer
            }
        case "MemberRemove":
            try await unary(call) { (request: Etcdserverpb_MemberRemoveRequest) async throws(APIError) in
                var answer = Etcdserverpb_MemberRemoveResponse()
                answer.members = try await change(.remove(request.id))
                answer.header = header()
                return answer
            }
        case "MemberUpdate":
            try await unary(call) { (request: Etcdserverpb_MemberUpdateRequest) async throws(APIError) in
                try checkPeerURLs(request.peerUrls)
                var answer = Etcdserverpb_MemberUpdateResponse()
                answer.members = try await change(.update(request.id, peerURLs: request.peerUrls))
                answer.header = header()
                return answer
            }
        case "MemberPromote":
            try await unary(call) { (request: Etcdserverpb_MemberPromoteRequest) async throws(APIError) in
                var answer = Etcdserverpb_MemberPromoteResponse()
                answer.members = try await change(.promote(request.id))
                answer.header = header()
                return answer
            }
        default: false
        }
    }

    private var members: [Etcdserverpb_Member] { member.membership.entries.map(Etcdserverpb_Member.init) }

    private func change(_ change: ConfigurationChange) async throws(APIError) -> [Etcdserverpb_Member] {
        _ = try await member.kv { member throws(ServerError) in try await member.change(change) }
        return members
    }

    // MARK: - Maintenance

    func answerMaintenance(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "Status": try await unary(call, status)
        case "Alarm":
            try await unary(call) { (request: Etcdserverpb_AlarmRequest) async throws(APIError) in
                let kind = UInt8(exactly: request.alarm.rawValue).flatMap(Alarm.Kind.init)
                let alarms = try await member.alarms(request.action.rawValue, request.memberID, kind)
                var answer = Etcdserverpb_AlarmResponse()
                answer.header = header()
                answer.alarms = alarms.map(Etcdserverpb_AlarmMember.init)
                return answer
            }
        case "Defragment":
            try await unary(call) { (_: Etcdserverpb_DefragmentRequest) async throws(APIError) in
                await member.defragment()
                return Etcdserverpb_DefragmentResponse()
            }
        case "Hash":
            try await unary(call) { (_: Etcdserverpb_HashRequest) async throws(APIError) in
                var answer = Etcdserverpb_HashResponse()
                answer.header = header()
                answer.hash = UInt32(truncatingIfNeeded: member.stateHash)
                return answer
            }
        case "HashKV": try await unary(call, hashKV)
        case "MoveLeader":
            try await unary(call) { (request: Etcdserverpb_MoveLeaderRequest) async throws(APIError) in
                try await member.kv { member throws(ServerError) in try await member.transferLead(to: request.targetID)
                }
                var answer = Etcdserverpb_MoveLeaderResponse()
                answer.header = header()
                return answer
            }
        case "Downgrade":
            try await unary(call) {
                (request: Etcdserverpb_DowngradeRequest) async throws(APIError) -> Etcdserverpb_DowngradeResponse in
                throw member.refuseDowngrade(request.action.rawValue, to: request.version)
            }
        case "Snapshot": try await snapshot(call)
        default: false
        }
    }

    private func status(_: Etcdserverpb_StatusRequest) async throws(APIError) -> Etcdserverpb_StatusResponse {
        let sizes = member.databaseSizes
        let status = member.status
        var answer = Etcdserverpb_StatusResponse()
        answer.header = header()
        answer.version = Version.etcd
        answer.dbSize = sizes.total
        answer.leader = status.leader ?? 0
        answer.raftIndex = status.commit
        answer.raftTerm = status.term
        answer.raftAppliedIndex = member.appliedIndex
        answer.errors = member.statusErrors
        answer.dbSizeInUse = sizes.inUse
        answer.dbSizeQuota = member.quotaBytes
        answer.isLearner = !status.configuration.isVoter(member.id)
        answer.storageVersion = Version.etcdCluster
        answer.downgradeInfo = Etcdserverpb_DowngradeInfo()
        return answer
    }

    private func snapshot(_ call: GRPCCall) async throws(APIError) -> Bool {
        guard let _: Etcdserverpb_SnapshotRequest = try await receive(call) else { return true }
        let backup = try await member.kv { member throws(ServerError) in try await member.backUp() }
        while let (piece, left) = try await member.kv({ _ throws(ServerError) in try await backup.next() }) {
            var answer = Etcdserverpb_SnapshotResponse()
            answer.blob = Data(piece)
            answer.remainingBytes = UInt64(left)
            answer.version = Version.etcdCluster
            try await send(answer, call)
        }
        return true
    }

    private func hashKV(_ request: Etcdserverpb_HashKVRequest) async throws(APIError) -> Etcdserverpb_HashKVResponse {
        let hash = try await member.kv { member throws(ServerError) in try await member.hashKV(at: request.revision) }
        var answer = Etcdserverpb_HashKVResponse()
        answer.header = header()
        answer.hash = hash.sum
        answer.compactRevision = hash.compactRevision == 0 ? -1 : hash.compactRevision
        answer.hashRevision = hash.revision
        return answer
    }

    // MARK: - Auth and health

    /// There is none yet: etcd with auth disabled.
    /// What etcd says while it has no user and no role.
    static func authFailure(_ method: String) -> APIError {
        switch method {
        case "AuthEnable": APIError(.failedPrecondition, "etcdserver: root user does not exist")
        case "UserGet", "UserDelete", "UserChangePassword", "UserGrantRole", "UserRevokeRole":
            APIError(.failedPrecondition, "etcdserver: user name not found")
        case "RoleGet", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission":
            APIError(.failedPrecondition, "etcdserver: role name not found")
        case "Authenticate": APIError(.failedPrecondition, "etcdserver: authentication is not enabled")
        default: APIError(.unimplemented, "weft: users and roles are not there yet")
        }
    }

    func answerAuth(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "AuthStatus":
            return try await unary(call) { (_: Etcdserverpb_AuthStatusRequest) async throws(APIError) in
                var answer = Etcdserverpb_AuthStatusResponse()
                answer.header = header()
                answer.authRevision = 1
                return answer
            }
        case "UserList":
            return try await unary(call) { (_: Etcdserverpb_AuthUserListRequest) async throws(APIError) in
                var answer = Etcdserverpb_AuthUserListResponse()
                answer.header = header()
                return answer
            }
        case "RoleList":
            return try await unary(call) { (_: Etcdserverpb_AuthRoleListRequest) async throws(APIError) in
                var answer = Etcdserverpb_AuthRoleListResponse()
                answer.header = header()
                return answer
            }
        case "AuthDisable":
            return try await unary(call) { (_: Etcdserverpb_AuthDisableRequest) async throws(APIError) in
                var answer = Etcdserverpb_AuthDisableResponse()
                answer.header = header()
                return answer
            }
        default: throw Self.authFailure(String(method))
        }
    }

    func answerHealth(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "Check":
            return try await unary(call) { (_: Grpc_Health_V1_HealthCheckRequest) async throws(APIError) in health }
        case "Watch":
            guard let _: Grpc_Health_V1_HealthCheckRequest = try await receive(call) else { return true }
            var said: Grpc_Health_V1_HealthCheckResponse?
            while !Task.isCancelled {
                if health != said { try await send(health, call) }
                said = health
                try? await Task.sleep(for: .milliseconds(500))
            }
            return true
        default: return false
        }
    }

    private var health: Grpc_Health_V1_HealthCheckResponse {
        var answer = Grpc_Health_V1_HealthCheckResponse()
        answer.status = member.status.leader == nil ? .notServing : .serving
        return answer
    }
}

extension Etcdserverpb_AlarmMember {
    fileprivate init(_ alarm: Alarm) {
        self.init()
        memberID = alarm.memberID
        self.alarm = Etcdserverpb_AlarmType(rawValue: Int(alarm.kind.rawValue)) ?? .none
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
