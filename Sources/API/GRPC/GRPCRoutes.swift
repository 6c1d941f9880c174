internal import HTTPServer

/// A method of a service, and what becomes of calls of it.
struct GRPCRoute: Sendable {
    typealias Answer = @Sendable (GRPCService, GRPCCall) async throws(APIError) -> Void

    /// "/SERVICE/METHOD"
    let path: String
    /// Streams outlast an election.
    let isStream: Bool
    let answer: Answer

    private static func unary<Asked: GRPCOperation>(_ path: String, _ kind: Asked.Type) -> GRPCRoute {
        GRPCRoute(path: path, isStream: false) { service, call async throws(APIError) in
            try await service.unary(kind, call)
        }
    }

    private static func stream(_ path: String, _ answer: @escaping Answer) -> GRPCRoute {
        GRPCRoute(path: path, isStream: true, answer: answer)
    }

    static func find(_ path: String) throws(APIError) -> GRPCRoute {
        if let route = table[path] { return route }
        // "/SERVICE/METHOD", and nothing like it.
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard path.hasPrefix("/"), parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
            throw APIError(.unimplemented, "malformed method name: \(path)")
        }
        guard all.contains(where: { $0.path.hasPrefix("/\(parts[0])/") }) else {
            throw APIError(.unimplemented, "unknown service \(parts[0])")
        }
        throw APIError(.unimplemented, "unknown method \(parts[1]) for service \(parts[0])")
    }

    private static let table = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })

    static let all = kv + leases + concurrency + cluster + maintenance + auth + health

    private static let kv = [
        GRPCRoute(path: "/etcdserverpb.KV/Range", isStream: false) { service, call async throws(APIError) in
            try await service.answerRange(call)
        },
        unary("/etcdserverpb.KV/Put", KV.Put.self),
        unary("/etcdserverpb.KV/DeleteRange", KV.DeleteRange.self),
        unary("/etcdserverpb.KV/Txn", KV.Txn.self),
        unary("/etcdserverpb.KV/Compact", KV.Compact.self),
        stream("/etcdserverpb.Watch/Watch") { service, call async throws(APIError) in
            try await service.answerWatch(call)
        },
    ]

    private static let leases = [
        unary("/etcdserverpb.Lease/LeaseGrant", Leases.Grant.self),
        unary("/etcdserverpb.Lease/LeaseRevoke", Leases.Revoke.self),
        unary("/etcdserverpb.Lease/LeaseTimeToLive", Leases.TimeToLive.self),
        unary("/etcdserverpb.Lease/LeaseLeases", Leases.List.self),
        stream("/etcdserverpb.Lease/LeaseKeepAlive") { service, call async throws(APIError) in
            try await service.answerKeepAlive(call)
        },
    ]

    private static let concurrency = [
        unary("/v3lockpb.Lock/Lock", Locks.Lock.self),
        unary("/v3lockpb.Lock/Unlock", Locks.Unlock.self),
        unary("/v3electionpb.Election/Campaign", Elections.Campaign.self),
        unary("/v3electionpb.Election/Proclaim", Elections.Proclaim.self),
        unary("/v3electionpb.Election/Leader", Elections.Leader.self),
        unary("/v3electionpb.Election/Resign", Elections.Resign.self),
        stream("/v3electionpb.Election/Observe") { service, call async throws(APIError) in
            try await service.answerObserve(call)
        },
    ]

    private static let cluster = [
        unary("/etcdserverpb.Cluster/MemberList", Cluster.List.self),
        unary("/etcdserverpb.Cluster/MemberAdd", Cluster.Add.self),
        unary("/etcdserverpb.Cluster/MemberRemove", Cluster.Remove.self),
        unary("/etcdserverpb.Cluster/MemberUpdate", Cluster.Update.self),
        unary("/etcdserverpb.Cluster/MemberPromote", Cluster.Promote.self),
    ]

    private static let maintenance = [
        unary("/etcdserverpb.Maintenance/Status", Maintenance.Status.self),
        unary("/etcdserverpb.Maintenance/Alarm", Maintenance.Alarms.self),
        unary("/etcdserverpb.Maintenance/Defragment", Maintenance.Defragment.self),
        unary("/etcdserverpb.Maintenance/Hash", Maintenance.Hash.self),
        unary("/etcdserverpb.Maintenance/HashKV", Maintenance.HashKV.self),
        unary("/etcdserverpb.Maintenance/MoveLeader", Maintenance.MoveLeader.self),
        unary("/etcdserverpb.Maintenance/Downgrade", Maintenance.Downgrade.self),
        stream("/etcdserverpb.Maintenance/Snapshot") { service, call async throws(APIError) in
            try await service.answerSnapshot(call)
        },
    ]

    private static let auth = [
        unary("/etcdserverpb.Auth/AuthStatus", Auth.Status.self),
        unary("/etcdserverpb.Auth/AuthEnable", Auth.Enable.self),
        unary("/etcdserverpb.Auth/AuthDisable", Auth.Disable.self),
        unary("/etcdserverpb.Auth/Authenticate", Auth.Authenticate.self),
        unary("/etcdserverpb.Auth/UserAdd", Auth.AddUser.self),
        unary("/etcdserverpb.Auth/UserGet", Auth.GetUser.self),
        unary("/etcdserverpb.Auth/UserList", Auth.ListUsers.self),
        unary("/etcdserverpb.Auth/UserDelete", Auth.DeleteUser.self),
        unary("/etcdserverpb.Auth/UserChangePassword", Auth.ChangePassword.self),
        unary("/etcdserverpb.Auth/UserGrantRole", Auth.GrantRole.self),
        unary("/etcdserverpb.Auth/UserRevokeRole", Auth.RevokeRole.self),
        unary("/etcdserverpb.Auth/RoleAdd", Auth.AddRole.self),
        unary("/etcdserverpb.Auth/RoleGet", Auth.GetRole.self),
        unary("/etcdserverpb.Auth/RoleList", Auth.ListRoles.self),
        unary("/etcdserverpb.Auth/RoleDelete", Auth.DeleteRole.self),
        unary("/etcdserverpb.Auth/RoleGrantPermission", Auth.GrantPermission.self),
        unary("/etcdserverpb.Auth/RoleRevokePermission", Auth.RevokePermission.self),
    ]

    private static let health = [
        unary("/grpc.health.v1.Health/Check", HealthOperations.IsServing.self),
        stream("/grpc.health.v1.Health/Watch") { service, call async throws(APIError) in
            try await service.answerHealthWatch(call)
        },
    ]
}
