internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// How the fabric is: members by domain, quorum, nodes, volumes; and how it would be without a domain.
struct FabricStatus: Sendable {
    let call: FabricCall
    private var member: RunningMember { call.member }

    func respond() async throws(APIError) -> HTTPResponse {
        guard call.request.method == .GET else { return .methodNotAllowed("GET") }
        let fabric = try await call.fabric()
        let summaries = fabric.summaries()
        let status = member.status
        return call.answer(nil) { json in
            json.object { json in
                json.summary(fabric)
                quorum(&json)
                json.name("members")
                json.array(member.membership.entries) { write($1, status, &$0) }
                json.name("domains")
                json.array(Array(fabric.domains)) { $0.domain($1, summaries[$1.name, default: .init()]) }
                json.name("warnings")
                json.array(member.layoutWarnings) { $0.string($1) }
            }
        }
    }

    private func quorum(_ json: inout JSONWriter) {
        let now = member.outlook()
        json.name("quorum")
        json.object { json in
            json.name("holds")
            json.bool(now.quorumRemains)
            json.name("margin")
            json.number(now.margin)
            json.name("commitDomains")
            json.number(member.commitDomains)
            json.name("leaseReads")
            json.bool(member.readsByLease)
        }
    }

    /// Lag and round trip are the leader's to say.
    private func write(_ entry: Membership.Entry, _ status: RaftStatus, _ json: inout JSONWriter) {
        let id = entry.member.id
        json.object { json in
            json.name("id")
            json.string(String(id, radix: 16))
            json.name("name")
            json.string(entry.attributes.name)
            json.name("domain")
            json.string(entry.member.domain)
            json.name("role")
            json.string(status.leader == id ? "leader" : "\(entry.member.role)")
            json.name("heardOf")
            json.bool(member.isHeardOf(id, status))
            guard let peer = status.peers.first(where: { $0.id == id }) else { return }
            json.name("lagEntries")
            json.number(status.lastIndex - min(peer.match, status.lastIndex))
            json.name("roundTripMicroseconds")
            json.number(peer.roundTripNanoseconds / 1000)
        }
    }

    func preflight(_ name: String) async throws(APIError) -> HTTPResponse {
        // Asked when things go wrong: an answer from what is known here is better than none.
        var fabric = member.appliedFabric
        if member.status.leader != nil { fabric = try await call.fabric() }
        guard let domain = fabric.domain(name) else { throw FabricCall.missing(.domain, name) }
        let loss = fabric.loss(of: name)
        let outlook = member.outlook(without: name)
        let heir = outlook.leader.map { id in member.membership[id]?.attributes.name ?? String(id, radix: 16) }
        return call.answer(nil) { json in
            json.object { json in
                json.name("domain")
                json.string(domain.name)
                json.name("quorumRemains")
                json.bool(outlook.quorumRemains)
                json.name("quorumMargin")
                json.number(outlook.margin)
                if let heir {
                    json.name("leaderGoesTo")
                    json.string(heir)
                }
                json.name("volumesDown")
                json.number(loss.downCount)
                json.name("volumesDegraded")
                json.number(loss.degradedCount)
                json.name("volumesAttached")
                json.number(loss.attachedCount)
                json.name("firstVolumesDown")
                json.array(loss.down) { $0.string($1) }
                json.name("warnings")
                json.array(member.layoutWarnings) { $0.string($1) }
            }
        }
    }

    /// `{"on":true}`: the leader answers linearizable reads by its lease, without asking the others.
    func leaseReads() async throws(APIError) -> HTTPResponse {
        switch call.request.method {
        case .GET: try await member.kv { member throws(ServerError) in try await member.confirmCurrent() }
        case .PUT:
            let body = try FabricBody(call.request.body, known: ["on"])
            let isOn = try body.required("on", body.flag("on"))
            try await member.kv { member throws(ServerError) in try await member.setReadsByLease(isOn) }
        default: return .methodNotAllowed("GET, PUT")
        }
        return call.answer(nil) { json in
            json.object { json in
                json.name("on")
                json.bool(member.readsByLease)
            }
        }
    }

    /// `{"domains":2}`: in so many domains a write is on disk before it is acknowledged.
    func durability() async throws(APIError) -> HTTPResponse {
        switch call.request.method {
        case .GET: try await member.kv { member throws(ServerError) in try await member.confirmCurrent() }
        case .PUT:
            let body = try FabricBody(call.request.body, known: ["domains"])
            let count = try body.required("domains", body.number("domains"))
            guard (1...3).contains(count) else { throw APIError(.invalidArgument, "domains is 1 to 3") }
            let active = member.status.configuration.activeDomains.count
            guard count <= max(active, 1) else {
                return .error(
                    .conflict, code: 9,
                    "members with data are in \(active) active domains: a write cannot be on disk in \(count)")
            }
            try await member.kv { member throws(ServerError) in try await member.setCommitDomains(Int(count)) }
        default: return .methodNotAllowed("GET, PUT")
        }
        return call.answer(nil) { json in
            json.object { json in
                json.name("domains")
                json.number(member.commitDomains)
            }
        }
    }
}
