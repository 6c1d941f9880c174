internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1

/// etcd's v3 API as JSON: POST /v3/SERVICE/METHOD. A codec around operations.
struct Gateway: Sendable {
    let desk: Desk

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        guard request.method == .POST else { throw APIError(.unimplemented, "Method Not Allowed") }
        guard let route = GatewayRoute.table[request.path] else { throw APIError(.notFound, "Not Found") }
        guard !desk.isNamedByCertificate else { return Self.refusalOfNames }
        if request.requiresLeader, !route.isStream { try desk.expectLeader() }
        return try await route.respond(self, request)
    }

    /// etcd's gateway is a client of its own member, and shows its own certificate there: CVE-2018-16886.
    private static let refusalOfNames = HTTPResponse(
        status: .badRequest, headers: ["content-type": "text/plain; charset=utf-8"],
        body: Array(
            "CommonName of client sending a request against gateway will be ignored and not used as expected\n".utf8))

    func unary<Asked: GatewayOperation>(
        _: Asked.Type, _ request: HTTPRequest
    ) async throws(APIError) -> HTTPResponse {
        let operation = try Asked(try GatewayObject(body: request.body))
        return .json(.ok, Asked.json(try await desk.carryOut(operation)))
    }

    /// A large answer is made and sent piece by piece.
    func range(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let operation = try KV.Range(try GatewayObject(body: request.body))
        let answer = try await desk.carryOut(operation)
        guard StreamedJSON.isWorthwhile(answer.body.pairs) else { return .json(.ok, KV.Range.json(answer)) }
        var start = JSONWriter()
        start.object { json in
            json.header(answer.header)
            json.name("kvs")
            json.array([Int]()) { _, _ in }
        }
        var end = JSONWriter()
        end.object { json in
            json.field("more", answer.body.more)
            json.field("count", answer.body.count)
        }
        // The array without its end and the object's; then what follows it without its beginning.
        return StreamedJSON.response(
            answer.body.pairs, answer.body.hold, head: start.bytes.dropLast(2),
            tail: Array("],".utf8) + end.bytes.dropFirst()
        ) { $0.pair($1) }
    }
}

extension HTTPRequest {
    /// The client wants no answer from a member without a leader.
    var requiresLeader: Bool { headers.first(name: "grpc-metadata-hasleader") == "true" }
}
