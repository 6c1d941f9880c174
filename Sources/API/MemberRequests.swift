internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// What both encodings of the API ask of a member in the same way.
extension RunningMember {
    /// Adds a member. Everybody begins as a learner; who shall vote is promoted once it has caught up.
    func addMember(_ peerURLs: [String], isLearner: Bool) async throws(APIError) -> Membership.Entry {
        try checkPeerURLs(peerURLs)
        let newcomer = Member(
            id: UInt64.random(in: 1...UInt64.max), role: isLearner ? .learner : .joining, peerURLs: peerURLs)
        _ = try await kv { member throws(ServerError) in try await member.change(.add(newcomer)) }
        return Membership.Entry(member: newcomer, attributes: MemberAttributes(name: "", clientURLs: []))
    }

    /// Lists alarms, raises or lowers one.
    /// - Parameters:
    ///   - action: etcd's number: get, activate, deactivate.
    ///   - kind: nil lists all, and changes nothing.
    func alarms(_ action: Int, _ memberID: UInt64, _ kind: Alarm.Kind?) async throws(APIError) -> [Alarm] {
        switch (action, kind) {
        case (0, _):
            try await kv { member throws(ServerError) in try await member.confirmCurrentDespiteAlarms() }
            return alarms.filter { kind == nil || $0.kind == kind }
        case (1, let kind?): return try await change(.raise(Alarm(memberID: memberID, kind: kind)))
        case (2, let kind?): return try await change(.lower(kind, memberID: memberID))
        default: return []
        }
    }

    /// There is no earlier version to go back to.
    /// - Parameter action: etcd's number: validate, enable, cancel.
    func refuseDowngrade(_ action: Int, to version: String) -> APIError {
        if action == 2 { return APIError(.failedPrecondition, "etcdserver: no inflight downgrade job") }
        let isVersion = version.split(separator: ".", omittingEmptySubsequences: false).count >= 2
        return APIError(
            .invalidArgument,
            isVersion
                ? "etcdserver: invalid downgrade target version" : "etcdserver: wrong downgrade target version format")
    }

    private func change(_ change: AlarmChange) async throws(APIError) -> [Alarm] {
        try await kv { member throws(ServerError) in try await member.change(change).0.map { [$0] } ?? [] }
    }

    var statusErrors: [String] {
        alarms.map { "memberID:\($0.memberID) alarm:\($0.kind.name) " }
            + (status.leader == nil ? ["etcdserver: no leader"] : [])
            + (isDiskFull ? ["weft: no space is left on this member's disk"] : [])
    }
}

extension Alarm.Kind {
    /// By etcd's number.
    static let names = ["NONE", "NOSPACE", "CORRUPT"]
    var name: String { Self.names[Int(rawValue)] }
}

func checkPeerURLs(_ urls: [String]) throws(APIError) {
    guard !urls.isEmpty, urls.allSatisfy(isPeerURL) else {
        throw APIError(.invalidArgument, "etcdserver: given member URLs are invalid")
    }
}
