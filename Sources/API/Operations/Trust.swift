internal import Access
internal import Certificates
internal import Credentials
internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// The fabric's own CA: whom it lets in, and what it signed.
enum Trust {
    // MARK: - Looking

    /// The CAs that are believed: no secret, and what a newcomer needs before it believes anybody.
    struct Authorities: Operation {
        static var right: Right<Self> { .anybody }

        func run(at desk: Desk) async throws(APIError) -> (fabric: UInt64, authorities: [Authority]) {
            (desk.member.clusterID, desk.member.access.trust.authorities.all)
        }
    }

    struct Listing: Sendable {
        var trust: TrustState
        var members: [Membership.Entry]
    }

    /// What was signed, and for whom.
    struct List: Operation {
        static var right: Right<Self> { .observe }

        func run(at desk: Desk) async throws(APIError) -> Listing {
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            return Listing(trust: desk.member.access.trust, members: desk.member.membership.entries)
        }
    }

    // MARK: - Tokens

    struct MakeToken: Operation {
        static var right: Right<Self> {
            Right(hearing: .always, isStrict: true) { asked, claim throws(AccessRefusal) in
                if asked.role.isForOperators { try claim.expect(.operate) } else { try claim.expectRoot() }
            }
        }

        var role: JoinRole
        var domain: String
        /// Name or id of the member whose vote the newcomer takes.
        var replaces: String?
        var seconds: Int64
        var usesMax: UInt64

        func run(at desk: Desk) async throws(APIError) -> (text: JoinTokenText, token: JoinToken) {
            let replaces = try replacedMember(at: desk)
            guard domain.isEmpty || Domain.canBeNamed(domain) else { throw Trust.badDomain(domain) }
            guard (1...RunningMember.tokenSecondsMax).contains(seconds), (1...TrustState.usesMax).contains(usesMax)
            else {
                throw APIError(
                    .invalidArgument,
                    "a join token is good for 1 second to 30 days, and for 1 to \(TrustState.usesMax) uses")
            }
            return try await desk.ask { member throws(ServerError) in
                try await member.makeJoinToken(
                    for: role, domain: domain, replaces: replaces, seconds: seconds, usesMax: usesMax,
                    by: desk.asker)
            }
        }

        private func replacedMember(at desk: Desk) throws(APIError) -> NodeID? {
            guard let replaces else { return nil }
            let entries = desk.member.membership.entries
            if let named = entries.first(where: { $0.attributes.name == replaces }) { return named.member.id }
            guard let id = NodeID(replaces, radix: 16), desk.member.membership[id] != nil else {
                throw APIError(.notFound, "the fabric has no member \(replaces)")
            }
            return id
        }
    }

    struct RevokeToken: Operation {
        static var right: Right<Self> { .strictlyOperate }

        var id: String

        func run(at desk: Desk) async throws(APIError) {
            try await desk.ask { member throws(ServerError) in
                try await member.change(.removeToken(Array(id.utf8)), by: desk.asker)
            }
        }
    }

    // MARK: - Clients

    /// Signs for a client on behalf of root.
    struct Issue: Operation {
        static var right: Right<Self> { .strictlyRoot }

        var request: CertificateRequest
        var title: String
        var role: ReservedRole
        var seconds: Int64

        func run(at desk: Desk) async throws(APIError) -> SignedCertificate {
            try checkTitle(title)
            try checkLife(seconds)
            return try await desk.ask { member throws(ServerError) in
                try await member.enrol(
                    request, title: title, role: role, seconds: seconds, by: desk.asker)
            }
        }
    }

    /// Signs for a client that shows a join token.
    struct Enrol: Operation {
        /// The token is looked at.
        static var right: Right<Self> { .anybody }

        var token: JoinTokenText
        var request: CertificateRequest
        var title: String

        func run(at desk: Desk) async throws(APIError) -> SignedCertificate {
            try checkTitle(title)
            let token = try await desk.accept(token, for: request.keyDigest, Self.self)
            guard case .client(let role) = token.role else {
                throw token.role.misplaced
            }
            return try await desk.ask { member throws(ServerError) in
                try await member.enrol(request, title: title, role: role, by: self.token, desk.asker(by: self.token))
            }
        }
    }

    /// Signs for a user who has logged in: for hours, and until the password changes.
    struct LogIn: Operation {
        static var right: Right<Self> {
            Right(hearing: .always, isStrict: true) { _, claim throws(AccessRefusal) in
                try claim.expectCaller()
                // By a token, or as root of the machine; who shows a certificate of a login logs in again by the password.
                guard case .user = claim.standing else { throw claim.access.isEnabled ? .denied : .notEnabled }
            }
        }

        private static let seconds: Int64 = 8 * 3600

        var request: CertificateRequest

        func run(at desk: Desk) async throws(APIError) -> SignedCertificate {
            guard case .user(let author) = desk.standing, let name = String(validating: author.name, as: UTF8.self),
                desk.caller.token != nil || desk.caller.isLocal
            else { throw APIError(AccessRefusal.denied) }
            return try await desk.ask { member throws(ServerError) in
                try await member.logIn(
                    name, as: author.revision, request, seconds: Self.seconds, by: desk.asker)
            }
        }
    }

    /// Signs again for a client that shows the certificate that it has.
    struct Renew: Operation {
        static var right: Right<Self> {
            Right(hearing: .always, isStrict: true) { _, claim throws(AccessRefusal) in
                try claim.expectCaller()
            }
        }

        var request: CertificateRequest

        func run(at desk: Desk) async throws(APIError) -> SignedCertificate {
            // A user's comes of logging in.
            guard let enrolment = desk.shownEnrolment, enrolment.role.canBeGiven else {
                throw APIError(AccessRefusal.denied)
            }
            return try await desk.ask { member throws(ServerError) in
                try await member.renew(enrolment, request, by: desk.asker)
            }
        }
    }

    /// Signs for root of the member's own machine, who goes on to other members.
    struct SignForMachine: Operation {
        static var right: Right<Self> { .strictlyRoot }

        var request: CertificateRequest

        func run(at desk: Desk) async throws(APIError) -> SignedCertificate {
            guard desk.caller.isLocal else { throw APIError(AccessRefusal.denied) }
            return try await desk.ask { member throws(ServerError) in try member.signForMachine(request) }
        }
    }

    struct Revoke: Operation {
        static var right: Right<Self> { .strictlyRoot }

        var id: String

        func run(at desk: Desk) async throws(APIError) {
            try await desk.ask { member throws(ServerError) in
                try await member.revoke(Array(id.utf8), by: desk.asker)
            }
        }
    }

    private static func checkTitle(_ title: String) throws(APIError) {
        guard (1...64).contains(title.unicodeScalars.count),
            title.unicodeScalars.allSatisfy(isVisible), !title.allSatisfy(\.isWhitespace)
        else { throw APIError(.invalidArgument, "a name has 1 to 64 characters, all of which can be seen") }
    }

    private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: true
        }
    }

    private static func badDomain(_ name: String) -> APIError {
        APIError(.invalidArgument, "\"\(name.prefix(128))\" is not a name for a domain")
    }

    private static func checkLife(_ seconds: Int64) throws(APIError) {
        guard (60...RunningMember.clientSecondsMax).contains(seconds) else {
            throw APIError(.invalidArgument, "a certificate is good for 1 minute to 366 days")
        }
    }

    // MARK: - From a CA to the next

    /// Makes a CA for a fabric that has none.
    struct Found: Operation {
        static var right: Right<Self> { .root }

        func run(at desk: Desk) async throws(APIError) {
            try await desk.ask { member throws(ServerError) in
                try await member.confirmCurrent()
                try await member.foundAuthority(by: desk.asker)
            }
        }
    }

    struct Rotate: Operation {
        enum Step: Sendable {
            case begin, abandon
            /// - Parameter forced: also where clients are left behind.
            case finish(forced: Bool)
        }

        static var right: Right<Self> { .strictlyRoot }

        var step: Step

        func run(at desk: Desk) async throws(APIError) {
            let asker = desk.asker
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            let left = desk.member.stragglers
            switch step {
            case .begin:
                try await desk.ask { member throws(ServerError) in try await member.rotateAuthority(by: asker) }
            case .finish(let forced):
                try await desk.ask { member throws(ServerError) in try member.expectRotation() }
                try expectNobody(left.members, "these members have")
                if !forced {
                    try expectNobody(left.clients, "these clients have")
                    try expectNobody(left.pairs, "these pairs have heard of")
                }
                try await desk.ask { member throws(ServerError) in try await member.finishRotation(by: asker) }
            case .abandon:
                try await desk.ask { member throws(ServerError) in try await member.abandonRotation(by: asker) }
            }
        }

        private func expectNobody(_ names: [String], _ who: String) throws(APIError) {
            guard !names.isEmpty else { return }
            throw APIError(
                .failedPrecondition,
                "weft: \(who) no certificate of the new CA yet: \(names.prefix(10).joined(separator: ", "))\(names.count > 10 ? " and \(names.count - 10) more" : "")"
            )
        }
    }

    // MARK: - Members

    struct Joined: Sendable {
        var signed: SignedCertificate
        /// The CA with its key, PEM; empty for members that sign nothing.
        var authority: [UInt8]
        var members: [Membership.Entry]
        var clusterID: UInt64
    }

    /// Makes whoever shows a join token a member, and signs for it. The same key may ask again, and gets the same.
    struct Join: Operation {
        /// The token is looked at.
        static var right: Right<Self> { .anybody }

        var token: JoinTokenText
        var request: CertificateRequest
        var name: String
        var peerURLs: [String]
        /// Of its client URLs.
        var hosts: [String]
        var domain: String
        /// The member that the machine is already, hexadecimal.
        var member: String?

        func run(at desk: Desk) async throws(APIError) -> Joined {
            try checkTitle(name)
            guard hosts.count <= CertificateNames.hostsMax, peerURLs.count <= ConfigurationChange.urlsMax else {
                throw APIError(
                    .invalidArgument,
                    "a member has up to \(CertificateNames.hostsMax) hosts and \(ConfigurationChange.urlsMax) peer URLs"
                )
            }
            let found = try await desk.accept(token, for: request.keyDigest, Self.self)
            if case .member(let text) = found.role {
                try expect(text)
                return try await readmit(text, at: desk)
            }
            guard let role = found.memberRole else {
                throw found.role.misplaced
            }
            let id = RunningMember.id(of: request.keyDigest)
            try expect(String(id, radix: 16))
            let domain = found.domain.isEmpty ? self.domain : String(decoding: found.domain, as: UTF8.self)
            try checkIsNew(id, at: desk)
            let replaces = NodeID(String(decoding: found.replaces, as: UTF8.self), radix: 16)
            try await desk.use(token, for: request.keyDigest)
            let newcomer = Member(id: id, role: role, peerURLs: peerURLs, replaces: replaces, domain: domain)
            if desk.member.membership[id] == nil {
                _ = try await Cluster.Change(.add(newcomer)).run(at: desk, for: desk.asker(by: token).name)
            }
            return try await admit(id, signs: newcomer.signs, at: desk)
        }

        /// A machine that is a member already comes as that one, and uses up no token for another.
        private func expect(_ id: String) throws(APIError) {
            guard let member, member != id else { return }
            throw APIError(
                .failedPrecondition,
                "weft: this machine is member \(member) already, and the token is for another: `weft token create --member \(member)` makes one for it"
            )
        }

        private func admit(_ id: NodeID, signs: Bool, at desk: Desk) async throws(APIError) -> Joined {
            let (signed, authority) = try await desk.ask { member throws(ServerError) in
                try await member.admit(
                    request, as: id, title: name, hosts: hosts, signs: signs, by: desk.asker(by: token))
            }
            return Joined(
                signed: signed, authority: authority, members: desk.member.membership.entries,
                clusterID: desk.member.clusterID)
        }

        /// Signs anew for the member that a token names, which has lost its certificate or never had one.
        private func readmit(_ text: String, at desk: Desk) async throws(APIError) -> Joined {
            guard let id = NodeID(text, radix: 16), let entry = desk.member.membership[id] else {
                throw APIError(.notFound, "member \(text), which the token names, is not a member any more")
            }
            try await desk.use(token, for: request.keyDigest)
            return try await admit(id, signs: entry.member.signs, at: desk)
        }

        private func checkIsNew(_ id: NodeID, at desk: Desk) throws(APIError) {
            guard !peerURLs.isEmpty, peerURLs.allSatisfy(isPeerURL) else {
                throw APIError(.invalidArgument, "peerURLs must be URLs of the form https://HOST:PORT")
            }
            guard domain.isEmpty || Domain.canBeNamed(domain) else { throw Trust.badDomain(domain) }
            guard !desk.member.wasRemoved(id) else {
                throw APIError(
                    .failedPrecondition,
                    "weft: this machine was a member and was taken out: it comes back as a new one, from an empty data directory"
                )
            }
            let entries = desk.member.membership.entries
            // An answer that was lost can be had again, until the member has begun.
            if let own = entries.first(where: { $0.member.id == id }), !own.attributes.name.isEmpty {
                throw APIError(
                    .alreadyExists,
                    "this machine is member \(own.title) already; `weft token create --member \(own.title)` is for lost certificates"
                )
            }
            let others = entries.filter { $0.member.id != id }
            if let named = others.first(where: { $0.attributes.name == name }) {
                throw APIError(
                    .alreadyExists,
                    "the fabric has a member named \(name) already (\(String(named.member.id, radix: 16))); choose another --name, or remove that one first"
                )
            }
            if let known = others.first(where: { !$0.member.peerURLs.filter(peerURLs.contains).isEmpty }) {
                throw APIError(
                    .alreadyExists,
                    "member \(known.title) has the peer URL \(peerURLs.joined(separator: ",")) already")
            }
        }
    }
}

extension JoinToken {
    /// As what a member begins; nil for a token that is for no newcomer.
    fileprivate var memberRole: Member.Role? {
        switch role {
        case .voter: .joining
        case .learner: .learner
        case .witness: .joiningWitness
        case .member, .client, .pair: nil
        }
    }
}

extension JoinRole {
    /// A token was shown where it is of no use.
    var misplaced: APIError {
        switch self {
        case .voter, .learner, .witness, .member:
            APIError(.invalidArgument, "the token is for a member: run `weft join` with it")
        case .client: APIError(.invalidArgument, "the token is for a client: run `weft enrol` with it")
        case .pair: APIError(.invalidArgument, "the token is for another fabric: run `weft pair add` with it there")
        }
    }
}

extension Desk {
    /// What a token lets somebody become. Refusals are written down.
    func accept<Asked: Operation>(
        _ text: JoinTokenText, for key: [UInt8], _: Asked.Type
    ) async throws(APIError) -> JoinToken {
        guard caller.isPrivate else {
            throw APIError(.failedPrecondition, "weft: a join token is taken by TLS only: go to an https:// address")
        }
        return try await ask { member throws(ServerError) in
            // It may have been made at another member a moment ago.
            try await member.confirmCurrentDespiteAlarms()
            do throws(ServerError) { return try member.joinToken(text, for: key) } catch {
                note(.badJoinToken, Asked.self, user: Array("join token \(text.id)".utf8))
                throw error
            }
        }
    }

    func use(_ token: JoinTokenText, for key: [UInt8]) async throws(APIError) {
        try await ask { member throws(ServerError) in
            try await member.use(token, for: key, by: asker(by: token))
        }
    }

    /// Somebody who came by a token, as the fabric's events call them.
    func asker(by token: JoinTokenText) -> Asker { Asker(name: "join token \(token.id)@\(caller.address)") }
}
