package import HTTPServer
internal import JSON
package import NIOHTTP1
package import Server

/// Everything the client port answers: routes to etcd's gateway, the plain REST, health and metrics.
package struct APIService: HTTPService {
    private let member: RunningMember
    private let gateway: Gateway
    private let grpc: GRPCService
    private let members: Members
    private let plain: PlainKV
    private let health: Health

    package init(member: RunningMember) {
        self.member = member
        gateway = Gateway(member: member)
        grpc = GRPCService(member: member)
        members = Members(member: member)
        plain = PlainKV(member: member)
        health = Health(member: member)
    }

    package func unaryService(on turn: LoopTurn) -> (any UnaryService)? { LoopKV(member: member, turn: turn) }

    package func respond(to call: GRPCCall) async -> GRPCStatus { await grpc.respond(to: call) }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        let path = request.path
        if path.hasPrefix("/v3/") { return await gateway.respond(to: request) }
        if path == Members.path || path.hasPrefix(Members.path + "/") { return await members.respond(to: request) }
        if path == Upgrade.path || path.hasPrefix(Upgrade.path + "/") {
            return await Upgrade(member: member).respond(to: request)
        }
        if path == PlainSnapshot.path { return await PlainSnapshot(member: member).respond(to: request) }
        if path.hasPrefix(FabricAPI.prefix + "/") { return await FabricAPI(member: member).respond(to: request) }
        if path == ClusterDomains.path || path.hasPrefix(ClusterDomains.path + "/") {
            return await ClusterDomains(member: member).respond(to: request)
        }
        if path.hasPrefix("/v1/kv/") { return await plain.respond(to: request) }
        guard request.method == .GET || request.method == .HEAD else {
            let known = Self.readOnlyPaths.contains(path)
            return known ? .methodNotAllowed("GET") : .error(.notFound, code: 5, "there is nothing at \(path)")
        }
        if Self.isProbe(path, "/livez"), let answer = await health.livez(request) { return answer }
        if Self.isProbe(path, "/readyz"), let answer = await health.readyz(request) { return answer }
        switch path {
        case "/version": return version()
        case "/health": return await health.health(request)
        case "/metrics": return MetricsText(member: member).respond()
        case OpenAPI.path: return OpenAPI.respond()
        case "/": return index()
        default: return .error(.notFound, code: 5, "there is nothing at \(path); see /")
        }
    }

    private static func isProbe(_ path: Substring, _ name: String) -> Bool {
        path == name || path.hasPrefix(name + "/")
    }

    private static let readOnlyPaths: Set<Substring> = [
        "/", "/version", "/health", "/livez", "/readyz", "/metrics", OpenAPI.path,
    ]

    package func refusal(_ status: HTTPResponseStatus, _ reason: String) -> HTTPResponse {
        let code =
            switch status {
            case .payloadTooLarge, .requestHeaderFieldsTooLarge: 8
            case .requestTimeout: 4
            default: 3
            }
        return .error(status, code: code, reason)
    }

    private func version() -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.field("etcdserver", Version.etcd)
            json.field("etcdcluster", Version.etcdCluster)
            json.field("storage", Version.etcdCluster)
            json.field("weft", Version.weft)
        }
        return .json(.ok, json)
    }

    private func index() -> HTTPResponse {
        let text = """
            weft \(Version.weft), member \(member.name) of fabric \(String(member.clusterID, radix: 16))

              curl -X PUT --data-binary @volume.json HOST/v1/kv/volumes/v1    store a value
              curl HOST/v1/kv/volumes/v1                                      read it
              curl 'HOST/v1/kv/volumes/?prefix'                               list
              curl -X DELETE HOST/v1/kv/volumes/v1                            delete
              curl -N 'HOST/v1/kv/volumes/?prefix&watch'                      watch
              curl -o backup.db HOST/v1/snapshot                              back up
              curl HOST/v1/fabric/{domains,nodes,volumes,events,status}       the storage cluster; see /openapi.json
              POST /v3/kv/{range,put,deleterange,txn,compaction}              etcd's v3 API as JSON
              GET  /version /health /livez /readyz /metrics

            """
        return HTTPResponse(status: .ok, headers: ["content-type": "text/plain; charset=utf-8"], body: Array(text.utf8))
    }
}

extension HTTPResponse {
    static func methodNotAllowed(_ allowed: String) -> HTTPResponse {
        var response = HTTPResponse.error(.methodNotAllowed, code: 12, "only \(allowed) here")
        response.headers.add(name: "allow", value: allowed)
        return response
    }
}
