internal import HTTPServer
internal import JSON
internal import NIOHTTP1

/// Answers for load balancers and Kubernetes probes, as etcd gives them.
struct Health: Sendable {
    let desk: Desk

    /// If this member can serve: with `?serializable=true` alone, else with the others. Alarms count unless `?exclude=` names them.
    func health(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let isLocal = request.queryFields.contains { $0.name == "serializable" && $0.value == Array("true".utf8) }
        let operation = HealthOperations.Whole(isLocal: isLocal, excluded: Self.excluded(request))
        let reason = try await desk.carryOut(operation)
        var json = JSONWriter()
        json.object { json in
            json.name("health")
            json.string(reason == nil ? "true" : "false")
            json.name("reason")
            json.string(reason ?? "")
        }
        return .json(reason == nil ? .ok : .serviceUnavailable, json)
    }

    private static func excluded(_ request: HTTPRequest) -> Set<String> {
        Set(request.queryFields.filter { $0.name == "exclude" }.map { String(decoding: $0.value ?? [], as: UTF8.self) })
    }

    /// `/livez`, `/readyz`, or one of their checks, whose name follows in the path. Nil when it is no such path.
    func probe(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse? {
        let parts = request.path.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let probes: [Substring: HealthOperations.Probe] = ["livez": .live, "readyz": .ready]
        guard let probe = parts.first.flatMap({ probes[$0] }) else { return nil }
        let name = parts.count > 1 && !parts[1].isEmpty ? String(parts[1]) : nil
        let operation = HealthOperations.Checks(probe: probe, name: name, excluded: Self.excluded(request))
        guard let checks = try await desk.carryOut(operation) else { return nil }
        let isVerbose = request.queryFields.contains { $0.name == "verbose" }
        var text = ""
        for check in checks where isVerbose || check.trouble != nil {
            text += check.trouble.map { "[-]\(check.name) failed: \($0)\n" } ?? "[+]\(check.name) ok\n"
        }
        let isWell = checks.allSatisfy { $0.trouble == nil }
        text += isWell ? "ok\n" : "not ok\n"
        return HTTPResponse(
            status: isWell ? .ok : .serviceUnavailable, headers: ["content-type": "text/plain; charset=utf-8"],
            body: Array(text.utf8))
    }
}
