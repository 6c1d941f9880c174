internal import Access
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// etcd's Cluster service, and what weft knows of members beyond it.
enum Cluster {
    struct List: Operation {
        static var right: Right<Self> { .caller }

        var linearizable: Bool

        func run(at desk: Desk) async throws(APIError) -> Answered<[Membership.Entry]> {
            if linearizable {
                try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            }
            return desk.listed(desk.member.membership.entries)
        }
    }

    struct Added: Sendable {
        var member: Membership.Entry
        var members: [Membership.Entry]
    }

    /// Adds a member. It begins without a vote; a voter to be is promoted once it has caught up.
    struct Add: Operation {
        static var right: Right<Self> { .operate }

        var peerURLs: [String]
        var role: Member.Role
        var replaces: NodeID?
        var domain = ""

        func run(at desk: Desk) async throws(APIError) -> Answered<Added> {
            try checkPeerURLs(peerURLs)
            let newcomer = Member(
                id: UInt64.random(in: 1...UInt64.max), role: role, peerURLs: peerURLs, replaces: replaces,
                domain: domain)
            let members = try await Change(.add(newcomer)).run(at: desk).body
            let entry = Membership.Entry(member: newcomer, attributes: MemberAttributes(name: "", clientURLs: []))
            return desk.listed(Added(member: entry, members: members))
        }
    }

    struct Remove: Operation {
        /// A member may take itself out: a join that came to nothing does.
        static var right: Right<Self> {
            Right(hearing: .always) { asked, claim throws(AccessRefusal) in
                if claim.standing != .member(asked.id) { try claim.expect(.operate) }
            }
        }

        var id: NodeID

        func run(at desk: Desk) async throws(APIError) -> Answered<[Membership.Entry]> {
            try await Change(.remove(id)).run(at: desk)
        }
    }

    struct Promote: Operation {
        static var right: Right<Self> { .operate }

        var id: NodeID

        func run(at desk: Desk) async throws(APIError) -> Answered<[Membership.Entry]> {
            try await Change(.promote(id)).run(at: desk)
        }
    }

    struct Update: Operation {
        static var right: Right<Self> { .operate }

        var id: NodeID
        var peerURLs: [String]

        func run(at desk: Desk) async throws(APIError) -> Answered<[Membership.Entry]> {
            try checkPeerURLs(peerURLs)
            return try await Change(.update(id, peerURLs: peerURLs)).run(at: desk)
        }
    }

    /// Any change; answers who is a member then.
    struct Change: Operation {
        static var right: Right<Self> { .operate }

        var change: ConfigurationChange

        init(_ change: ConfigurationChange) {
            self.change = change
        }

        func run(at desk: Desk) async throws(APIError) -> Answered<[Membership.Entry]> {
            try await run(at: desk, for: desk.name(orClaimed: ""))
        }

        /// - Parameter by: what the fabric's events call the asker.
        func run(at desk: Desk, for by: String) async throws(APIError) -> Answered<[Membership.Entry]> {
            guard change.isWithinLimits else {
                throw APIError(.invalidArgument, "weft: the name of a domain, or a peer URL, is too long")
            }
            try await desk.noting(change.words(desk.member.membership), by: by) { member throws(ServerError) in
                _ = try await member.change(change)
            }
            return desk.listed(desk.member.membership.entries)
        }
    }

    private static func checkPeerURLs(_ urls: [String]) throws(APIError) {
        guard !urls.isEmpty, urls.allSatisfy(isPeerURL) else {
            throw APIError(.invalidArgument, "etcdserver: given member URLs are invalid")
        }
    }
}

extension ConfigurationChange {
    /// In words for the fabric's events.
    fileprivate func words(_ members: Membership) -> String {
        func title(_ id: NodeID) -> String { members[id]?.title ?? String(id, radix: 16) }
        switch self {
        case .add(let member):
            return "add \(String(member.id, radix: 16)) at \(member.peerURLs.joined(separator: ",")), \(member.role)"
        case .promote(let id): return "promote \(title(id))"
        case .remove(let id): return "remove \(title(id))"
        case .update(let id, let urls): return "have \(title(id)) at \(urls.joined(separator: ","))"
        case .prioritize(let id, let priority): return "give \(title(id)) priority \(priority)"
        case .locate(let id, let domain): return "have \(title(id)) in domain \(domain)"
        case .setActive(let domain, let isActive): return "count domain \(domain) \(isActive ? "in" : "out")"
        case .spread(let count): return "commit in \(count) domains"
        case .readByLease(let isOn): return "turn lease reads \(isOn ? "on" : "off")"
        case .several(let changes): return changes.map { $0.words(members) }.joined(separator: ", ")
        }
    }
}

extension Desk {
    /// Changes what concerns the members as a whole: it is written down for the fabric's events who does what, and then done, so that no change is made
    /// of which nobody can tell.
    func noting(
        _ what: String, by name: String, _ body: (RunningMember) async throws(ServerError) -> Void
    ) async throws(APIError) {
        try await ask { member throws(ServerError) in try await member.note(ofMembers: what, by: name) }
        do throws(APIError) { try await ask(body) } catch {
            try? await member.note(ofMembers: "\(what): refused, \(error.message)", by: name)
            throw error
        }
    }

    /// Headers of this service tell no revision.
    fileprivate func listed<Body: Sendable>(_ body: Body) -> Answered<Body> {
        Answered(header: header(revision: 0, term: member.status.term), body: body)
    }
}
