internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// Tells known callers how to use the API.
struct Introduction: Operation {
    static var right: Right<Self> { .known }

    /// Who answers here.
    func run(at desk: Desk) async throws(APIError) -> String { desk.title }
}

/// What load balancers and Kubernetes' probes ask.
enum HealthOperations {
    /// If there is a leader.
    struct IsServing: Operation {
        static var right: Right<Self> { .anybody }

        func run(at desk: Desk) async throws(APIError) -> Bool { desk.member.status.leader != nil }
    }

    /// If this member can serve.
    struct Whole: Operation {
        static var right: Right<Self> { .anybody }

        /// Without asking the others.
        var isLocal: Bool
        /// Alarms that do not count.
        var excluded: Set<String>

        /// Why not; nil when it can.
        func run(at desk: Desk) async throws(APIError) -> String? {
            let member = desk.member
            if let alarm = member.alarms.first(where: { !excluded.contains($0.kind.name) }) {
                return "ALARM \(alarm.kind.name)"
            }
            if let trouble = member.localTrouble { return trouble }
            if member.isDamaged { return "DAMAGED DATA" }
            return isLocal ? nil : await member.trouble()
        }
    }

    struct Check: Sendable {
        var name: String
        /// What is wrong; nil when nothing is.
        var trouble: String?
    }

    enum Probe: Sendable {
        /// The process runs and its disk takes writes.
        case live
        /// Clients may be sent here: it reads linearizably.
        case ready

        fileprivate var checks: [(name: String, trouble: @Sendable (RunningMember) async -> String?)] {
            switch self {
            case .live: [("serializable_read", { _ in nil }), ("disk", { $0.localTrouble })]
            case .ready:
                [
                    ("data_corruption", { $0.dataCorruption }), ("serializable_read", { $0.catchingUp }),
                    ("linearizable_read", { await $0.trouble() }),
                    ("non_learner", { $0.hasVote ? nil : "this member has no vote yet" }),
                    ("disk", { $0.localTrouble }),
                ]
            }
        }
    }

    struct Checks: Operation {
        static var right: Right<Self> { .anybody }

        var probe: Probe
        /// Only this one; nil asks for all but `excluded`.
        var name: String?
        var excluded: Set<String>

        /// Nil when there is no check of that name.
        func run(at desk: Desk) async throws(APIError) -> [Check]? {
            let chosen = probe.checks.filter { name == nil ? !excluded.contains($0.name) : $0.name == name }
            guard name == nil || !chosen.isEmpty else { return nil }
            var checks: [Check] = []
            for check in chosen { checks.append(Check(name: check.name, trouble: await check.trouble(desk.member))) }
            return checks
        }
    }
}

extension RunningMember {
    fileprivate var localTrouble: String? { isDiskFull ? "NO SPACE ON DISK" : nil }

    /// An alarm that forbids to read says nothing of whether the others are there.
    fileprivate func trouble() async -> String? {
        guard status.leader != nil else { return "RAFT NO LEADER" }
        do throws(ServerError) {
            try await confirmCurrentDespiteAlarms()
            return nil
        } catch {
            return "RANGE ERROR:\(APIError(error).message)"
        }
    }

    fileprivate var dataCorruption: String? {
        if isDamaged { return "this member's data is damaged" }
        return alarms.contains { $0.kind == .corrupt } ? "alarm activated: CORRUPT" : nil
    }

    fileprivate var catchingUp: String? {
        do throws(ServerError) { try expectCaughtUp() } catch { return APIError(error).message }
        return nil
    }

    fileprivate var hasVote: Bool { membership[id]?.member.isVoting == true }
}
