internal import Bytes
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// The gateway's streams: answers of `{"result":…}` objects, each sent at once in a chunk of its own.
extension Gateway {
    func keepAlive(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        var ids: [Int64] = []
        for object in try GatewayObject.sequence(request.body) { ids.append(try object.integer("ID")) }
        let rest = ids.dropFirst()
        // The first decides with which status the stream begins.
        return try await beginning(Leases.KeepAlive(ids: Array(ids.prefix(1)))) {
            first, writer async throws(APIError) in
            func send(_ answers: [Answered<Leases.Renewed>]) async throws(APIError) {
                for answer in answers {
                    try await writer.send { json in
                        json.header(answer.header)
                        json.field("ID", answer.body.id)
                        json.field("TTL", answer.body.ttl)
                    }
                }
            }
            try await send(first)
            for id in rest { try await send(try await desk.carryOut(Leases.KeepAlive(ids: [id]))) }
        }
    }

    func observe(_ request: HTTPRequest) throws(APIError) -> HTTPResponse {
        let name = try GatewayObject(body: request.body).bytes("name")
        return Self.streaming { writer async throws(APIError) in
            try await desk.carryOut(Elections.Observe(name: name)).forEach { leader async throws(APIError) in
                try await writer.send { Elections.Leader.write(leader, to: &$0) }
            }
        }
    }

    func snapshot() async throws(APIError) -> HTTPResponse {
        try await beginning(Maintenance.BackUp()) { backup, writer async throws(APIError) in
            while let (piece, left) = try await backup.next() {
                try await writer.send { json in
                    json.field("remaining_bytes", UInt64(left))
                    json.field("blob", piece)
                    json.field("version", Version.etcdCluster)
                }
            }
        }
    }

    /// A stream that begins with an operation. Where that is refused, so is the stream, with a status that says so.
    private func beginning<Asked: Operation>(
        _ operation: Asked,
        _ body: @escaping @Sendable (Asked.Answer, GatewayWriter) async throws(APIError) -> Void
    ) async throws(APIError) -> HTTPResponse {
        let answer: Asked.Answer
        do throws(APIError) {
            answer = try await desk.carryOut(operation)
        } catch {
            return .json(error.status, GatewayWriter.json(of: error))
        }
        return Self.streaming { writer async throws(APIError) in try await body(answer, writer) }
    }

    /// - Parameter body: what it throws becomes the last object of the stream.
    private static func streaming(
        _ body: @escaping @Sendable (GatewayWriter) async throws(APIError) -> Void
    ) -> HTTPResponse {
        var response = HTTPResponse(status: .ok, headers: ["content-type": "application/json"])
        response.stream = { writer in
            let writer = GatewayWriter(writer: writer)
            do throws(APIError) { try await body(writer) } catch { await writer.fail(error) }
        }
        return response
    }

    // MARK: - Watch

    func watch(_ request: HTTPRequest) throws(APIError) -> HTTPResponse {
        let requests = try GatewayObject.sequence(request.body)
        for request in requests {
            try request.expectOne(of: ["create_request", "cancel_request", "progress_request"], "request_union")
        }
        let open = Watches.Open(requiresLeader: request.requiresLeader)
        return Self.streaming { writer async throws(APIError) in
            let session = try await desk.carryOut(open)
            for request in requests { try await Self.ask(request, session) }
            while true {
                let outputs = try await session.outputs()
                if outputs.isEmpty { return }
                for output in outputs {
                    let hold = try await session.hold(for: output, writer.writer.awaitRoom)
                    defer { withExtendedLifetime(hold) {} }
                    for answer in try await session.answers(to: output) {
                        try await writer.send { $0.fields(of: answer) }
                    }
                }
            }
        }
    }

    private static func ask(_ request: GatewayObject, _ session: WatchSession) async throws(APIError) {
        if let create = try request.object("create_request") {
            try await session.watch(try create.watchRequest())
        } else if let cancel = try request.object("cancel_request") {
            session.cancel(try cancel.integer("watch_id"))
        } else if try request.object("progress_request") != nil {
            session.askProgress()
        } else {
            throw APIError(.invalidArgument, "etcdserver: a watch request creates, cancels or asks for progress")
        }
    }
}

/// Sends what a stream of the gateway answers.
struct GatewayWriter: Sendable {
    let writer: any HTTPBodyWriter

    /// - Parameter fields: writes those of the answer.
    func send(_ fields: (inout JSONWriter) -> Void) async throws(APIError) {
        var json = JSONWriter()
        json.object { json in
            json.name("result")
            json.object(fields)
        }
        do throws(CancellationError) {
            try await writer.write(json.bytes + [UInt8(ascii: "\n")])
        } catch {
            throw APIError.cancelled
        }
    }

    func fail(_ error: APIError) async {
        guard error.code != .cancelled else { return }
        try? await writer.write(Self.json(of: error).bytes + [UInt8(ascii: "\n")])
    }

    static func json(of error: APIError) -> JSONWriter {
        var json = JSONWriter()
        json.object { json in
            json.name("error")
            json.object { json in
                json.name("code")
                json.number(error.code.rawValue)
                json.name("message")
                json.string(error.message)
            }
        }
        return json
    }
}

extension GatewayObject {
    func watchRequest() throws(APIError) -> WatchRequest {
        var request = WatchRequest(range: KeyRange(watched: try bytes("key"), rangeEnd: try bytes("range_end")))
        request.startRevision = try integer("start_revision")
        request.id = try integer("watch_id")
        request.wantsPrevious = try bool("prev_kv")
        request.wantsProgress = try bool("progress_notify")
        request.mayFragment = try bool("fragment")
        let unknown = APIError(.invalidArgument, "etcdserver: invalid watch filter")
        for filter in try choices("filters", ["NOPUT", "NODELETE"], otherwise: unknown) {
            if filter == 0 { request.withoutPuts = true } else { request.withoutDeletes = true }
        }
        return request
    }
}

extension JSONWriter {
    fileprivate mutating func fields(of answer: WatchAnswer) {
        header(answer.header)
        field("watch_id", answer.id)
        field("created", answer.isCreated)
        field("canceled", answer.isCanceled)
        field("compact_revision", answer.compactRevision)
        field("cancel_reason", answer.cancelReason)
        field("fragment", answer.isFragment)
        field("events", answer.events) { $0.event($1) }
    }

    private mutating func event(_ event: WatchEvent) {
        object { json in
            if event.change.version == 0 { json.field("type", "DELETE") }
            json.name("kv")
            json.pair(event.change)
            if let previous = event.previous {
                json.name("prev_kv")
                json.pair(previous)
            }
        }
    }
}
