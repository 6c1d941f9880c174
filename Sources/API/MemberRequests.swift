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

    var statusErrors: [String] {
        (status.leader == nil ? ["etcdserver: no leader"] : [])
            + (isDiskFull ? ["weft: no space is left on this member's disk"] : [])
    }
}

func checkPeerURLs(_ urls: [String]) throws(APIError) {
    guard !urls.isEmpty, urls.allSatisfy(isPeerURL) else {
        throw APIError(.invalidArgument, "etcdserver: given member URLs are invalid")
    }
}
