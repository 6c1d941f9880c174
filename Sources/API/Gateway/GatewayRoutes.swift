internal import HTTPServer

/// A path of etcd's gateway, and what becomes of requests to it.
struct GatewayRoute: Sendable {
    typealias Respond = @Sendable (Gateway, HTTPRequest) async throws(APIError) -> HTTPResponse

    let path: Substring
    let isStream: Bool
    let respond: Respond

    private static func unary<Asked: GatewayOperation>(_ path: Substring, _ kind: Asked.Type) -> GatewayRoute {
        GatewayRoute(path: path, isStream: false) { gateway, request async throws(APIError) in
            try await gateway.unary(kind, request)
        }
    }

    static let table = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })

    static let all = kv + streams + leases + concurrency + cluster + maintenance + auth

    private static let kv = [
        GatewayRoute(path: "/v3/kv/range", isStream: false) { gateway, request async throws(APIError) in
            try await gateway.range(request)
        },
        unary("/v3/kv/put", KV.Put.self),
        unary("/v3/kv/deleterange", KV.DeleteRange.self),
        unary("/v3/kv/txn", KV.Txn.self),
        unary("/v3/kv/compaction", KV.Compact.self),
    ]

    private static let streams = [
        GatewayRoute(path: "/v3/watch", isStream: true) { gateway, request throws(APIError) in
            try gateway.watch(request)
        },
        GatewayRoute(path: "/v3/lease/keepalive", isStream: true) { gateway, request async throws(APIError) in
            try await gateway.keepAlive(request)
        },
        GatewayRoute(path: "/v3/election/observe", isStream: true) { gateway, request throws(APIError) in
            try gateway.observe(request)
        },
        GatewayRoute(path: "/v3/maintenance/snapshot", isStream: true) { gateway, _ async throws(APIError) in
            try await gateway.snapshot()
        },
    ]

    private static let leases = [
        unary("/v3/lease/grant", Leases.Grant.self),
        unary("/v3/lease/revoke", Leases.Revoke.self), unary("/v3/kv/lease/revoke", Leases.Revoke.self),
        unary("/v3/lease/timetolive", Leases.TimeToLive.self), unary("/v3/kv/lease/timetolive", Leases.TimeToLive.self),
        unary("/v3/lease/leases", Leases.List.self), unary("/v3/kv/lease/leases", Leases.List.self),
    ]

    private static let concurrency = [
        unary("/v3/lock/lock", Locks.Lock.self),
        unary("/v3/lock/unlock", Locks.Unlock.self),
        unary("/v3/election/campaign", Elections.Campaign.self),
        unary("/v3/election/proclaim", Elections.Proclaim.self),
        unary("/v3/election/leader", Elections.Leader.self),
        unary("/v3/election/resign", Elections.Resign.self),
    ]

    private static let cluster = [
        unary("/v3/cluster/member/list", Cluster.List.self),
        unary("/v3/cluster/member/add", Cluster.Add.self),
        unary("/v3/cluster/member/remove", Cluster.Remove.self),
        unary("/v3/cluster/member/update", Cluster.Update.self),
        unary("/v3/cluster/member/promote", Cluster.Promote.self),
    ]

    private static let maintenance = [
        unary("/v3/maintenance/status", Maintenance.Status.self),
        unary("/v3/maintenance/alarm", Maintenance.Alarms.self),
        unary("/v3/maintenance/defragment", Maintenance.Defragment.self),
        unary("/v3/maintenance/hash", Maintenance.Hash.self),
        unary("/v3/maintenance/hashkv", Maintenance.HashKV.self),
        unary("/v3/maintenance/hashKV", Maintenance.HashKV.self),
        unary("/v3/maintenance/transfer-leadership", Maintenance.MoveLeader.self),
        unary("/v3/maintenance/downgrade", Maintenance.Downgrade.self),
    ]

    private static let auth = [
        unary("/v3/auth/status", Auth.Status.self),
        unary("/v3/auth/enable", Auth.Enable.self),
        unary("/v3/auth/disable", Auth.Disable.self),
        unary("/v3/auth/authenticate", Auth.Authenticate.self),
        unary("/v3/auth/user/add", Auth.AddUser.self),
        unary("/v3/auth/user/get", Auth.GetUser.self),
        unary("/v3/auth/user/list", Auth.ListUsers.self),
        unary("/v3/auth/user/delete", Auth.DeleteUser.self),
        unary("/v3/auth/user/changepw", Auth.ChangePassword.self),
        unary("/v3/auth/user/grant", Auth.GrantRole.self),
        unary("/v3/auth/user/revoke", Auth.RevokeRole.self),
        unary("/v3/auth/role/add", Auth.AddRole.self),
        unary("/v3/auth/role/get", Auth.GetRole.self),
        unary("/v3/auth/role/list", Auth.ListRoles.self),
        unary("/v3/auth/role/delete", Auth.DeleteRole.self),
        unary("/v3/auth/role/grant", Auth.GrantPermission.self),
        unary("/v3/auth/role/revoke", Auth.RevokePermission.self),
    ]
}
