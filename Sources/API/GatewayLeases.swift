internal import JSON
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// Leases, locks and elections in the gateway's JSON.
extension Gateway {
    /// The answer to one of these services' requests; nil when `path` is none of them.
    func answerMore(_ path: Substring, _ body: [UInt8]) async throws(APIError) -> JSONWriter? {
        switch path {
        case "/v3/lease/grant": return try await grant(GatewayObject(body: body))
        case "/v3/lease/revoke", "/v3/kv/lease/revoke": return try await revoke(GatewayObject(body: body))
        case "/v3/lease/timetolive", "/v3/kv/lease/timetolive":
            return try await timeToLive(GatewayObject(body: body))
        case "/v3/lease/leases", "/v3/kv/lease/leases": return try await leases()
        case "/v3/lock/lock": return try await lock(GatewayObject(body: body))
        case "/v3/lock/unlock": return try await unlock(GatewayObject(body: body))
        case "/v3/election/campaign": return try await campaign(GatewayObject(body: body))
        case "/v3/election/proclaim": return try await proclaim(GatewayObject(body: body))
        case "/v3/election/leader": return try await leader(GatewayObject(body: body))
        case "/v3/election/resign": return try await resign(GatewayObject(body: body))
        default: return try await answerMaintenance(path, body)
        }
    }

    private func header(_ applied: Applied) -> ResponseHeader { header(revision: applied.revision, term: applied.term) }

    // MARK: - Leases

    private func grant(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let (id, ttl) = (try request.integer("ID"), try request.integer("TTL"))
        let (lease, applied) = try await member.kv { member throws(ServerError) in
            try await member.grantLease(id: id, ttl: ttl)
        }
        return answer(header(applied)) { json in
            json.field("ID", lease.id)
            json.field("TTL", lease.ttl)
        }
    }

    private func revoke(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let id = try request.integer("ID")
        return answer(
            header(try await member.kv { member throws(ServerError) in try await member.revokeLease(id) })
        ) { _ in }
    }

    func keepAlive(_ id: Int64) async throws(APIError) -> JSONWriter {
        let renewed = try await member.kv { member throws(ServerError) in try await member.renewLease(id) }
        return answer(header()) { json in
            json.field("ID", id)
            json.field("TTL", renewed?.0.ttl ?? 0)
        }
    }

    private func timeToLive(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let (id, withKeys) = (try request.integer("ID"), try request.bool("keys"))
        let time = try await member.kv { member throws(ServerError) in
            try await member.leaseTime(id, withKeys: withKeys)
        }
        return answer(header()) { json in
            json.field("ID", id)
            json.field("TTL", time?.left ?? -1)
            json.field("grantedTTL", time?.granted ?? 0)
            json.field("keys", time?.keys ?? []) { $0.base64($1) }
        }
    }

    private func leases() async throws(APIError) -> JSONWriter {
        let ids = try await member.kv { member throws(ServerError) in try await member.leaseIDs() }
        return answer(header()) { json in
            json.field("leases", ids) { json, id in json.object { $0.field("ID", id) } }
        }
    }

    // MARK: - Locks and elections

    private var concurrency: Concurrency { Concurrency(member: member) }

    private func lock(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let (claim, applied) = try await concurrency.claim(
            try request.bytes("name"), lease: try request.integer("lease"), value: [])
        return answer(header(applied)) { $0.field("key", claim.key) }
    }

    private func unlock(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        answer(header(try await concurrency.unlock(try request.bytes("key")))) { _ in }
    }

    private func campaign(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let name = try request.bytes("name")
        let (claim, applied) = try await concurrency.claim(
            name, lease: try request.integer("lease"), value: try request.bytes("value"))
        return answer(header(applied)) { json in
            json.name("leader")
            json.object { json in
                json.field("name", name)
                json.field("key", claim.key)
                json.field("rev", claim.revision)
                json.field("lease", claim.lease)
            }
        }
    }

    private func claim(_ request: GatewayObject) throws(APIError) -> Concurrency.Claim {
        guard let leader = try request.object("leader") else {
            throw APIError(.invalidArgument, "\"leader\" field must be provided")
        }
        return Concurrency.Claim(
            key: try leader.bytes("key"), revision: try leader.integer("rev"), lease: try leader.integer("lease"))
    }

    private func proclaim(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let applied = try await concurrency.proclaim(try claim(request), value: try request.bytes("value"))
        return answer(header(applied)) { _ in }
    }

    private func leader(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        let (pair, revision, term) = try await concurrency.leader(try request.bytes("name"))
        return answer(header(revision: revision, term: term)) { json in
            json.name("kv")
            json.pair(pair)
        }
    }

    private func resign(_ request: GatewayObject) async throws(APIError) -> JSONWriter {
        answer(header(try await concurrency.resign(try claim(request)))) { _ in }
    }
}
