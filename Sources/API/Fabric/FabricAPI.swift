internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// Domains, nodes and volumes as resources: `/v1/fabric/{domains,nodes,volumes,events,status}`, and what others of its files have.
///
/// An ETag is a record's revision, which counts the fabric's changes and nothing of the users'. `weft-user` says in whose name
/// something is changed.
struct FabricAPI: Sendable {
    static let prefix = "/v1/fabric"
    let desk: Desk

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let parts = request.path.dropFirst(Self.prefix.utf8.count).split(separator: "/").map {
            String(decoding: percentDecoded($0), as: UTF8.self)
        }
        let call = FabricCall(desk: desk, request: request, path: Array(parts.dropFirst()))
        switch parts.first {
        case "domains": return try await domains(call)
        case "nodes": return try await nodes(call)
        case "volumes": return try await volumes(call)
        case "schedule-policies": return try await FabricPolicies(call: call).respond()
        case "applications": return try await FabricApplications(call: call).respond()
        case "pairs": return try await FabricPairs(call: call).respond()
        case "pair-tokens" where parts.count == 1: return try await FabricPairs(call: call).makeToken()
        case "events" where parts.count == 1: return try await events(call)
        case "status" where parts.count == 1: return try await FabricStatus(call: call).respond()
        case "durability" where parts.count == 1: return try await FabricStatus(call: call).durability()
        case "lease-reads" where parts.count == 1: return try await FabricStatus(call: call).leaseReads()
        default: throw .nothing(at: request.path)
        }
    }

    // MARK: - Domains

    private func domains(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.domain) { return watch }
            let fabric = try await call.fabric()
            let summaries = fabric.summaries()
            return call.list(fabric, Array(fabric.domains)) { $0.domain($1, summaries[$1.name, default: .init()]) }
        case (.GET, 1):
            if let watch = try await call.watch(.domain, name: call.path[0]) { return watch }
            let fabric = try await call.fabric()
            guard let domain = fabric.domain(call.path[0]) else { throw FabricCall.missing(.domain, call.path[0]) }
            return call.answer(domain.mark) { $0.domain(domain, fabric.summaries()[domain.name, default: .init()]) }
        case (.PUT, 1):
            return try await call.change(.putDomain(try DomainSpec(name: call.path[0], body: call.request.body)))
        case (.DELETE, 1):
            let remove = Records.RemoveDomain(name: call.path[0], terms: try call.terms())
            return call.response(to: try await desk.carryOut(remove))
        case (.POST, 2) where call.path[1] == "activate":
            let body = try FabricBody(call.request.body, known: ["by", "reason"])
            return try await call.setDomain(
                call.path[0], isActive: true, by: try body.text("by"), reason: try body.text("reason"))
        case (.POST, 2) where call.path[1] == "deactivate":
            let body = try FabricBody(call.request.body, known: ["by", "reason", "force"])
            return try await call.setDomain(
                call.path[0], isActive: false, force: try body.flag("force") ?? false, by: try body.text("by"),
                reason: try body.text("reason"))
        case (.GET, 2) where call.path[1] == "preflight":
            return try await FabricStatus(call: call).preflight(call.path[0])
        default: throw .nothing(at: call.request.path)
        }
    }

    // MARK: - Nodes

    private func nodes(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.node) { return watch }
            let domain = try call.query("domain")
            let fabric = try await call.fabric()
            let nodes = fabric.nodes.filter { domain == nil || $0.domain == domain }
            return call.list(fabric, nodes) { $0.node($1, fabric) }
        case (.GET, 1):
            if let watch = try await call.watch(.node, name: call.path[0]) { return watch }
            let fabric = try await call.fabric()
            guard let node = fabric.node(call.path[0]) else { throw FabricCall.missing(.node, call.path[0]) }
            return call.answer(node.mark) { $0.node(node, fabric) }
        case (.PUT, 1):
            let node = try NodeSpec(name: call.path[0], body: call.request.body)
            return call.response(to: try await desk.carryOut(Records.Register(node: node, terms: try call.terms())))
        case (.DELETE, 1): return try await call.change(.removeNode(call.path[0]))
        case (.POST, 2): return try await act(call, on: call.path[0], call.path[1])
        default: throw .nothing(at: call.request.path)
        }
    }

    private func act(_ call: FabricCall, on node: String, _ verb: String) async throws(APIError) -> HTTPResponse {
        _ = try FabricBody(call.request.body, known: [])
        func set(_ isCordoned: Bool? = nil, maintenance: Bool? = nil) async throws(APIError) -> HTTPResponse {
            try await call.change(.setNode(node, isCordoned: isCordoned, isInMaintenance: maintenance))
        }
        switch verb {
        case "heartbeat": return try await heartbeat(call, node)
        case "cordon": return try await set(true)
        case "uncordon": return try await set(false)
        case "enter-maintenance": return try await set(maintenance: true)
        case "exit-maintenance": return try await set(maintenance: false)
        default:
            throw .nothing(at: call.request.path)
        }
    }

    private func heartbeat(_ call: FabricCall, _ node: String) async throws(APIError) -> HTTPResponse {
        switch try await desk.carryOut(Records.Heartbeat(node: node)) {
        case .success(let seconds):
            call.answer(nil) { json in
                json.object { json in
                    json.name("ttlSeconds")
                    json.number(seconds)
                }
            }
        case .failure(let refusal): FabricCall.refusal(refusal)
        }
    }

    // MARK: - Volumes

    private func volumes(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.volume) { return watch }
            return try await listVolumes(call)
        case (.POST, 0): return try await call.change(.createVolume(try VolumeSpec(body: call.request.body)))
        case (.GET, 1):
            if let watch = try await call.watch(.volume, name: call.path[0]) { return watch }
            let (volume, fabric) = try await volume(call)
            return call.answer(volume.mark) { $0.volume(volume, fabric) }
        case (.PATCH, 1), (.PUT, 1):
            return try await call.change(
                .updateVolume(VolumeReference(call.path[0]), try VolumeChange(body: call.request.body)))
        case (.DELETE, 1): return try await call.change(.deleteVolume(VolumeReference(call.path[0])))
        case (.GET, 2) where call.path[1] == "explain": return try await explain(call)
        case (.POST, 2) where call.path[1] == "attach":
            let body = try FabricBody(call.request.body, known: ["node", "force"])
            let node = try body.required("node", body.text("node"))
            return try await call.change(
                .attach(VolumeReference(call.path[0]), node: node, force: try body.flag("force") ?? false))
        case (.POST, 2) where call.path[1] == "detach":
            let body = try FabricBody(call.request.body, known: ["token"])
            return try await call.change(.detach(VolumeReference(call.path[0]), token: try body.number("token") ?? 0))
        case (.PUT, 3) where call.path[1] == "replicas": return try await report(call, try reported(call))
        default: throw .nothing(at: call.request.path)
        }
    }

    private func volume(_ call: FabricCall) async throws(APIError) -> (Volume, FabricState) {
        let fabric = try await call.fabric()
        guard let volume = fabric.volume(VolumeReference(call.path[0])) else {
            throw FabricCall.missing(.volume, call.path[0])
        }
        return (volume, fabric)
    }

    private func listVolumes(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        let (node, domain, state) = (try call.query("node"), try call.query("domain"), try call.query("state"))
        let (after, limit) = (try call.number("after") ?? 0, try call.number("limit") ?? .max)
        let fabric = try await call.fabric()
        let nodes = domain.map { domain in fabric.nodes.filter { $0.domain == domain }.map(\.name) }
        var found: [Volume] = []
        var next: Int64?
        for volume in fabric.volumes(after: after) {
            if let node, volume.replica(on: node) == nil { continue }
            if let nodes, !volume.replicas.contains(where: { nodes.contains($0.node) }) { continue }
            if let state, volume.state.text != state { continue }
            if found.count == limit {
                next = found.last?.id
                break
            }
            found.append(volume)
        }
        return call.list(fabric, found, next: next) { $0.volume($1, fabric) }
    }

    private func explain(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        let (volume, fabric) = try await volume(call)
        let next = fabric.explain(1, sizeBytes: volume.sizeBytes, beside: volume.replicas.map(\.node))
        let anew = fabric.explain(volume.replication, sizeBytes: volume.sizeBytes)
        return call.answer(nil) { json in
            json.object { json in
                json.name("volume")
                json.volume(volume, fabric)
                json.name("events")
                json.array(fabric.events().filter { $0.kind == .volume && $0.name == volume.name }) { $0.event($1) }
                json.name("next")
                json.array(next.first ?? []) { $0.verdict($1) }
                json.name("anew")
                json.array(anew) { json, round in json.array(round) { $0.verdict($1) } }
            }
        }
    }

    private func reported(_ call: FabricCall) throws(APIError) -> (VolumeReplica.State, generation: Int64) {
        let body = try FabricBody(call.request.body, known: ["state", "generation"])
        let text = try body.required("state", body.text("state"))
        guard let state = VolumeReplica.State(text) else {
            throw APIError(.invalidArgument, "state is Current or Stale, not \"\(text)\"")
        }
        return (state, try body.required("generation", body.number("generation")))
    }

    private func report(_ call: FabricCall, _ report: (VolumeReplica.State, generation: Int64)) async throws(APIError)
        -> HTTPResponse
    {
        try await call.change(
            .report(VolumeReference(call.path[0]), node: call.path[2], report.0, generation: report.generation))
    }

    // MARK: - Events

    private func events(_ call: FabricCall) async throws(APIError) -> HTTPResponse {
        if let watch = try await call.watch(.event) { return watch }
        let (after, limit) = (try call.number("after") ?? 0, Int(clamping: try call.number("limit") ?? 1000))
        let fabric = try await call.fabric()
        let events = Array(fabric.events(after: after).prefix(limit))
        let isCut = (events.last?.number ?? .max) < (fabric.lastEvent ?? 0)
        return call.list(fabric, events, next: isCut ? events.last?.number : nil) { $0.event($1) }
    }
}
