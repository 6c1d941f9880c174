internal import Bytes
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// The gateway's streams: answers of `{"result":…}` objects, each sent at once in a chunk of its own.
extension Gateway {
    /// The answer to a request for a stream; nil when `path` is none.
    func stream(_ path: Substring, _ body: [UInt8], requiresLeader: Bool) throws(APIError) -> HTTPResponse? {
        switch path {
        case "/v3/watch":
            let requests = try GatewayObject.sequence(body)
            for request in requests {
                try request.expectOne(of: ["create_request", "cancel_request", "progress_request"], "request_union")
            }
            return Self.streaming { writer async throws(APIError) in
                try await watch(requests, requiresLeader: requiresLeader, writer)
            }
        case "/v3/lease/keepalive":
            let ids = try leaseIDs(in: body)
            return Self.streaming { writer async throws(APIError) in
                for id in ids { try await writer.send(try await keepAlive(id)) }
            }
        case "/v3/election/observe":
            let name = try GatewayObject(body: body).bytes("name")
            return Self.streaming { writer async throws(APIError) in
                try await Concurrency(member: member).observe(name) { pair, revision, term async throws(APIError) in
                    try await writer.send(
                        answer(header(revision: revision, term: term)) { json in
                            json.name("kv")
                            json.pair(pair)
                        })
                }
            }
        case "/v3/maintenance/snapshot": return Self.streaming(snapshot)
        default: return nil
        }
    }

    private func snapshot(_ writer: GatewayWriter) async throws(APIError) {
        let backup = try await member.kv { member throws(ServerError) in try await member.backUp() }
        while let (piece, left) = try await member.kv({ _ throws(ServerError) in try await backup.next() }) {
            var json = JSONWriter()
            json.object { json in
                json.field("remaining_bytes", UInt64(left))
                json.field("blob", piece)
                json.field("version", Version.etcdCluster)
            }
            try await writer.send(json)
        }
    }

    private func leaseIDs(in body: [UInt8]) throws(APIError) -> [Int64] {
        var ids: [Int64] = []
        for object in try GatewayObject.sequence(body) { ids.append(try object.integer("ID")) }
        return ids
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

    private func watch(
        _ requests: [GatewayObject], requiresLeader: Bool, _ writer: GatewayWriter
    ) async throws(APIError) {
        let stream = try member.makeWatchStream(requiresLeader: requiresLeader)
        defer { member.close(stream) }
        for request in requests { try ask(request, stream) }
        while true {
            let outputs: [WatchOutput]
            do throws(WatchEnd) { outputs = try await member.outputs(of: stream) } catch { throw APIError(error) }
            if outputs.isEmpty { return }
            for output in outputs {
                let hold = try await writer.hold(for: output, member)
                defer { withExtendedLifetime(hold) {} }
                for answer in try await answers(to: output) { try await writer.send(answer) }
            }
        }
    }

    private func ask(_ request: GatewayObject, _ stream: WatchStream) throws(APIError) {
        if let create = try request.object("create_request") {
            member.watch(try create.watchRequest(), on: stream)
        } else if let cancel = try request.object("cancel_request") {
            member.cancelWatch(try cancel.integer("watch_id"), on: stream)
        } else if try request.object("progress_request") != nil {
            member.askProgress(of: stream)
        } else {
            throw APIError(.invalidArgument, "etcdserver: a watch request creates, cancels or asks for progress")
        }
    }

    private func answers(to output: WatchOutput) async throws(APIError) -> [JSONWriter] {
        switch output {
        case .created(let id, let revision):
            return [
                answer(header(revision: revision)) { json in
                    json.field("watch_id", id)
                    json.field("created", true)
                }
            ]
        case .refused(let reason, let revision):
            return [
                answer(header(revision: revision)) { json in
                    json.field("watch_id", Int64(-1))
                    json.field("created", true)
                    json.field("canceled", true)
                    json.field("cancel_reason", reason)
                }
            ]
        case .progress(let id, let revision):
            return [answer(header(revision: revision)) { $0.field("watch_id", id) }]
        case .canceled(let id, let revision, let compactRevision):
            return [
                answer(header(revision: revision)) { json in
                    json.field("watch_id", id)
                    json.field("canceled", true)
                    json.field("compact_revision", compactRevision)
                }
            ]
        case .changes(let id, let batch, let revision, let form):
            let parts = try await member.parts(of: batch.changes, form)
            return parts.enumerated().map { number, events in
                answer(header(revision: revision)) { json in
                    json.field("watch_id", id)
                    json.field("fragment", number < parts.count - 1)
                    json.field("events", events) { $0.event($1) }
                }
            }
        }
    }
}

/// Sends what a stream of the gateway answers.
struct GatewayWriter: Sendable {
    let writer: any HTTPBodyWriter

    func hold(for output: WatchOutput, _ member: RunningMember) async throws(APIError) -> MemoryHold? {
        do throws(CancellationError) { return try await member.hold(for: output, writer.awaitRoom) } catch {
            throw APIError.cancelled
        }
    }

    func send(_ answer: JSONWriter) async throws(APIError) {
        var json = JSONWriter()
        json.object { json in
            json.name("result")
            json.raw(answer.bytes)
        }
        do throws(CancellationError) {
            try await writer.write(json.bytes + [UInt8(ascii: "\n")])
        } catch {
            throw APIError.cancelled
        }
    }

    func fail(_ error: APIError) async {
        guard error.code != .cancelled else { return }
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
        try? await writer.write(json.bytes + [UInt8(ascii: "\n")])
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

extension KeyRange {
    /// As a watch says it: without a key it is the smallest one.
    init(watched key: [UInt8], rangeEnd: [UInt8]) {
        self.init(key: key.isEmpty ? [0] : key, rangeEnd: rangeEnd)
    }
}

extension JSONWriter {
    fileprivate mutating func event(_ event: WatchEvent) {
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
