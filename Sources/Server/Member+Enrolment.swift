package import Access
package import Certificates
package import Credentials
internal import Fabric
internal import MVCC
package import Raft
package import Replication
internal import Sockets
internal import Transport

/// What the fabric's CA signed, as the one who asked gets it.
package struct SignedCertificate: Sendable {
    package var id: UInt64
    /// PEM.
    package var certificate: [UInt8]
    /// All CAs that the fabric believes, PEM.
    package var authorities: [UInt8]
    /// Milliseconds since 1970.
    package var until: Int64
    /// Who signed it: the digest of the CA's key.
    package var authority: [UInt8]
}

/// On whose behalf something is changed.
package struct Asker: Sendable {
    /// As the fabric's events call them.
    package var name: String
    /// Their rights are looked up where the change is applied; nil for a member, and for those whose rights nobody takes.
    package var author: Author?

    package init(name: String, author: Author? = nil) {
        self.name = name
        self.author = author
    }
}

/// Lets newcomers in: join tokens, and certificates for those who show one.
extension RunningMember {
    /// The longest that a join token, and that a client's certificate, is good.
    package static let tokenSecondsMax: Int64 = 30 * 86_400
    package static let clientSecondsMax = Enrolment.lifeSecondsMax
    package static let tokenUsesMax = Int(TrustState.usesMax)

    // MARK: - Tokens

    /// - Returns: the token, which nobody can ask for again.
    package func makeJoinToken(
        for role: JoinRole, domain: String, replaces: NodeID?, seconds: Int64, usesMax: UInt64, by asker: Asker
    ) async throws(ServerError) -> (text: JoinTokenText, token: JoinToken) {
        let text = JoinTokenText(for: try authority().certificate.keyDigest)
        let now = core.wallMilliseconds
        let token = JoinToken(
            name: Array(text.id.utf8), digest: text.digest, role: role, domain: Array(domain.utf8),
            replaces: replaces?.hexadecimal ?? [], until: now + seconds * 1000, usesMax: usesMax)
        try await change(.addToken(token, at: now), by: asker)
        return (text, token)
    }

    /// What a token lets somebody with this key become. Nothing is used up.
    package func joinToken(_ text: JoinTokenText, for key: [UInt8]) throws(ServerError) -> JoinToken {
        do throws(AccessRefusal) {
            return try access.trust.token(
                Array(text.id.utf8), secret: text.digest, for: key, at: core.wallMilliseconds)
        } catch {
            throw .refused(.access(error))
        }
    }

    /// Counts a use of a token. Where this member could sign nothing for it, none is counted.
    package func use(_ text: JoinTokenText, for key: [UInt8], by asker: Asker) async throws(ServerError) {
        _ = try authority()
        try await use(text, for: key, listing: nil, by: asker)
    }

    private func use(
        _ text: JoinTokenText, for key: [UInt8], listing enrolment: Enrolment?, by asker: Asker
    ) async throws(ServerError) {
        let use = TokenUse(token: Array(text.id.utf8), secret: text.digest, key: key, at: core.wallMilliseconds)
        try await change(.useToken(use, for: enrolment), by: asker)
    }

    /// Whether the asker still may is looked up where it is applied.
    package func change(_ change: TrustChange, by asker: Asker) async throws(ServerError) {
        _ = try await propose(
            .access(.trust(change), Trace(at: core.wallMilliseconds, by: asker.name)), by: asker.author)
    }

    package func revoke(_ certificate: [UInt8], by asker: Asker) async throws(ServerError) {
        try await change(.revoke(certificate, at: core.wallMilliseconds), by: asker)
    }

    // MARK: - Certificates

    /// The id that a public key gets, whoever's it is: the same key asks for the same again.
    package static func id(of key: [UInt8]) -> UInt64 { max(1, key.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }) }

    /// Signs for a client, and lists it.
    /// - Parameter title: what people call it.
    package func enrol(
        _ request: CertificateRequest, title: String, role: ReservedRole, seconds: Int64, by asker: Asker
    ) async throws(ServerError) -> SignedCertificate {
        let (signed, enrolment) = try sign(request, title: title, role: role, seconds: seconds)
        try await change(.enrol(enrolment, at: core.wallMilliseconds), by: asker)
        return signed
    }

    /// The same for a client that shows a token, which is used up by it.
    package func enrol(
        _ request: CertificateRequest, title: String, role: ReservedRole, by token: JoinTokenText, _ asker: Asker
    ) async throws(ServerError) -> SignedCertificate {
        let (signed, enrolment) = try sign(
            request, title: title, role: role, seconds: MemberCertificates.lifeSeconds)
        try await use(token, for: request.keyDigest, listing: enrolment, by: asker)
        return signed
    }

    /// Signs for a user, whose password was looked at as of a revision of users and roles.
    package func logIn(
        _ user: String, as revision: UInt64, _ request: CertificateRequest, seconds: Int64, by asker: Asker
    ) async throws(ServerError) -> SignedCertificate {
        let (signed, enrolment) = try sign(request, title: user, role: .user(user), seconds: seconds)
        let now = core.wallMilliseconds
        _ = try await propose(.access(.logIn(enrolment, revision: revision, at: now), Trace(at: now, by: asker.name)))
        return signed
    }

    /// Signs again for a client that is listed, for as long as before.
    /// - Throws: `tooEarly` while more than two thirds of the time are left, unless there is a new CA.
    package func renew(
        _ enrolment: Enrolment, _ request: CertificateRequest, by asker: Asker
    ) async throws(ServerError) -> SignedCertificate {
        guard let id = UInt64(String(decoding: enrolment.name, as: UTF8.self), radix: 16) else {
            throw .refused(.access(.noEnrolment))
        }
        guard request.keyDigest == enrolment.key else { throw .refused(.access(.anotherKey)) }
        let isEarly = (enrolment.until - core.wallMilliseconds) * 3 > enrolment.lifeSeconds * 2000
        if isEarly, enrolment.authority == access.trust.newest?.name { throw .refused(.access(.tooEarly)) }
        let title = String(decoding: enrolment.title, as: UTF8.self)
        let signed = try sign(request, forClient: id, title: title, seconds: enrolment.lifeSeconds)
        try await change(.renew(enrolment.name, until: signed.until, authority: signed.authority), by: asker)
        return signed
    }

    /// Signs for a client that is not listed yet.
    /// - Returns: besides, how to list it.
    private func sign(
        _ request: CertificateRequest, title: String, role: ReservedRole, seconds: Int64
    ) throws(ServerError) -> (SignedCertificate, Enrolment) {
        let id = Self.id(of: request.keyDigest)
        let signed = try sign(request, forClient: id, title: title, seconds: seconds)
        let enrolment = Enrolment(
            name: id.hexadecimal, title: Array(title.utf8), role: role, key: request.keyDigest, lifeSeconds: seconds,
            until: signed.until, authority: signed.authority)
        return (signed, enrolment)
    }

    private func sign(
        _ request: CertificateRequest, forClient id: UInt64, title: String, seconds: Int64
    ) throws(ServerError) -> SignedCertificate {
        let names = CertificateNames(hosts: [], for: .client(fabric: clusterID, id: id))
        return try sign(request, as: id, title: title, names, for: .client, seconds: seconds)
    }

    /// Signs for a member.
    /// - Parameter hosts: by which it says that it is reached; those at which others are reached it does not get.
    func sign(
        _ request: CertificateRequest, for member: NodeID, title: String, hosts: [String]
    ) throws(ServerError) -> SignedCertificate {
        let others = membership.entries.filter { $0.member.id != member }
            .flatMap { $0.member.peerURLs + $0.attributes.clientURLs }.compactMap(PeerAddress.init(url:)).map {
                CertificateNames.plain($0.host)
            }
        let own = hosts.filter { isLoopback($0) || !others.contains(CertificateNames.plain($0)) }
        let names = CertificateNames(hosts: own, for: .member(fabric: clusterID, id: member))
        return try sign(
            request, as: member, title: title, names, for: .member, seconds: MemberCertificates.lifeSeconds)
    }

    /// Signs for a newcomer, or for a member that lost what it had.
    /// - Parameter signs: if it signs for others from now on.
    /// - Returns: besides, the CA with its key, PEM; empty for one that does not sign.
    package func admit(
        _ request: CertificateRequest, as member: NodeID, title: String, hosts: [String], signs: Bool,
        by asker: Asker
    ) async throws(ServerError) -> (SignedCertificate, authority: [UInt8]) {
        let signed = try sign(request, for: member, title: title, hosts: hosts)
        try await change(
            .noteMember(
                SeenCertificate(
                    member: member.hexadecimal, until: signed.until, authority: signed.authority,
                    key: request.keyDigest)), by: asker)
        return (signed, signs ? try await tellAuthority(to: member) : [])
    }

    /// The CA with its key, PEM, for a member that signs from now on. The fabric notes first that this member has it.
    func tellAuthority(to member: NodeID) async throws(ServerError) -> [UInt8] {
        let authority = try authority()
        guard let pem = try? authority.pem() else { throw .refused(.access(.cannotSign)) }
        let digest = authority.certificate.keyDigest
        if access.trust.members[member.hexadecimal]?.knows.contains(digest) != true {
            try await change(.noteKnower(member: member.hexadecimal, authority: digest), by: Asker(name: name))
        }
        return pem
    }

    /// If a member of this id was taken out: it does not come back.
    package func wasRemoved(_ id: NodeID) -> Bool { core.transport.directory.wasRemoved(id) }

    private static let machineSeconds: Int64 = 600

    /// Signs for whoever is root of this member's machine: other members know them by it for a few minutes.
    package func signForMachine(_ request: CertificateRequest) throws(ServerError) -> SignedCertificate {
        let names = CertificateNames(hosts: [], for: .machine(fabric: clusterID, id: id))
        return try sign(request, as: id, title: name, names, for: .client, seconds: Self.machineSeconds)
    }

    /// The CA that this member signs with; refused where it signs nothing.
    private func authority() throws(ServerError) -> CertificateAuthority {
        guard let authority = core.certificates?.authority, access.trust.isThere else {
            throw .refused(.access(access.trust.isThere ? .noAuthorityHere : .noAuthorityAtAll))
        }
        return authority
    }

    private func sign(
        _ request: CertificateRequest, as id: UInt64, title: String, _ names: CertificateNames,
        for use: CertificateAuthority.Use, seconds: Int64
    ) throws(ServerError) -> SignedCertificate {
        let authority = try authority()
        do throws(CertificateError) {
            let certificate = try authority.issue(
                request, commonName: title, names: names, for: use, now: core.wallMilliseconds / 1000, seconds: seconds)
            return SignedCertificate(
                id: id, certificate: authority.chain(certificate), authorities: access.trust.authoritiesPEM,
                until: certificate.validity.to * 1000, authority: authority.certificate.keyDigest)
        } catch {
            throw .refused(.access(.cannotSign))
        }
    }
}
