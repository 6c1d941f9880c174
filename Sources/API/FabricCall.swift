internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// Why the fabric did not do what it was asked to.
enum FabricFailure: Error {
    case refused(FabricRefusal)
    case other(APIError)
}

/// One request to the fabric's API, and what all of them share.
struct FabricCall: Sendable {
    let member: RunningMember
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
        let serializable = try flag("serializable")
        return try await member.kv { member throws(ServerError) in try await member.fabric(serializable: serializable) }
    }

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

    func list<Item>(
        _ fabric: FabricState, _ items: [Item], next: Int64? = nil, _ item: (inout JSONWriter, Item) -> Void
    ) -> HTTPResponse {
        answer(nil) { json in
            json.object { json in
                json.name("revision")
                json.number(fabric.revision)
                if let next {
                    json.name("next")
                    json.number(next)
                }
                json.name("items")
                json.array(items, item)
            }
        }
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
        return try await FabricWatch(member: member, kind: kind, name: name).respond(after: start)
    }

    // MARK: - Changing

    /// What If-Match and If-None-Match expect of the record: a revision, or 0 for none.
    func expected() throws(FabricFailure) -> Int64? {
        if let text = request.headers.first(name: "if-none-match") {
            guard ETags(text).isAny else {
                throw .other(APIError(.invalidArgument, "If-None-Match takes * when something is changed"))
            }
            return 0
        }
        guard let text = request.headers.first(name: "if-match") else { return nil }
        let tags = ETags(text)
        guard tags.revisions.count == 1, !tags.isAny else {
            throw .other(APIError(.invalidArgument, "If-Match takes one ETag as weft gave it, such as \"42\""))
        }
        return tags.revisions[0]
    }

    func ask<T: Sendable>(
        _ body: (RunningMember) async throws(ServerError) -> T
    ) async throws(FabricFailure) -> T {
        do throws(ServerError) {
            return try await body(member)
        } catch .refused(.fabric(let refusal)) {
            throw .refused(refusal)
        } catch {
            throw .other(APIError(error))
        }
    }

    func responding(_ body: () async throws(FabricFailure) -> HTTPResponse) async -> HTTPResponse {
        do throws(FabricFailure) {
            return try await body()
        } catch .refused(let refusal) {
            return Self.refusal(refusal)
        } catch {
            guard case .other(let error) = error else { preconditionFailure("a refusal was not caught") }
            return .error(error)
        }
    }

    func change(_ action: FabricCommand.Action, by: String? = nil, reason: String? = nil) async -> HTTPResponse {
        await responding { () async throws(FabricFailure) in
            let expected = try expected()
            let (answer, fabric) = try await ask { member throws(ServerError) in
                try await member.change(action, by: by ?? user, reason: reason ?? "", expected: expected)
            }
            return response(to: answer, fabric)
        }
    }

    func setDomain(
        _ name: String, isActive: Bool, force: Bool = false, by: String? = nil, reason: String? = nil
    ) async -> HTTPResponse {
        await responding { () async throws(FabricFailure) in
            let expected = try expected()
            let (answer, fabric) = try await ask { member throws(ServerError) in
                try await member.setDomain(
                    name, isActive: isActive, force: force, by: by ?? user, reason: reason ?? "", expected: expected)
            }
            return response(to: answer, fabric)
        }
    }

    /// What a change left behind.
    func response(to change: FabricAnswer, _ fabric: FabricState) -> HTTPResponse {
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
        case .removed, .changed:
            return answer(nil) { json in
                json.object { json in
                    json.name("revision")
                    json.number(fabric.revision)
                }
            }
        }
    }

    private static func refusal(_ refusal: FabricRefusal) -> HTTPResponse {
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
