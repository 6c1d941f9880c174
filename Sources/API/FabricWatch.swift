internal import Fabric
internal import HTTPServer
internal import JSON
internal import NIOHTTP1
internal import Replication
internal import Server

/// `?watch` on the fabric's resources: changes as server-sent events, each with its revision as `id`. Those of one revision come
/// together, and only the last has the id, so that `Last-Event-ID` never leaves some out.
struct FabricWatch: Sendable {
    let member: RunningMember
    let kind: RecordKind
    /// Only of this record; a volume goes by name or id.
    let name: String?
    /// So many changes are put into words at a time.
    private static let portion = 200

    /// - Parameter revision: what the client knows already; nil begins with what comes next.
    func respond(after revision: Int64?) async throws(APIError) -> HTTPResponse {
        let start = try await current(atLeast: revision)
        if let revision, revision > start {
            return .error(.gone, code: 11, "revision \(revision) is to come; list, then watch from the list's revision")
        }
        return follow(after: revision ?? start)
    }

    /// The revision of the records here; asks for all that others have when the client knows more, or nothing.
    private func current(atLeast known: Int64?) async throws(APIError) -> Int64 {
        let applied = member.appliedFabric.revision
        if let known, known <= applied { return applied }
        return try await member.kv { member throws(ServerError) in try await member.fabric() }.revision
    }

    private func follow(after start: Int64) -> HTTPResponse {
        guard member.fabricFeed.reaches(back: start) else {
            return .error(
                .gone, code: 11,
                "changes after revision \(start) are not kept any more; list, then watch from the list's revision")
        }
        var response = HTTPResponse(
            status: .ok,
            headers: [
                "content-type": "text/event-stream", "cache-control": "no-store", "weft-fabric-revision": String(start),
            ])
        response.stream = { writer in
            do throws(CancellationError) { try await follow(after: start, writer) } catch {}
        }
        return response
    }

    private func follow(after start: Int64, _ writer: any HTTPBodyWriter) async throws(CancellationError) {
        try await writer.write(Array(": at revision \(start)\n\n".utf8))
        var known = start
        while let (changes, revision) = await member.fabricFeed.changes(after: known) {
            known = revision
            let concerning = changes.filter(concerns)
            for first in stride(from: 0, to: concerning.count, by: Self.portion) {
                try await writer.write(text(of: concerning[first...].prefix(Self.portion), in: concerning))
            }
        }
        guard !Task.isCancelled else { return }
        try await writer.write(
            Array("event: error\ndata: {\"error\":\"the watch fell behind; list and watch anew\"}\n\n".utf8))
    }

    private func concerns(_ change: FabricChange) -> Bool {
        guard change.kind == kind else { return false }
        guard let name else { return true }
        return switch change.item {
        case .domain(let domain): domain.name == name
        case .node(let node): node.name == name
        case .volume(let volume): volume.name == name || volume.idText == name
        case .event, .meta: false
        }
    }

    private func text(of portion: ArraySlice<FabricChange>, in changes: [FabricChange]) -> [UInt8] {
        let fabric = member.appliedFabric
        var text: [UInt8] = []
        for place in portion.indices {
            let change = changes[place]
            var json = JSONWriter()
            switch change.item {
            case .domain(let domain): json.domain(domain, nil)
            case .node(let node): json.node(node, fabric)
            case .volume(let volume): json.volume(volume, fabric)
            case .event(let event): json.event(event)
            case .meta: continue
            }
            let isLast = place + 1 == changes.count || changes[place + 1].revision != change.revision
            if isLast { text += Array("id: \(change.revision)\n".utf8) }
            text +=
                Array("event: \(change.isRemoval ? "delete" : "put")\ndata: ".utf8) + json.bytes + Array("\n\n".utf8)
        }
        return text
    }
}
