internal import Access
internal import Certificates
internal import Fabric
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import Storage

/// The fabric's own CA as far as a member sees to it while it runs.
extension RunningMember {
    /// Keeps the files of this member's certificates as the fabric's state and the time would have them, and tells the fabric of them.
    package func keepCertificates() async {
        guard let certificates = core.certificates else { return }
        while !core.isStopping {
            do {
                try await takeCare(of: certificates)
            } catch let error as CertificateError {
                core.logger.error("certificates cannot be kept: \(error)")
            } catch {
                // Without a leader: later.
            }
            try? await Task.sleep(for: .seconds(2))
        }
    }

    private func takeCare(of certificates: MemberCertificates) async throws {
        guard appliedIndex >= MemberDisk.foundingIndex, !core.isWitness else { return }
        try await announceAuthority(certificates)
        let trust = access.trust
        if try certificates.believe(trust.authorities.all) {
            core.logger.notice("the CAs that are believed have changed")
        }
        if try certificates.renewIfDue(now: millisecondsSince1970() / 1000) {
            core.logger.notice("this member's certificate was made anew")
        }
        guard trust.isThere else { return }
        let note = certificates.note(for: id)
        if trust.members[note.name] != note { try await change(.noteMember(note)) }
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
        for former in known.all { try await change(.removeAuthority(former.name)) }
        core.logger.notice("the fabric has a CA of its own; see `weft ca show`")
    }

    private func change(_ change: TrustChange) async throws(ServerError) { try await self.change(change, by: name) }
}

extension Authority {
    init(_ certificate: Certificate) { self.init(name: certificate.keyDigest, certificate: certificate.der) }
}

extension MemberCertificates {
    /// What the fabric knows of a member's own certificate.
    fileprivate func note(for member: NodeID) -> MemberCertificate {
        MemberCertificate(
            name: Array(String(member, radix: 16).utf8), until: own.validity.to * 1000,
            authority: authority?.certificate.keyDigest ?? [])
    }
}
