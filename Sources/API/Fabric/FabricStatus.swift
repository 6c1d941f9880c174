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

    func respond() async throws(APIError) -> HTTPResponse {
        let status = try await call.desk.carryOut(WholeFabric.Status(serializable: try call.isSerializable()))
        let summaries = status.records.summaries()
        return call.answer(nil) { json in
            json.object { json in
                json.summary(status.records)
                Self.quorum(status, &json)
                json.name("members")
                json.array(status.members) { Self.write($1, &$0) }
                json.name("domains")
                json.array(Array(status.records.domains)) { $0.domain($1, summaries[$1.name, default: .init()]) }
                json.name("warnings")
                json.array(status.warnings) { $0.string($1) }
            }
        }
    }

    private static func quorum(_ status: WholeFabric.Overview, _ json: inout JSONWriter) {
        json.name("quorum")
        json.object { json in
            json.name("holds")
            json.bool(status.outlook.quorumRemains)
            json.name("margin")
            json.number(status.outlook.margin)
            json.name("commitDomains")
            json.number(status.commitDomains)
            json.name("leaseReads")
            json.bool(status.readsByLease)
        }
    }

    private static func write(_ peer: WholeFabric.Peer, _ json: inout JSONWriter) {
        json.object { json in
            json.name("id")
            json.string(String(peer.entry.member.id, radix: 16))
            json.name("name")
            json.string(peer.entry.attributes.name)
            json.name("domain")
            json.string(peer.entry.member.domain)
            json.name("role")
            json.string(peer.isLeader ? "leader" : "\(peer.entry.member.role)")
            json.name("heardOf")
            json.bool(peer.isHeardOf)
            guard let lag = peer.lag else { return }
            json.name("lagEntries")
            json.number(lag.entries)
            json.name("roundTripMicroseconds")
            json.number(lag.roundTripNanoseconds / 1000)
        }
    }

    func preflight(_ name: String) async throws(APIError) -> HTTPResponse {
        let preflight = WholeFabric.Preflight(domain: name, serializable: try call.isSerializable())
        guard let found = try await call.desk.carryOut(preflight) else { throw FabricCall.missing(.domain, name) }
        return call.answer(nil) { json in
            json.object { json in
                json.name("domain")
                json.string(found.domain.name)
                json.name("quorumRemains")
                json.bool(found.outlook.quorumRemains)
                json.name("quorumMargin")
                json.number(found.outlook.margin)
                if let heir = found.heir {
                    json.name("leaderGoesTo")
                    json.string(heir)
                }
                json.name("volumesDown")
                json.number(found.loss.downCount)
                json.name("volumesDegraded")
                json.number(found.loss.degradedCount)
                json.name("volumesAttached")
                json.number(found.loss.attachedCount)
                json.name("firstVolumesDown")
                json.array(found.loss.down) { $0.string($1) }
                json.name("warnings")
                json.array(found.warnings) { $0.string($1) }
            }
        }
    }

    /// `{"on":true}`: the leader answers linearizable reads by its lease, without asking the others.
    func leaseReads() async throws(APIError) -> HTTPResponse {
        let isOn: Bool
        switch call.request.method {
        case .GET: isOn = try await call.desk.carryOut(WholeFabric.ReadLeaseReads())
        case .PUT:
            let body = try FabricBody(call.request.body, known: ["on"])
            let asked = try body.required("on", body.flag("on"))
            isOn = try await call.desk.carryOut(WholeFabric.SetLeaseReads(isOn: asked))
        default: throw .nothing(at: call.request.path)
        }
        return call.answer(nil) { json in
            json.object { json in
                json.name("on")
                json.bool(isOn)
            }
        }
    }

    /// `{"domains":2}`: in so many domains a write is on disk before it is acknowledged.
    func durability() async throws(APIError) -> HTTPResponse {
        let domains: Int
        switch call.request.method {
        case .GET: domains = try await call.desk.carryOut(WholeFabric.ReadDurability())
        case .PUT:
            let body = try FabricBody(call.request.body, known: ["domains"])
            let asked = try body.required("domains", body.number("domains"))
            switch try await call.desk.carryOut(WholeFabric.SetDurability(domains: asked)) {
            case .success(let count): domains = count
            case .failure(let refusal): return FabricCall.refusal(refusal)
            }
        default: throw .nothing(at: call.request.path)
        }
        return call.answer(nil) { json in
            json.object { json in
                json.name("domains")
                json.number(domains)
            }
        }
    }
}
