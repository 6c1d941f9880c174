internal import HTTPServer
internal import JSON
internal import NIOHTTP1
internal import Replication
internal import Server

/// Answers for load balancers and Kubernetes probes, as etcd gives them.
struct Health: Sendable {
    let member: RunningMember

    /// If this member can serve: with `?serializable=true` alone, else with the others.
    func health(_ request: HTTPRequest) async -> HTTPResponse {
        let isLocal = request.queryFields.contains { $0.name == "serializable" && $0.value == Array("true".utf8) }
        let reason = isLocal ? localTrouble() : await trouble()
        var json = JSONWriter()
        json.object { json in
            json.name("health")
            json.string(reason == nil ? "true" : "false")
            json.name("reason")
            json.string(reason ?? "")
        }
        return .json(reason == nil ? .ok : .serviceUnavailable, json)
    }

    private func localTrouble() -> String? {
        member.isDiskFull ? "NO SPACE ON DISK" : nil
    }

    private func trouble() async -> String? {
        if let local = localTrouble() { return local }
        guard member.status.leader != nil else { return "RAFT NO LEADER" }
        do throws(ServerError) {
            try await member.confirmCurrent()
            return nil
        } catch {
            return "RANGE ERROR:\(APIError(error).message)"
        }
    }

    /// The process runs and its disk takes writes.
    func livez(_ request: HTTPRequest) -> HTTPResponse {
        report(request, [("disk", localTrouble())])
    }

    /// Clients may be sent here: it reads linearizably.
    func readyz(_ request: HTTPRequest) async -> HTTPResponse {
        report(request, [("disk", localTrouble()), ("linearizable_read", await trouble())])
    }

    private func report(_ request: HTTPRequest, _ checks: [(name: String, trouble: String?)]) -> HTTPResponse {
        let isWell = checks.allSatisfy { $0.trouble == nil }
        let isVerbose = request.queryFields.contains { $0.name == "verbose" }
        var text = ""
        for check in checks where isVerbose || check.trouble != nil {
            text += check.trouble.map { "[-]\(check.name) failed: \($0)\n" } ?? "[+]\(check.name) ok\n"
        }
        text += isWell ? "ok\n" : "not ok\n"
        return HTTPResponse(
            status: isWell ? .ok : .serviceUnavailable, headers: ["content-type": "text/plain; charset=utf-8"],
            body: Array(text.utf8))
    }
}
