package import HTTPServer
internal import JSON
package import NIOHTTP1
package import Server

/// Everything the client port answers: routes to etcd's gateway, the plain REST, health and metrics.
package struct APIService: HTTPService {
    private let desks: Desks

    package init(member: RunningMember) {
        desks = Desks(of: member)
    }

    package func unaryService(on turn: LoopTurn) -> (any UnaryService)? { LoopService(desks: desks, turn: turn) }

    package func respond(to call: GRPCCall) async -> GRPCStatus {
        await GRPCService(desk: desks.open(for: Caller(call))).respond(to: call)
    }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        do throws(APIError) { return try await answer(request) } catch { return .error(error) }
    }

    private func answer(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let path = request.path
        let desk = desks.open(for: Caller(request))
        func isUnder(_ root: some StringProtocol) -> Bool { path == root || path.hasPrefix("\(root)/") }
        if path.hasPrefix("/v3/") { return try await Gateway(desk: desk).respond(to: request) }
        if path.hasPrefix("/v1/kv/") { return try await PlainKV(desk: desk).respond(to: request) }
        switch PlainRoutes.find(request.method, path) {
        case .here: break
        case .others(let methods): return .methodNotAllowed(methods)
        case .nowhere: throw .nothing(at: path)
        }
        if path == PlainSnapshot.path { return try await PlainSnapshot(desk: desk).respond(to: request) }
        if isUnder(Members.path) { return try await Members(desk: desk).respond(to: request) }
        if isUnder(CertificatesAPI.path) || isUnder(CertificatesAPI.tokensPath) {
            return try await CertificatesAPI(desk: desk).respond(to: request)
        }
        if isUnder(FabricPairs.pairingPath) { return try await FabricPairs.respond(to: request, desk) }
        if isUnder(Upgrade.path) { return try await Upgrade(desk: desk).respond(to: request) }
        if path.hasPrefix(FabricAPI.prefix + "/") { return try await FabricAPI(desk: desk).respond(to: request) }
        if isUnder(ClusterDomains.path) { return try await ClusterDomains(desk: desk).respond(to: request) }
        switch path {
        case "/version": return version()
        case "/health": return try await Health(desk: desk).health(request)
        case "/metrics":
            return .text(try await desk.carryOut(MetricsText()), "text/plain; version=0.0.4; charset=utf-8")
        case OpenAPI.path:
            _ = try await desk.carryOut(Introduction())
            return OpenAPI.respond()
        case "/": return index(try await desk.carryOut(Introduction()))
        default:
            if let answer = try await Health(desk: desk).probe(request) { return answer }
            throw .nothing(at: path)
        }
    }

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
            // For those who compare members' clocks.
            json.field("unixMilliseconds", millisecondsSince1970())
        }
        return .json(.ok, json)
    }

    private func index(_ title: String) -> HTTPResponse {
        let text = """
            weft \(Version.weft), \(title)

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
        return .text(text)
    }
}
