internal import Fabric
internal import HTTPServer
internal import JSON
internal import NIOHTTP1
internal import Replication
internal import Server

/// `?watch` on the fabric's resources: changes as server-sent events, each with its revision as `id`. Those of one revision come
/// together, and only the last has the id, so that `Last-Event-ID` never leaves some out.
struct FabricWatch: Sendable {
    let desk: Desk
    let kind: RecordKind
    /// Only of this record; a volume goes by name or id.
    let name: String?
    /// So many changes are put into words at a time.
    private static let portion = 200

    /// - Parameter revision: what the client knows already; nil begins with what comes next.
    func respond(after revision: Int64?) async throws(APIError) -> HTTPResponse {
        switch try await desk.carryOut(Records.Watch(after: revision)) {
        case .changes(let changes): follow(changes)
        case .toCome(let revision):
            .error(.gone, code: 11, "revision \(revision) is to come; list, then watch from the list's revision")
        case .forgotten(let revision):
            .error(
                .gone, code: 11,
                "changes after revision \(revision) are not kept any more; list, then watch from the list's revision")
        }
    }

    private func follow(_ changes: Records.RecordChanges) -> HTTPResponse {
        var response = HTTPResponse(
            status: .ok,
            headers: [
                "content-type": "text/event-stream", "cache-control": "no-store",
                "weft-fabric-revision": String(changes.start),
            ])
        response.stream = { writer in
            do throws(CancellationError) { try await follow(changes, writer) } catch {}
        }
        return response
    }

    private func follow(
        _ feed: Records.RecordChanges, _ writer: any HTTPBodyWriter
    ) async throws(CancellationError) {
        try await writer.write(Array(": at revision \(feed.start)\n\n".utf8))
        var known = feed.start
        while let (changes, revision) = await feed.next(after: known) {
            known = revision
            let concerning = changes.filter(concerns)
            for first in stride(from: 0, to: concerning.count, by: Self.portion) {
                let portion = concerning[first...].prefix(Self.portion)
                try await writer.write(Self.text(of: portion, in: concerning, feed.fabric))
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
        case .policy(let policy): policy.name == name
        case .pair(let pair): pair.name == name
        case .application(let application): application.name == name
        case .event, .meta: false
        }
    }

    private static func text(
        of portion: ArraySlice<FabricChange>, in changes: [FabricChange], _ fabric: FabricState
    ) -> [UInt8] {
        var text: [UInt8] = []
        for place in portion.indices {
            let change = changes[place]
            var json = JSONWriter()
            switch change.item {
            case .domain(let domain): json.domain(domain, nil)
            case .node(let node): json.node(node, fabric)
            case .volume(let volume): json.volume(volume, fabric)
            case .event(let event): json.event(event)
            case .policy(let policy): json.policy(policy)
            case .pair(let pair): json.pair(pair)
            case .application(let application): json.application(application)
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
