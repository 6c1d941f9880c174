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
    let member: RunningMember

    static let path: Substring = "/v1/upgrade"
    private static let finishPath: Substring = "/v1/upgrade/finish"

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        do throws(APIError) {
            switch (request.method, request.path) {
            case (.GET, Self.path):
                try await member.kv { member throws(ServerError) in try await member.confirmCurrent() }
                return .json(.ok, answer())
            case (.POST, Self.finishPath):
                _ = try await member.kv { member throws(ServerError) in try await member.finishUpgrade() }
                return .json(.ok, answer())
            case (_, Self.path): return .methodNotAllowed("GET")
            case (_, Self.finishPath): return .methodNotAllowed("POST")
            default: throw APIError(.notFound, "there is nothing at \(request.path)")
            }
        } catch {
            return .error(error)
        }
    }

    private func answer() -> JSONWriter {
        var json = JSONWriter()
        json.object { json in
            json.name("version")
            json.number(member.fabricVersion)
            json.name("newestVersion")
            json.number(member.versions.upperBound)
            json.name("members")
            json.array(member.membership.entries) { json, entry in
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
