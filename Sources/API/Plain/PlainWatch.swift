internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// `GET /v1/kv/KEY?watch`: changes as they happen, as server-sent events, or as lines of JSON for who accepts
/// `application/x-ndjson`.
///
/// An event's `id` is its revision. Of those of one revision only the last has it, so that `Last-Event-ID` never leaves some out.
struct PlainWatch: Sendable {
    private enum Format {
        case events, lines
    }

    let desk: Desk

    /// - Parameter revision: where to begin; 0 begins with what comes next.
    func respond(to request: HTTPRequest, _ range: KeyRange, revision: Int64) async throws(APIError) -> HTTPResponse {
        guard request.method == .GET else { throw APIError(.invalidArgument, "only GET watches") }
        var watch = WatchRequest(range: range)
        watch.startRevision = revision
        if let text = request.headers.first(name: "last-event-id") {
            guard let last = Int64(text), (0..<Int64.max).contains(last) else {
                throw APIError(.invalidArgument, "Last-Event-ID is a revision, not \"\(text)\"")
            }
            watch.startRevision = last + 1
        }
        let session: WatchSession
        switch try await desk.carryOut(Watches.OpenFrom(range: range, revision: watch.startRevision)) {
        case .success(let opened): session = opened
        case .failure(let compacted):
            var gone = HTTPResponse.error(
                .gone, code: 11,
                "revision \(watch.startRevision) is compacted; list the keys, then watch from the list's revision")
            gone.headers.add(name: "weft-compact-revision", value: String(compacted.compactRevision))
            return gone
        }
        try await session.create(watch)
        let accepted = request.headers["accept"].joined(separator: ",")
        let format: Format = accepted.contains("application/x-ndjson") ? .lines : .events
        var response = HTTPResponse(
            status: .ok,
            headers: [
                "content-type": format == .lines ? "application/x-ndjson" : "text/event-stream",
                "cache-control": "no-store", "weft-store-revision": String(session.revision),
            ])
        response.stream = { writer in
            do throws(APIError) {
                try await Self.follow(session, format, writer)
            } catch {
                // To who is gone nobody says so.
                if error.code != .cancelled { try? await writer.write(Self.text(of: error, format)) }
            }
        }
        return response
    }

    /// Until the client is gone or the watch ends.
    private static func follow(
        _ session: WatchSession, _ format: Format, _ writer: any HTTPBodyWriter
    ) async throws(APIError) {
        func write(_ text: [UInt8]) async throws(APIError) {
            do throws(CancellationError) { try await writer.write(text) } catch { throw APIError.cancelled }
        }
        while true {
            let outputs = try await session.outputs()
            if outputs.isEmpty { return }
            for output in outputs {
                let hold = try await session.hold(for: output, writer.awaitRoom)
                defer { withExtendedLifetime(hold) {} }
                switch output {
                case .created(_, let revision):
                    // Tells a client that it is heard, before anything happens.
                    if format == .events { try await write(Array(": at revision \(revision)\n\n".utf8)) }
                case .changes(_, let batch, _, _): try await write(text(of: batch.changes, format))
                case .canceled(_, _, let compactRevision):
                    throw APIError(
                        .outOfRange, "the watch fell behind revision \(compactRevision), to which history was compacted"
                    )
                case .refused(let reason, _): throw APIError(.invalidArgument, reason)
                case .progress: break
                }
            }
        }
    }

    private static func text(of changes: [KeyValue], _ format: Format) -> [UInt8] {
        var text: [UInt8] = []
        for (place, change) in changes.enumerated() {
            let type = change.version > 0 ? "put" : "delete"
            var json = JSONWriter()
            json.change(change, type: type)
            guard format == .events else {
                text += json.bytes + [UInt8(ascii: "\n")]
                continue
            }
            let isLast = place + 1 == changes.count || changes[place + 1].modRevision != change.modRevision
            if isLast { text += Array("id: \(change.modRevision)\n".utf8) }
            text += Array("event: \(type)\ndata: ".utf8) + json.bytes + Array("\n\n".utf8)
        }
        return text
    }

    private static func text(of error: APIError, _ format: Format) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.name("error")
            json.string(error.message)
            json.name("code")
            json.number(error.code.rawValue)
        }
        return format == .lines
            ? json.bytes + [UInt8(ascii: "\n")] : Array("event: error\ndata: ".utf8) + json.bytes + Array("\n\n".utf8)
    }
}

extension JSONWriter {
    fileprivate mutating func change(_ change: KeyValue, type: String) {
        object { json in
            json.name("type")
            json.string(type)
            json.pairFields(change, withValue: change.version > 0)
        }
    }
}
