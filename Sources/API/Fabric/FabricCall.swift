internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// One request to the fabric's API, and what all of them share.
struct FabricCall: Sendable {
    let desk: Desk
    let request: HTTPRequest
    /// What follows the resource's name, decoded.
    let path: [String]

    /// In whose name something is changed.
    var user: String { request.headers.first(name: "weft-user") ?? "" }

    static func missing(_ kind: RecordKind, _ name: String) -> APIError {
        APIError(.notFound, "there is no \(kind.name) \"\(name)\"")
    }

    // MARK: - The query

    func query(_ name: String) throws(APIError) -> String? {
        guard let field = request.queryFields.last(where: { $0.name == name }) else { return nil }
        return String(decoding: field.value ?? [], as: UTF8.self)
    }

    func number(_ name: String) throws(APIError) -> Int64? {
        guard let text = try query(name) else { return nil }
        guard let number = Int64(text), number >= 0 else {
            throw APIError(.invalidArgument, "\(name) is a whole number, not \"\(text)\"")
        }
        return number
    }

    private func flag(_ name: String) throws(APIError) -> Bool {
        switch try query(name) {
        case nil, "false", "0": false
        case "", "true", "1": true
        case let other?: throw APIError(.invalidArgument, "\(name) is true or false, not \"\(other)\"")
        }
    }

    // MARK: - Reading

    func fabric() async throws(APIError) -> FabricState {
        try await desk.carryOut(Records.Read(serializable: try isSerializable()))
    }

    func isSerializable() throws(APIError) -> Bool { try flag("serializable") }

    /// A record, or nothing when the client has it as it is.
    func answer(
        _ mark: RecordMark?, _ status: HTTPResponseStatus = .ok, _ body: (inout JSONWriter) -> Void
    ) -> HTTPResponse {
        var headers = HTTPHeaders()
        if let mark {
            // For If-Match. What is shown follows from other records, too, so that a GET is never "not modified".
            headers.add(name: "etag", value: "\"\(mark.modRevision)\"")
        }
        var json = JSONWriter()
        body(&json)
        return .json(status, json, headers)
    }

    /// Longer lists are made and sent piece by piece.
    private static let itemsAtOnce = 100

    func list<Item: Sendable>(
        _ fabric: FabricState, _ items: [Item], next: Int64? = nil,
        _ item: @escaping @Sendable (inout JSONWriter, Item) -> Void
    ) -> HTTPResponse {
        let isLong = items.count > Self.itemsAtOnce
        var json = JSONWriter()
        json.object { json in
            json.name("revision")
            json.number(fabric.revision)
            if let next {
                json.name("next")
                json.number(next)
            }
            json.name("items")
            json.array(isLong ? [] : items, item)
        }
        guard isLong else { return .json(.ok, json) }
        let end = Array("]}".utf8)
        return StreamedJSON.response(items, head: json.bytes.dropLast(end.count), tail: end, item: item)
    }

    /// The answer to `?watch`; nil when it is not asked for.
    func watch(_ kind: RecordKind, name: String? = nil) async throws(APIError) -> HTTPResponse? {
        guard try flag("watch") else { return nil }
        var start = try number("revision")
        if let text = request.headers.first(name: "last-event-id") {
            guard let last = Int64(text), last >= 0 else {
                throw APIError(.invalidArgument, "Last-Event-ID is a revision, not \"\(text)\"")
            }
            start = last
        }
        return try await FabricWatch(desk: desk, kind: kind, name: name).respond(after: start)
    }

    // MARK: - Changing

    /// In whose name it is, and what If-Match and If-None-Match expect of the record.
    func terms(by: String? = nil, reason: String? = nil) throws(APIError) -> Records.Terms {
        Records.Terms(by: by ?? user, reason: reason ?? "", expected: try expected())
    }

    private func expected() throws(APIError) -> Int64? {
        if let text = request.headers.first(name: "if-none-match") {
            guard ETags(text).isAny else {
                throw APIError(.invalidArgument, "If-None-Match takes * when something is changed")
            }
            return 0
        }
        guard let text = request.headers.first(name: "if-match") else { return nil }
        let tags = ETags(text)
        guard tags.revisions.count == 1, !tags.isAny else {
            throw APIError(.invalidArgument, "If-Match takes one ETag as weft gave it, such as \"42\"")
        }
        return tags.revisions[0]
    }

    func change(_ action: FabricCommand.Action) async throws(APIError) -> HTTPResponse {
        response(to: try await desk.carryOut(Records.Change(action: action, terms: try terms())))
    }

    func setDomain(
        _ name: String, isActive: Bool, force: Bool = false, by: String? = nil, reason: String? = nil
    ) async throws(APIError) -> HTTPResponse {
        let terms = try terms(by: by, reason: reason)
        return response(
            to: try await desk.carryOut(
                Records.SetDomain(name: name, isActive: isActive, force: force, terms: terms)))
    }

    func response(to outcome: Records.Outcome) -> HTTPResponse {
        switch outcome {
        case .success(let changed): response(to: changed.answer, changed.fabric)
        case .failure(let refusal): Self.refusal(refusal)
        }
    }

    /// What a change left behind.
    private func response(to change: FabricAnswer, _ fabric: FabricState) -> HTTPResponse {
        let status: HTTPResponseStatus = change.isNew ? .created : .ok
        switch change.result {
        case .domain(let domain):
            return answer(domain.mark, status) { $0.domain(domain, fabric.summaries()[domain.name, default: .init()]) }
        case .node(let node): return answer(node.mark, status) { $0.node(node, fabric) }
        case .volume(let volume):
            var response = answer(volume.mark, status) { $0.volume(volume, fabric) }
            if change.isNew {
                response.headers.add(name: "location", value: "\(FabricAPI.prefix)/volumes/\(volume.idText)")
            }
            return response
        case .policy(let policy): return answer(policy.mark, status) { $0.policy(policy) }
        case .pair(let pair): return answer(pair.mark, status) { $0.pair(pair) }
        case .application(let application):
            return answer(application.mark, status) { $0.application(application) }
        case .removed, .changed:
            return answer(nil) { json in
                json.object { json in
                    json.name("revision")
                    json.number(fabric.revision)
                }
            }
        }
    }

    static func refusal(_ refusal: FabricRefusal) -> HTTPResponse {
        switch refusal {
        case .invalid(let reason): return .error(APIError(.invalidArgument, reason))
        case .notFound(let kind, let name): return .error(missing(kind, name))
        case .conflict(let reason): return .error(.conflict, code: 9, reason)
        case .noSpace(let reason): return .error(.insufficientStorage, code: 8, reason)
        case .changed(let kind, let name, let revision):
            let state = revision == 0 ? "there is none" : "it is at revision \(revision)"
            var response = HTTPResponse.error(
                .preconditionFailed, code: 9, "the condition does not hold for \(kind.name) \"\(name)\": \(state)")
            if revision > 0 { response.headers.add(name: "etag", value: "\"\(revision)\"") }
            return response
        }
    }
}
