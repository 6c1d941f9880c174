internal import Access
internal import Credentials
internal import Fabric
internal import HTTPServer
internal import JSON
internal import NIOHTTP1
internal import Pairs
internal import Server

/// Pairs with other fabrics: `/v1/fabric/pairs`, `/v1/fabric/pair-tokens`, and `/v1/pairing`, where the fabrics meet.
struct FabricPairs: Sendable {
    static let pairingPath = "/v1/pairing"
    let call: FabricCall
    private var desk: Desk { call.desk }

    func respond() async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.pair) { return watch }
            let fabric = try await call.fabric()
            return call.list(fabric, Array(fabric.pairs)) { $0.pair($1) }
        case (.GET, 1):
            if let watch = try await call.watch(.pair, name: call.path[0]) { return watch }
            guard let pair = try await call.fabric().pair(call.path[0]) else {
                throw FabricCall.missing(.pair, call.path[0])
            }
            return call.answer(pair.mark) { $0.pair(pair) }
        case (.PUT, 1): return try await add(call.path[0])
        case (.DELETE, 1): return try await call.change(.removePair(call.path[0]))
        case (.POST, 2): return try await act(on: call.path[0], call.path[1])
        default: throw .nothing(at: call.request.path)
        }
    }

    private func add(_ name: String) async throws(APIError) -> HTTPResponse {
        let body = try FabricBody(call.request.body, known: ["token", "endpoints", "as"])
        guard let token = PairTokenText(try body.text("token") ?? "") else {
            throw APIError(
                .invalidArgument,
                "token: it is no token for pairing: one is weft1.CA.ID.SECRET@URL, as `weft pair token` prints it")
        }
        let add = Pairing.Add(
            name: name, token: token, endpoints: try body.strings("endpoints"), ownName: try body.text("as") ?? "",
            terms: try call.terms())
        return call.response(to: try await desk.carryOut(add))
    }

    private func act(on name: String, _ verb: String) async throws(APIError) -> HTTPResponse {
        switch verb {
        case "suspend", "resume":
            let suspend = Pairing.Suspend(name: name, isSuspended: verb == "suspend", terms: try call.terms())
            return call.response(to: try await desk.carryOut(suspend))
        case "verify":
            let pair = try await desk.carryOut(Pairing.Verify(name: name))
            return call.answer(pair.mark) { $0.pair(pair) }
        default: throw .nothing(at: call.request.path)
        }
    }

    func makeToken() async throws(APIError) -> HTTPResponse {
        let body = try FabricBody(call.request.body, known: ["ttlSeconds"])
        let made = try await desk.carryOut(Pairing.MakeToken(seconds: try body.number("ttlSeconds") ?? 3600))
        var json = JSONWriter()
        json.object { json in
            json.field("token", made.text.description)
            json.field("id", String(decoding: made.token.name, as: UTF8.self))
            json.field("until", timestamp(made.token.until))
        }
        return .json(.created, json)
    }

    // MARK: - Where fabrics meet

    static func respond(to request: HTTPRequest, _ desk: Desk) async throws(APIError) -> HTTPResponse {
        let answer: PairGreeting
        switch request.path {
        case PairDialer.acceptPath[...]:
            let body = try FabricBody(request.body, known: PairGreeting.fields.union(["token", "name"]))
            guard let token = JoinTokenText(try body.text("token") ?? "") else {
                throw APIError(.invalidArgument, "token: it is no join token: one is weft1.CA.ID.SECRET")
            }
            answer = try await desk.carryOut(
                Pairing.Accept(
                    token: token, name: try body.text("name") ?? "", greeting: try greeting(request)))
        case PairDialer.contactPath[...]:
            _ = try FabricBody(request.body, known: PairGreeting.fields)
            answer = try await desk.carryOut(Pairing.Greet(greeting: try greeting(request)))
        default: throw .nothing(at: request.path)
        }
        var json = JSONWriter()
        json.object { answer.write(to: &$0) }
        return .json(.ok, json)
    }

    private static func greeting(_ request: HTTPRequest) throws(APIError) -> PairGreeting {
        do { return try PairGreeting(try JSONParser.parse(request.body)) } catch {
            throw APIError(.invalidArgument, "the greeting cannot be used: \((error as? PairError)?.text ?? "no JSON")")
        }
    }
}

extension JSONWriter {
    mutating func pair(_ pair: ClusterPair) {
        object { json in
            json.field("name", pair.name)
            json.field("fabric", String(pair.terms.fabric, radix: 16))
            json.field("state", pair.isSuspended ? "Suspended" : "\(pair.contact)".capitalizedFirst)
            json.field("reason", pair.reason)
            json.field("endpoints", pair.terms.endpoints) { $0.string($1) }
            json.field("reach", pair.terms.reach) { $0.string($1) }
            if pair.news.at > 0 {
                json.field("lastContactAt", timestamp(pair.news.at))
                json.name("clockSkewMillis")
                json.number(pair.news.skew)
                json.field("release", pair.news.release)
                json.name("version")
                json.number(pair.news.version)
                json.name("remoteRevision")
                json.number(pair.news.revision)
            }
            json.mark(pair.mark)
        }
    }
}
