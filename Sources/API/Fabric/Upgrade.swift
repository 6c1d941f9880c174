internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// The fabric's version and what members run: `/v1/upgrade`. Raising the version is the last step of an upgrade: until then
/// every member can go back to the release before.
struct Upgrade: Sendable {
    let desk: Desk

    static let path: Substring = "/v1/upgrade"
    private static let finishPath: Substring = "/v1/upgrade/finish"

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        switch (request.method, request.path) {
        case (.GET, Self.path):
            return .json(.ok, Self.answer(try await desk.carryOut(WholeFabric.ReadUpgrade())))
        case (.POST, Self.finishPath):
            return .json(.ok, Self.answer(try await desk.carryOut(WholeFabric.FinishUpgrade())))
        default: throw .nothing(at: request.path)
        }
    }

    private static func answer(_ versions: WholeFabric.Versions) -> JSONWriter {
        var json = JSONWriter()
        json.object { json in
            json.name("version")
            json.number(versions.version)
            json.name("newestVersion")
            json.number(versions.newest)
            json.name("members")
            json.array(versions.members) { json, entry in
                json.object { json in
                    json.field("id", String(entry.member.id, radix: 16))
                    json.field("name", entry.attributes.name)
                    json.field("release", entry.attributes.release?.name ?? "")
                    json.name("newestVersion")
                    json.number(entry.attributes.release?.versions.upperBound ?? FabricVersion.first)
                }
            }
        }
        return json
    }
}
