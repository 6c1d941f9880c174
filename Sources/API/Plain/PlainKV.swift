internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// Keys and values as people reach them with curl: `/v1/kv/KEY`, the value as it is.
///
/// The key is the rest of the path with percent-encoding undone and nothing else changed. ETag is the key's revision.
struct PlainKV: Sendable {
    let desk: Desk

    private static let prefix = "/v1/kv/"

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let key = percentDecoded(request.path.dropFirst(Self.prefix.utf8.count))
        switch request.method {
        case .GET, .HEAD:
            let options = try Options(
                request, known: ["prefix", "keys", "limit", "after", "revision", "serializable", "watch"])
            if options.watches { return try await watch(key, options, request) }
            return options.lists ? try await list(key, options) : try await get(key, options, request)
        case .PUT:
            _ = try Options(request, known: [])
            return try await put(key, request)
        case .DELETE:
            let options = try Options(request, known: ["prefix"])
            return options.isPrefix ? try await deletePrefix(key, request) : try await delete(key, request)
        default: return .methodNotAllowed("GET, HEAD, PUT, DELETE")
        }
    }

    /// What the query asks for; a field that nobody knows is an error, so that a typo does not list or delete the wrong.
    private struct Options {
        var lists = false
        var isPrefix = false
        var watches = false
        var keysOnly = false
        var serializable = false
        var revision: Int64 = 0
        var limit: Int64 = 0
        var after: [UInt8]?

        /// - Parameter known: the fields that mean something to this method.
        init(_ request: HTTPRequest, known: Set<String>) throws(APIError) {
            for (name, bytes) in request.queryFields {
                guard known.contains(name) else {
                    throw APIError(
                        .invalidArgument,
                        "unknown query field \"\(name)\" for \(request.method); known: \(known.sorted().joined(separator: ", "))"
                    )
                }
                let value = bytes.map { String(decoding: $0, as: UTF8.self) }
                switch name {
                case "prefix": isPrefix = try Self.flag(name, value)
                case "watch": watches = try Self.flag(name, value)
                case "keys": keysOnly = try Self.flag(name, value)
                case "serializable": serializable = try Self.flag(name, value)
                case "revision": revision = try Self.number(name, value)
                case "limit": limit = try Self.number(name, value)
                case "after": after = bytes ?? []
                default: break
                }
            }
            lists = isPrefix || keysOnly
        }

        private static func flag(_ name: String, _ value: String?) throws(APIError) -> Bool {
            switch value {
            case nil, "", "true", "1": return true
            case "false", "0": return false
            default: throw APIError(.invalidArgument, "\(name) is true or false, not \"\(value ?? "")\"")
            }
        }

        private static func number(_ name: String, _ value: String?) throws(APIError) -> Int64 {
            guard let value, let number = Int64(value), number >= 0 else {
                throw APIError(.invalidArgument, "\(name) is a whole number, not \"\(value ?? "")\"")
            }
            return number
        }
    }

    // MARK: - Reading

    private func read(_ request: RangeRequest) async throws(APIError) -> RangeResult {
        try await desk.carryOut(KV.Range(request: request)).body
    }

    private func get(_ key: [UInt8], _ options: Options, _ request: HTTPRequest) async throws(APIError) -> HTTPResponse
    {
        try expectKey(key)
        var range = RangeRequest(range: KeyRange(start: key, end: .single))
        range.revision = options.revision
        range.serializable = options.serializable
        let result = try await read(range)
        guard let pair = result.pairs.first else { return notFound(key, revision: result.revision) }
        var headers = Self.headers(of: pair)
        headers.add(name: "weft-store-revision", value: String(result.revision))
        if let tags = request.headers.first(name: "if-none-match"), ETags(tags).match(pair.modRevision) {
            return HTTPResponse(status: .notModified, headers: headers)
        }
        if let tags = request.headers.first(name: "if-match"), !ETags(tags).match(pair.modRevision) {
            return failed(pair)
        }
        headers.add(name: "content-type", value: Self.contentType(of: pair.value))
        return HTTPResponse(status: .ok, headers: headers, body: pair.value)
    }

    private func watch(_ key: [UInt8], _ options: Options, _ request: HTTPRequest) async throws(APIError)
        -> HTTPResponse
    {
        guard !options.keysOnly, !options.serializable, options.limit == 0, options.after == nil else {
            throw APIError(.invalidArgument, "with watch go prefix and revision, no other field")
        }
        if !options.isPrefix { try expectKey(key) }
        let range = options.isPrefix ? KeyRange(prefix: key) : KeyRange(start: key, end: .single)
        return try await PlainWatch(desk: desk).respond(to: request, range, revision: options.revision)
    }

    private func expectKey(_ key: [UInt8]) throws(APIError) {
        if key.isEmpty { throw APIError(.invalidArgument, "a key is missing after /v1/kv/; ?prefix lists") }
    }

    private func notFound(_ key: [UInt8], revision: Int64) -> HTTPResponse {
        var response = HTTPResponse.error(
            .notFound, code: 5, "there is no key \"\(String(decoding: key, as: UTF8.self))\"")
        response.headers.add(name: "weft-store-revision", value: String(revision))
        return response
    }

    private static func headers(of pair: KeyValue) -> HTTPHeaders {
        [
            "etag": "\"\(pair.modRevision)\"", "weft-revision": String(pair.modRevision),
            "weft-create-revision": String(pair.createRevision), "weft-version": String(pair.version),
        ]
    }

    /// What a put takes beside its key and value; a little more than that.
    private static let commandBytes = 64

    /// A larger value is called JSON by its first and last byte: it is served, not parsed.
    private static let jsonBytesMax = 16 << 10

    private static func contentType(of value: [UInt8]) -> String {
        if let first = value.first(where: { $0 > 0x20 }), let last = value.last(where: { $0 > 0x20 }),
            [first, last] == Array("{}".utf8) || [first, last] == Array("[]".utf8),
            value.count > jsonBytesMax || (try? JSONParser.parse(value)) != nil
        {
            return "application/json"
        }
        return String(validating: value, as: UTF8.self) == nil
            ? "application/octet-stream" : "text/plain; charset=utf-8"
    }

    private func list(_ prefix: [UInt8], _ options: Options) async throws(APIError) -> HTTPResponse {
        var range = RangeRequest(range: KeyRange(prefix: prefix))
        if let after = options.after, !precedes(after, prefix) { range.range.start = after + [0] }
        range.limit = options.limit
        range.revision = options.revision
        range.keysOnly = options.keysOnly
        range.serializable = options.serializable
        let result = try await read(range)
        let withValue = !options.keysOnly
        var json = JSONWriter()
        json.object { json in
            json.name("revision")
            json.number(result.revision)
            json.name("count")
            json.number(result.count)
            json.name("more")
            json.bool(result.more)
            json.name("items")
            json.array(StreamedJSON.isWorthwhile(result.pairs) ? [] : result.pairs) {
                $0.item($1, withValue: withValue)
            }
        }
        guard StreamedJSON.isWorthwhile(result.pairs) else {
            return .json(.ok, json, ["weft-store-revision": String(result.revision)])
        }
        // The array is empty so far, and the last there is.
        let end = Array("]}".utf8)
        var response = StreamedJSON.response(
            result.pairs, result.hold, head: json.bytes.dropLast(end.count), tail: end
        ) { json, pair in
            json.item(pair, withValue: withValue)
        }
        response.headers.add(name: "weft-store-revision", value: String(result.revision))
        return response
    }

    // MARK: - Writing

    private func put(_ key: [UInt8], _ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        try expectKey(key)
        guard key.count + request.body.count + Self.commandBytes <= desk.requestBytesMax else {
            return .error(.payloadTooLarge, code: 8, "a value of over \(desk.requestBytesMax) bytes")
        }
        var put = PutRequest(key: key, value: request.body)
        put.wantsPrevious = true
        let outcome = try await change(key, .put(put), request)
        guard case .put(let previous) = outcome.response else { return failed(outcome.current) }
        let pair = KeyValue(
            key: key, createRevision: previous?.createRevision ?? outcome.revision, modRevision: outcome.revision,
            version: (previous?.version ?? 0) + 1)
        var json = JSONWriter()
        json.object { json in
            json.name("revision")
            json.number(pair.modRevision)
            json.name("version")
            json.number(pair.version)
        }
        return .json(previous == nil ? .created : .ok, json, Self.headers(of: pair))
    }

    private func delete(_ key: [UInt8], _ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        try expectKey(key)
        let range = KeyRange(start: key, end: .single)
        let outcome = try await change(key, .deleteRange(DeleteRangeRequest(range: range)), request)
        guard case .deleteRange(let deleted, _) = outcome.response else { return failed(outcome.current) }
        return deleted == 0 ? notFound(key, revision: outcome.revision) : deletion(deleted, revision: outcome.revision)
    }

    private func deletePrefix(_ prefix: [UInt8], _ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        guard !request.headers.contains(name: "if-match"), !request.headers.contains(name: "if-none-match") else {
            throw APIError(.invalidArgument, "conditions are about one key; they do not go with ?prefix")
        }
        let request = DeleteRangeRequest(range: KeyRange(prefix: prefix))
        let answer = try await desk.carryOut(KV.DeleteRange(request: request))
        return deletion(answer.body.count, revision: answer.header.revision)
    }

    private func deletion(_ deleted: Int64, revision: Int64) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.name("deleted")
            json.number(deleted)
            json.name("revision")
            json.number(revision)
        }
        return .json(.ok, json)
    }

    private struct ChangeOutcome {
        var revision: Int64
        /// What the change did; the pair as it is when the condition did not hold.
        var response: TxnResult.Response
        var current: KeyValue?
    }

    /// Runs one operation under the request's If-Match and If-None-Match (RFC 9110, section 13.1).
    private func change(
        _ key: [UInt8], _ operation: TxnRequest.Operation, _ request: HTTPRequest
    ) async throws(APIError) -> ChangeOutcome {
        var current = RangeRequest(range: KeyRange(start: key, end: .single))
        current.keysOnly = true
        let compares = try conditions(key, request)
        let txn = TxnRequest(compares: compares, success: [operation], failure: [.range(current)])
        let answer = try await desk.carryOut(KV.Txn(request: txn))
        guard let response = answer.body.responses.first else {
            throw APIError(.internal, "weft: a txn without an answer")
        }
        var outcome = ChangeOutcome(revision: answer.header.revision, response: response)
        if case .range(let range) = response { outcome.current = range.pairs.first }
        return outcome
    }

    private func conditions(_ key: [UInt8], _ request: HTTPRequest) throws(APIError) -> [Compare] {
        let range = KeyRange(start: key, end: .single)
        var compares: [Compare] = []
        if let text = request.headers.first(name: "if-match") {
            let tags = ETags(text)
            guard tags.isAny || tags.revisions.count == 1 else {
                throw APIError(.invalidArgument, "If-Match takes * or one ETag as weft gave it, such as \"42\"")
            }
            compares.append(
                tags.isAny
                    ? Compare(range: range, relation: .greater, operand: .version(0))
                    : Compare(range: range, relation: .equal, operand: .mod(tags.revisions[0])))
        }
        if let text = request.headers.first(name: "if-none-match") {
            let tags = ETags(text)
            guard tags.isAny || !tags.revisions.isEmpty else {
                throw APIError(.invalidArgument, "If-None-Match takes * or ETags as weft gave them, such as \"42\"")
            }
            if tags.isAny {
                compares.append(Compare(range: range, relation: .equal, operand: .version(0)))
            }
            for revision in tags.revisions {
                compares.append(Compare(range: range, relation: .notEqual, operand: .mod(revision)))
            }
        }
        return compares
    }

    private func failed(_ current: KeyValue?) -> HTTPResponse {
        let state = current.map { "the key is at revision \($0.modRevision)" } ?? "there is no such key"
        var response = HTTPResponse.error(.preconditionFailed, code: 9, "the condition does not hold: \(state)")
        if let current {
            for (name, value) in Self.headers(of: current) { response.headers.add(name: name, value: value) }
        }
        return response
    }
}

/// The value of If-Match or If-None-Match.
struct ETags {
    var isAny = false
    var revisions: [Int64] = []

    init(_ text: String) {
        for part in text.split(separator: ",") {
            var tag = part.drop { $0 == " " }
            while tag.last == " " { tag.removeLast() }
            if tag == "*" { isAny = true }
            if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
            if tag.count > 2, tag.first == "\"", tag.last == "\"", let revision = Int64(tag.dropFirst().dropLast()) {
                revisions.append(revision)
            }
        }
    }

    func match(_ revision: Int64) -> Bool { isAny || revisions.contains(revision) }
}

extension JSONWriter {
    /// One key of a list: as text where it is UTF-8, else in base64.
    fileprivate mutating func item(_ pair: KeyValue, withValue: Bool) {
        object { $0.pairFields(pair, withValue: withValue) }
    }

    mutating func pairFields(_ pair: KeyValue, withValue: Bool) {
        text("key", "keyBase64", pair.key)
        if withValue { text("value", "valueBase64", pair.value) }
        name("revision")
        number(pair.modRevision)
        name("createRevision")
        number(pair.createRevision)
        name("version")
        number(pair.version)
    }

    private mutating func text(_ name: StaticString, _ base64Name: StaticString, _ bytes: [UInt8]) {
        if let text = String(validating: bytes, as: UTF8.self) {
            self.name(name)
            string(text)
        } else {
            self.name(base64Name)
            base64(bytes)
        }
    }
}
