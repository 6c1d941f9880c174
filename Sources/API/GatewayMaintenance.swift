internal import JSON
internal import MVCC
internal import Replication
internal import Server

/// Maintenance beyond status and transfer, and what is said of auth while there is none.
extension Gateway {
    func answerMaintenance(_ path: Substring, _ body: [UInt8]) async throws(APIError) -> JSONWriter? {
        switch path {
        case "/v3/maintenance/alarm":
            let request = try GatewayObject(body: body)
            let unknown = APIError(.invalidArgument, "weft: unknown alarm or action")
            let action = try request.choice("action", ["GET", "ACTIVATE", "DEACTIVATE"], otherwise: unknown)
            let kind = try request.choice("alarm", Alarm.Kind.names, otherwise: unknown)
            let alarms = try await member.alarms(
                Int(action), try request.unsigned("memberID"), Alarm.Kind(rawValue: kind))
            return answer(header()) { json in
                json.field("alarms", alarms) { json, alarm in
                    json.object { json in
                        json.field("memberID", alarm.memberID)
                        json.field("alarm", alarm.kind.name)
                    }
                }
            }
        case "/v3/maintenance/downgrade":
            let request = try GatewayObject(body: body)
            let unknown = APIError(.invalidArgument, "etcdserver: unknown downgrade action")
            let action = try request.choice("action", ["VALIDATE", "ENABLE", "CANCEL"], otherwise: unknown)
            throw member.refuseDowngrade(Int(action), to: try request.text("version") ?? "")
        case "/v3/maintenance/defragment":
            await member.defragment()
            var json = JSONWriter()
            json.object { _ in }
            return json
        case "/v3/maintenance/hash":
            return answer(header()) { $0.field("hash", UInt32(truncatingIfNeeded: member.stateHash)) }
        case "/v3/maintenance/hashkv", "/v3/maintenance/hashKV":
            let revision = try GatewayObject(body: body).integer("revision")
            let hash = try await member.kv { member throws(ServerError) in try await member.hashKV(at: revision) }
            return answer(header()) { json in
                json.field("hash", hash.sum)
                json.field("compact_revision", hash.compactRevision == 0 ? -1 : hash.compactRevision)
                json.field("hash_revision", hash.revision)
            }
        case "/v3/auth/status": return answer(header()) { $0.field("authRevision", 1) }
        case "/v3/auth/user/list", "/v3/auth/role/list", "/v3/auth/disable": return answer(header()) { _ in }
        default:
            if path.hasPrefix("/v3/auth/") {
                throw GRPCService.authFailure(Self.authMethod(path))
            }
            return nil
        }
    }

    /// "/v3/auth/user/changepw" is "UserChangePassword".
    private static func authMethod(_ path: Substring) -> String {
        let names = [
            "enable": "AuthEnable", "authenticate": "Authenticate", "user/get": "UserGet", "user/add": "UserAdd",
            "user/delete": "UserDelete", "user/changepw": "UserChangePassword", "user/grant": "UserGrantRole",
            "user/revoke": "UserRevokeRole", "role/get": "RoleGet", "role/add": "RoleAdd", "role/delete": "RoleDelete",
            "role/grant": "RoleGrantPermission", "role/revoke": "RoleRevokePermission",
        ]
        return names[String(path.dropFirst("/v3/auth/".count))] ?? ""
    }
}
