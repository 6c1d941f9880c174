internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// What weft knows of members beyond etcd's API: `/v1/members`. Ids are hexadecimal.
struct Members: Sendable {
    let desk: Desk

    static let path: Substring = "/v1/members"

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let parts = request.path.dropFirst(Self.path.count).split(separator: "/")
        switch (request.method, parts.count) {
        case (.GET, 0): return try await list()
        case (.POST, 0): return try await add(GatewayObject(body: request.body))
        case (.PATCH, 1): return try await adjust(try id(parts[0]), GatewayObject(body: request.body))
        case (.POST, 2) where parts[1] == "replace":
            return try await replace(try id(parts[0]), GatewayObject(body: request.body))
        default: throw .nothing(at: request.path)
        }
    }

    private func id(_ text: some StringProtocol) throws(APIError) -> NodeID {
        guard let id = NodeID(text, radix: 16) else {
            throw APIError(.invalidArgument, "\"\(text)\" is no member id: ids are hexadecimal")
        }
        return id
    }

    private func list() async throws(APIError) -> HTTPResponse {
        Self.answer(try await desk.carryOut(Cluster.List(linearizable: true)).body)
    }

    private static func answer(_ members: [Membership.Entry], new: Membership.Entry? = nil) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            if let new {
                json.name("member")
                json.member(new)
            }
            json.field("members", members) { $0.member($1) }
        }
        return .json(.ok, json)
    }

    /// `{"peerURLs":["http://…"],"role":"voter"|"learner"|"witness","replaces":"ID"}`. Everybody begins without a vote.
    private func add(_ request: GatewayObject) async throws(APIError) -> HTTPResponse {
        let peerURLs = try request.strings("peerURLs")
        guard !peerURLs.isEmpty, peerURLs.allSatisfy(isPeerURL) else {
            throw APIError(.invalidArgument, "peerURLs must be URLs of the form http://HOST:PORT")
        }
        let role: Member.Role
        switch try request.text("role") {
        case nil, "voter": role = .joining
        case "learner": role = .learner
        case "witness": role = .joiningWitness
        case let other?: throw APIError(.invalidArgument, "\"\(other)\" is none of voter, learner, witness")
        }
        var replaces: NodeID?
        if let text = try request.text("replaces") { replaces = try id(text) }
        let add = Cluster.Add(
            peerURLs: peerURLs, role: role, replaces: replaces, domain: try domain(request) ?? "")
        let added = try await desk.carryOut(add).body
        return Self.answer(added.members, new: added.member)
    }

    /// `{"by":"ID"}`: the vote goes from one member to the other, in one step.
    private func replace(_ old: NodeID, _ request: GatewayObject) async throws(APIError) -> HTTPResponse {
        guard let text = try request.text("by") else {
            throw APIError(.invalidArgument, "\"by\" is missing: the id of the member that takes the place")
        }
        return try await change(.replace(old, by: try id(text)))
    }

    /// `{"priority":0…255}`, `{"domain":"east"}`, or both.
    private func adjust(_ id: NodeID, _ request: GatewayObject) async throws(APIError) -> HTTPResponse {
        var changes: [ConfigurationChange] = []
        if let domain = try domain(request) { changes.append(.locate(id, domain: domain)) }
        let hasPriority = try request.has("priority")
        if changes.isEmpty || hasPriority {
            guard let priority = UInt8(exactly: try request.integer("priority")) else {
                throw APIError(.invalidArgument, "a priority is a number from 0 to 255")
            }
            changes.append(.prioritize(id, priority))
        }
        return try await change(changes.count == 1 ? changes[0] : .several(changes))
    }

    private func domain(_ request: GatewayObject) throws(APIError) -> String? {
        guard let domain = try request.text("domain") else { return nil }
        guard domain.isEmpty || Domain.canBeNamed(domain) else {
            throw APIError(.invalidArgument, "\"\(domain)\" is no name for a domain")
        }
        return domain
    }

    private func change(_ change: ConfigurationChange) async throws(APIError) -> HTTPResponse {
        Self.answer(try await desk.carryOut(Cluster.Change(change)).body)
    }
}

extension JSONWriter {
    fileprivate mutating func member(_ entry: Membership.Entry) {
        object { json in
            json.field("id", String(entry.member.id, radix: 16))
            json.field("name", entry.attributes.name)
            json.field("role", "\(entry.member.role)")
            json.field("domain", entry.member.domain)
            json.field("priority", Int64(entry.member.priority))
            if let replaces = entry.member.replaces { json.field("replaces", String(replaces, radix: 16)) }
            json.field("peerURLs", entry.member.peerURLs) { $0.string($1) }
            json.field("clientURLs", entry.attributes.clientURLs) { $0.string($1) }
        }
    }
}
