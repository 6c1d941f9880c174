internal import HTTPServer
internal import NIOHTTP1
internal import Replication
internal import Server

/// `GET /v1/snapshot`: a backup as it is, for `curl -o`.
struct PlainSnapshot: Sendable {
    static let path = "/v1/snapshot"
    let desk: Desk

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let backup = try await desk.carryOut(Maintenance.BackUp())
        var response = HTTPResponse(
            status: .ok,
            headers: [
                "content-type": "application/octet-stream", "weft-snapshot-bytes": String(backup.bytes),
                "content-disposition": "attachment; filename=\"weft-\(backup.revision).db\"",
            ])
        response.stream = { writer in
            // Cut short it lacks its digest, and is no backup.
            while let (piece, _) = try? await backup.next() {
                guard (try? await writer.write(piece)) != nil else { return }
            }
        }
        return response
    }
}
