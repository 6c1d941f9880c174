internal import Fabric
internal import HTTPServer
internal import JSON
internal import NIOHTTP1
internal import Server

/// `/v1/clusterdomains` as the OpenStorage SDK has it, for tools that know cluster domains from there: domains for data, without
/// witnesses. Names are in snake case and nothing is left out, as its gateway does it.
struct ClusterDomains: Sendable {
    static let path: Substring = "/v1/clusterdomains"
    let desk: Desk

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let path = request.path.dropFirst(Self.path.utf8.count).split(separator: "/").map {
            String(decoding: percentDecoded($0), as: UTF8.self)
        }
        let call = FabricCall(desk: desk, request: request, path: path)
        switch (request.method, path.first, path.count) {
        case (.GET, nil, 0): return try await enumerate(call)
        case (.GET, "inspect"?, 2): return try await inspect(call)
        case (.POST, "activate"?, 2): return done(call, try await call.setDomain(path[1], isActive: true))
        // The tools that ask so have no way to say that they mean it.
        case (.POST, "deactivate"?, 2): return done(call, try await call.setDomain(path[1], isActive: false))
        default: throw .nothing(at: request.path)
        }
    }

    private func enumerate(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        let domains = try await call.fabric().domains.filter { $0.kind == .data }
        return call.answer(nil) { json in
            json.object { json in
                json.name("cluster_domain_names")
                json.array(domains) { $0.string($1.name) }
            }
        }
    }

    private func inspect(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        guard let domain = try await call.fabric().domain(call.path[1]) else {
            throw FabricCall.missing(.domain, call.path[1])
        }
        return call.answer(nil) { json in
            json.object { json in
                json.name("cluster_domain_name")
                json.string(domain.name)
                json.name("is_active")
                json.bool(domain.isActive)
            }
        }
    }

    private func done(_ call: FabricCall, _ response: HTTPResponse) -> HTTPResponse {
        response.status == .ok ? call.answer(nil) { $0.object { _ in } } : response
    }
}
