internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// etcd's v3 API as JSON: POST /v3/SERVICE/METHOD.
struct Gateway: Sendable {
    let member: RunningMember

    /// RPCs of etcd that weft does not have yet.
    private static let later: Set<Substring> = ["/v3/maintenance/downgrade", "/v3/maintenance/snapshot"]

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        do throws(APIError) {
            guard request.method == .POST else { throw APIError(.unimplemented, "Method Not Allowed") }
            let requiresLeader = request.headers.first(name: "grpc-metadata-hasleader") == "true"
            if let response = try stream(request.path, request.body, requiresLeader: requiresLeader) { return response }
            if requiresLeader, member.status.leader == nil { throw APIError(ServerError.noLeader) }
            if request.path == "/v3/kv/range" {
                return try await rangeResponse(GatewayObject(body: request.body).rangeRequest())
            }
            guard request.path.hasPrefix("/v3/lock/") || request.path.hasPrefix("/v3/election/") else {
                return .json(.ok, try await answer(request.path, request.body))
            }
            return .json(
                .ok,
                try await APIError.unknown { () async throws(APIError) in try await answer(request.path, request.body) }
            )
        } catch {
            return .error(error)
        }
    }

    private func answer(_ path: Substring, _ body: [UInt8]) async throws(APIError) -> JSONWriter {
        switch path {
        case "/v3/kv/put": return try await put(GatewayObject(body: body).putRequest())
        case "/v3/kv/deleterange": return try await deleteRange(GatewayObject(body: body).deleteRangeRequest())
        case "/v3/kv/txn": return try await txn(GatewayObject(body: body).txnRequest())
        case "/v3/kv/compaction": return try await compact(GatewayObject(body: body))
        case "/v3/cluster/member/list": return try await memberList(GatewayObject(body: body))
        case "/v3/cluster/member/add": return try await memberAdd(GatewayObject(body: body))
        case "/v3/cluster/member/remove":
            return try await memberChange(.remove(GatewayObject(body: body).unsigned("ID")))
        case "/v3/cluster/member/promote":
            return try await memberChange(.promote(GatewayObject(body: body).unsigned("ID")))
        case "/v3/cluster/member/update": return try await memberUpdate(GatewayObject(body: body))
        case "/v3/maintenance/status": return try await status()
        case "/v3/maintenance/transfer-leadership": return try await transfer(GatewayObject(body: body))
        default:
            if let answer = try await answerMore(path, body) { return answer }
            if Self.later.contains(path) {
                throw APIError(.unimplemented, "weft: \(path) is not implemented yet")
            }
            throw APIError(.notFound, "Not Found")
        }
    }

    /// The header of an answer that reads or changes no keys.
    func header(revision: Int64? = nil, term: Term? = nil) -> ResponseHeader {
        ResponseHeader(
            clusterID: member.clusterID, memberID: member.id, revision: revision ?? member.revision,
            term: term ?? member.status.term)
    }

    func answer(_ header: ResponseHeader, _ fields: (inout JSONWriter) -> Void) -> JSONWriter {
        var json = JSONWriter()
        json.object { json in
            json.header(header)
            fields(&json)
        }
        return json
    }

    // MARK: - KV

    private func rangeResponse(_ request: RangeRequest) async throws(APIError) -> HTTPResponse {
        let (result, term) = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            return try await member.range(request)
        }
        guard StreamedJSON.isWorthwhile(result.pairs) else { return .json(.ok, answer(to: result, term: term)) }
        let start = answer(header(revision: result.revision, term: term)) { json in
            json.name("kvs")
            json.array([KeyValue]()) { $0.pair($1) }
        }
        var end = JSONWriter()
        end.object { json in
            json.field("more", result.more)
            json.field("count", result.count)
        }
        // The array without its end and the object's; then what follows it without its beginning.
        return StreamedJSON.response(
            result, head: start.bytes.dropLast(2), tail: Array("],".utf8) + end.bytes.dropFirst()
        ) { $0.pair($1) }
    }

    func answer(to result: RangeResult, term: Term) -> JSONWriter {
        answer(header(revision: result.revision, term: term)) { $0.rangeFields(result) }
    }

    private func put(_ request: PutRequest) async throws(APIError) -> JSONWriter {
        let applied = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            member.metrics.puts.add()
            return try await member.propose(.put(request))
        }
        return answer(to: applied)
    }

    /// What a put did.
    func answer(to applied: Applied) -> JSONWriter {
        answer(header(revision: applied.revision, term: applied.term)) { json in
            if case .put(let previous) = applied.result { json.putFields(previous) }
        }
    }

    private func deleteRange(_ request: DeleteRangeRequest) async throws(APIError) -> JSONWriter {
        let applied = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            member.metrics.deletes.add()
            return try await member.propose(.deleteRange(request))
        }
        return answer(header(revision: applied.revision, term: applied.term)) { json in
            if case .deleteRange(let deleted, let previous) = applied.result { json.deleteFields(deleted, previous) }
        }
    }

    private func txn(_ request: TxnRequest) async throws(APIError) -> JSONWriter {
        let applied = try await member.kv { member throws(ServerError) in try await member.txn(request) }
        return answer(header(revision: applied.revision, term: applied.term)) { json in
            if case .txn(let result) = applied.result { json.txnFields(result, revision: applied.revision) }
        }
    }

    private func compact(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let revision = try request.integer("revision")
        let applied = try await member.kv { member throws(ServerError) in
            try await member.propose(.compact(revision: revision))
        }
        return answer(header(revision: applied.revision, term: applied.term)) { _ in }
    }

    // MARK: - Cluster

    private func memberList(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        // Old clients do not know the field and get a linearizable list, as with etcd.
        if try request.bool("linearizable") {
            try await member.kv { member throws(ServerError) in try await member.confirmCurrent() }
        }
        return memberAnswer(nil)
    }

    /// A header, perhaps one member, then all members.
    private func memberAnswer(_ one: Membership.Entry?) -> JSONWriter {
        answer(header()) { json in
            if let one {
                json.name("member")
                json.member(one)
            }
            json.field("members", member.membership.entries) { $0.member($1) }
        }
    }

    private func memberAdd(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let peerURLs = try request.strings("peerURLs")
        let isLearner = try request.bool("isLearner")
        return memberAnswer(try await member.addMember(peerURLs, isLearner: isLearner))
    }

    private func memberChange(_ change: ConfigurationChange) async throws(APIError) -> JSONWriter {
        _ = try await member.kv { member throws(ServerError) in try await member.change(change) }
        return memberAnswer(nil)
    }

    private func memberUpdate(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let peerURLs = try request.strings("peerURLs")
        try checkPeerURLs(peerURLs)
        return try await memberChange(.update(try request.unsigned("ID"), peerURLs: peerURLs))
    }

    // MARK: - Maintenance

    private func status() async throws(APIError) -> JSONWriter {
        let sizes = member.databaseSizes
        let status = member.status
        return answer(header()) { json in
            json.field("version", Version.etcd)
            json.field("dbSize", sizes.total)
            json.field("leader", status.leader ?? 0)
            json.field("raftIndex", status.commit)
            json.field("raftTerm", status.term)
            json.field("raftAppliedIndex", member.appliedIndex)
            json.field("errors", member.statusErrors) { $0.string($1) }
            json.field("dbSizeInUse", sizes.inUse)
            json.field("dbSizeQuota", member.quotaBytes)
            json.field("isLearner", !status.configuration.isVoter(member.id))
            json.field("storageVersion", Version.etcdCluster)
        }
    }

    private func transfer(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let target = try request.unsigned("targetID")
        try await member.kv { member throws(ServerError) in try await member.transferLead(to: target) }
        return answer(header()) { _ in }
    }
}

extension JSONWriter {
    fileprivate mutating func member(_ entry: Membership.Entry) {
        object { json in
            json.field("ID", entry.member.id)
            json.field("name", entry.attributes.name)
            json.field("peerURLs", entry.member.peerURLs) { $0.string($1) }
            json.field("clientURLs", entry.attributes.clientURLs) { $0.string($1) }
            json.field("isLearner", !entry.member.isVoting)
        }
    }
}

extension RunningMember {
    /// Runs `body` with this member, and turns its errors into the API's.
    func kv<T: Sendable>(
        _ body: (RunningMember) async throws(ServerError) -> T
    ) async throws(APIError) -> T {
        do throws(ServerError) { return try await body(self) } catch { throw APIError(error) }
    }

    func check(_ body: (RequestLimits) throws(MVCCError) -> Void) throws(ServerError) {
        do throws(MVCCError) { try body(limits) } catch { throw .refused(error) }
    }

    /// A txn: proposed, or, when it cannot write, read.
    func txn(_ request: TxnRequest) async throws(ServerError) -> Applied {
        try check { limits throws(MVCCError) in try limits.check(request) }
        metrics.txns.add()
        if request.isReadOnly { return try await readTxn(request).1 }
        return try await propose(.txn(request))
    }
}

/// What this build answers for.
package enum Version {
    package static let weft = "0.2.0-dev"
    /// The etcd whose API this is.
    package static let etcd = "3.6.14"
    package static let etcdCluster = "3.6.0"
}

extension HTTPResponse {
    static func json(_ status: HTTPResponseStatus, _ json: JSONWriter, _ headers: HTTPHeaders = [:]) -> HTTPResponse {
        var headers = headers
        headers.add(name: "content-type", value: "application/json")
        return HTTPResponse(status: status, headers: headers, body: json.bytes)
    }

    static func error(_ error: APIError) -> HTTPResponse {
        .error(error.status, code: error.code.rawValue, error.message)
    }

    /// An error with etcd's three fields; curl users get a line end.
    static func error(_ status: HTTPResponseStatus, code: Int, _ message: String) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.name("error")
            json.string(message)
            json.name("code")
            json.number(code)
            json.name("message")
            json.string(message)
        }
        var response = HTTPResponse.json(status, json)
        response.body.append(UInt8(ascii: "\n"))
        return response
    }
}
