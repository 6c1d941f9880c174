internal import Access
internal import Certificates
internal import Fabric
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import Storage
internal import Synchronization
internal import Transport

/// The fabric's own CA as far as a member sees to it while it runs.
extension RunningMember {
    private static let interval = Duration.seconds(2)
    /// How often a member that cannot sign for itself asks another.
    private static let askingInterval = Duration.seconds(30)

    /// Keeps the files of this member's certificates as the fabric's state and the time would have them, and tells the fabric of them.
    package func keepCertificates() async {
        guard let certificates = core.certificates else { return }
        var (complaint, nextAsking): (String?, ContinuousClock.Instant) = (nil, .now)
        while !core.isStopping {
            let now = core.wallMilliseconds / 1000
            if let found = certificates.complaint(now: now), found != complaint { core.logger.error("\(found)") }
            complaint = certificates.complaint(now: now)
            do {
                if core.isWitness, ContinuousClock.now >= nextAsking {
                    if try await ask(for: certificates, now: now) { nextAsking = .now + Self.askingInterval }
                    // It cannot know what the fabric knows of it.
                    try await change(.noteMember(certificates.note(of: id)))
                } else if !core.isWitness, appliedIndex >= MemberDisk.foundingIndex {
                    try await takeCare(of: certificates, now: now)
                }
            } catch let error as CertificateError {
                core.logger.error("certificates cannot be kept: \(error)")
            } catch {
                // Without a leader: later.
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    private func takeCare(of certificates: MemberCertificates, now: Int64) async throws {
        try await announceAuthority(certificates)
        let trust = access.trust
        guard let newest = trust.newest else { return }
        if try certificates.believe(trust.certificates) { core.logger.notice("other CAs are believed than before") }
        if certificates.authority?.certificate.keyDigest != newest.name {
            if let next = try certificates.next(), next.certificate.keyDigest == newest.name {
                // The fabric hears first that somebody has it: then it cannot be given up.
                try await change(.noteMember(certificates.note(of: id, by: next)))
                guard access.trust.newest?.name == newest.name else { return }
                try certificates.takeUp(next, now: now)
            } else {
                _ = try await ask(for: certificates, now: now)
            }
        }
        if try certificates.renewIfDue(now: now) { core.logger.notice("this member's certificate was made anew") }
        let note = certificates.note(of: id)
        if trust.members[note.name] != note { try await change(.noteMember(note)) }
        if core.status.role == .leader { try await forgetMembers(trust) }
    }

    /// A founder tells its fabric of the CA that it made. So does one that begins anew with the state of another fabric, whose CAs count no
    /// more.
    private func announceAuthority(_ certificates: MemberCertificates) async throws {
        guard let authority = certificates.authority, core.status.role == .leader,
            core.status.configuration.members.count == 1
        else { return }
        let own = Authority(authority.certificate)
        let known = access.trust.authorities
        guard known[own.name] == nil else { return }
        try await change(.addAuthority(own))
        let before = access.trust.members.all.map(\.name)
        for former in known.all { try await change(.removeAuthority(former.name, leaving: before)) }
        core.logger.notice("the fabric has a CA of its own; see `weft ca show`")
    }

    /// Who was taken out and never had the key of a CA that is still believed is of no interest any more.
    private func forgetMembers(_ trust: TrustState) async throws {
        for note in trust.members.all where core.status.configuration.member(note.name) == nil {
            if !note.signs || trust.authorities[note.authority] == nil { try await change(.forgetMember(note.name)) }
        }
    }

    private func change(_ change: TrustChange) async throws(ServerError) { try await self.change(change, by: name) }

    // MARK: - One member and another

    /// Has another member sign, or tell the key of the newest CA. Answers if one did.
    private func ask(for certificates: MemberCertificates, now: Int64) async throws -> Bool {
        let key = try PrivateKey()
        let request = try CertificateRequest(of: key, commonName: certificates.title)
        let wish = CertificateWish(request: try request.pem(), name: certificates.title, hosts: certificates.hosts)
        for member in core.status.configuration.members where member.id != id && member.role == .voter {
            guard let answer = await core.transport.askForCertificate(wish, of: member.id) else { continue }
            if core.isWitness {
                _ = try certificates.believe(try Certificate.all(pem: answer.authorities))
                if try certificates.takeUp(answer.certificate, for: key, now: now) {
                    core.logger.notice("this member's certificate was made anew")
                }
                return true
            }
            guard let next = try? CertificateAuthority(pem: answer.authority),
                next.certificate.keyDigest == access.trust.newest?.name
            else { continue }
            try certificates.takeUp(next, now: now)
            core.logger.notice("this member signs with the fabric's newest CA from now on")
            return true
        }
        return false
    }

    /// Signs for a peer that has proved to be the member that it says.
    func sign(_ wish: CertificateWish, for peer: NodeID) async -> CertificateAnswer? {
        guard let member = core.status.configuration[peer], let request = try? CertificateRequest(pem: wish.request),
            let (signed, authority) = try? await admit(
                request, as: peer, title: wish.name, hosts: wish.hosts, signs: !member.isWitness, by: name)
        else { return nil }
        return CertificateAnswer(
            certificate: signed.certificate, authorities: signed.authorities, authority: authority)
    }
}

/// Lets a member's transport, which is there first, have it sign.
final class CertificateSigner: Sendable {
    /// The member has the transport, which has this.
    private struct Known {
        weak var member: RunningMember?
    }
    private let known = Mutex(Known())

    func set(_ member: RunningMember) { known.withLock { $0.member = member } }

    func sign(_ wish: CertificateWish, for peer: NodeID) async -> CertificateAnswer? {
        await known.withLock { $0.member }?.sign(wish, for: peer)
    }
}

extension MemberCertificates {
    /// What the fabric is to know of a member that takes up another CA's key.
    fileprivate func note(of member: NodeID, by next: CertificateAuthority) -> MemberCertificate {
        MemberCertificate(
            name: member.hexadecimal, until: own.validity.to * 1000, authority: next.certificate.keyDigest, signs: true)
    }

    /// What the fabric is to know of this member's certificate.
    fileprivate func note(of member: NodeID) -> MemberCertificate {
        let issuer = issuer?.keyDigest ?? []
        return MemberCertificate(
            name: member.hexadecimal, until: own.validity.to * 1000, authority: issuer,
            signs: authority?.certificate.keyDigest == issuer)
    }
}

extension Authority {
    init(_ certificate: Certificate) { self.init(name: certificate.keyDigest, certificate: certificate.der) }
}

extension TrustState {
    var certificates: [Certificate] { authorities.all.compactMap { try? Certificate(der: $0.certificate) } }

    /// All CAs that are believed, PEM.
    package var authoritiesPEM: [UInt8] { certificates.flatMap(\.pem) }
}

extension NodeID {
    /// As names of records have it.
    var hexadecimal: [UInt8] { Array(String(self, radix: 16).utf8) }
}

extension Configuration {
    fileprivate func member(_ name: [UInt8]) -> Member? { members.first { $0.id.hexadecimal == name } }
}
