internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// Answers for load balancers and Kubernetes probes, as etcd gives them.
struct Health: Sendable {
    let member: RunningMember

    /// If this member can serve: with `?serializable=true` alone, else with the others. Alarms count unless `?exclude=` names them.
    func health(_ request: HTTPRequest) async -> HTTPResponse {
        let isLocal = request.queryFields.contains { $0.name == "serializable" && $0.value == Array("true".utf8) }
        let excluded = Self.excluded(request)
        var reason = alarm(except: excluded) ?? localTrouble() ?? (member.isDamaged ? "DAMAGED DATA" : nil)
        if reason == nil, !isLocal { reason = await trouble() }
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

    private func alarm(except excluded: Set<String>) -> String? {
        for alarm in member.alarms {
            let name = alarm.kind == .noSpace ? "NOSPACE" : "CORRUPT"
            if !excluded.contains(name) { return "ALARM \(name)" }
        }
        return nil
    }

    private func localTrouble() -> String? {
        member.isDiskFull ? "NO SPACE ON DISK" : nil
    }

    /// An alarm that forbids to read says nothing of whether the others are there.
    private func trouble() async -> String? {
        guard member.status.leader != nil else { return "RAFT NO LEADER" }
        do throws(ServerError) {
            try await member.confirmCurrentDespiteAlarms()
            return nil
        } catch {
            return "RANGE ERROR:\(APIError(error).message)"
        }
    }

    // MARK: - Probes

    private typealias Check = (name: String, trouble: () async -> String?)

    private var dataCorruption: String? {
        if member.isDamaged { return "this member's data is damaged" }
        return member.alarms.contains { $0.kind == .corrupt } ? "alarm activated: CORRUPT" : nil
    }

    private var catchingUp: String? {
        do throws(ServerError) { try member.expectCaughtUp() } catch { return APIError(error).message }
        return nil
    }

    /// The process runs and its disk takes writes.
    func livez(_ request: HTTPRequest) async -> HTTPResponse? {
        await report(request, "/livez", [("serializable_read", { nil }), ("disk", { localTrouble() })])
    }

    /// Clients may be sent here: it reads linearizably.
    func readyz(_ request: HTTPRequest) async -> HTTPResponse? {
        let isLearner = member.membership[member.id].map { !$0.member.isVoting } ?? true
        return await report(
            request, "/readyz",
            [
                ("data_corruption", { dataCorruption }), ("serializable_read", { catchingUp }),
                ("linearizable_read", { await trouble() }),
                ("non_learner", { isLearner ? "this member has no vote yet" : nil }),
                ("disk", { localTrouble() }),
            ])
    }

    /// All checks, or the one whose name follows in the path; nil when there is none of that name.
    private func report(_ request: HTTPRequest, _ path: String, _ checks: [Check]) async -> HTTPResponse? {
        let name = request.path.dropFirst(path.count + 1)
        let excluded = Self.excluded(request)
        let chosen = checks.filter { name.isEmpty ? !excluded.contains($0.name) : $0.name == name }
        guard name.isEmpty || !chosen.isEmpty else { return nil }
        let isVerbose = request.queryFields.contains { $0.name == "verbose" }
        var text = ""
        var isWell = true
        for check in chosen {
            let trouble = await check.trouble()
            isWell = isWell && trouble == nil
            guard isVerbose || trouble != nil else { continue }
            text += trouble.map { "[-]\(check.name) failed: \($0)\n" } ?? "[+]\(check.name) ok\n"
        }
        text += isWell ? "ok\n" : "not ok\n"
        return HTTPResponse(
            status: isWell ? .ok : .serviceUnavailable, headers: ["content-type": "text/plain; charset=utf-8"],
            body: Array(text.utf8))
    }
}
