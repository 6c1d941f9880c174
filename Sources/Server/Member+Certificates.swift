package import Access
package import Certificates
internal import Fabric
internal import Logging
internal import MVCC
package import Raft
internal import Replication
internal import Storage
internal import Synchronization
internal import Transport

/// The fabric's own CA as far as a member sees to it while it runs.
extension RunningMember {
    private static let interval = Duration.seconds(2)
    /// How often a member that does not sign asks another which CAs there are.
    private static let askingInterval = Duration.seconds(20)

    /// Keeps the files of this member's certificates as the fabric's state and the time would have them, and tells the fabric of them.
    package func keepCertificates() async {
        guard let certificates = core.certificates else { return }
        var (complaint, nextAsking): (String?, ContinuousClock.Instant) = (nil, .now)
        var hasBegun = false
        while !core.isStopping {
            let now = core.wallMilliseconds / 1000
            var found = certificates.complaint(now: now)
            do {
                if appliedIndex >= MemberDisk.foundingIndex, !isWitness { try certificates.believe(foreignAuthorities) }
                if appliedIndex >= MemberDisk.foundingIndex, signs {
                    try await takeCare(of: certificates, now: now)
                } else if ContinuousClock.now >= nextAsking {
                    // Each answer may cost the fabric an entry: what did not help is not asked again at once.
                    nextAsking = .now + (hasBegun ? Self.askingInterval : Self.interval)
                    if try await askAsOneWhoDoesNotSign(certificates, now: now) { hasBegun = true }
                }
            } catch let error as CertificateError {
                found = "certificates cannot be kept: \(error)"
            } catch ServerError.refused(.needsVersion) {
                found =
                    "the fabric is of an earlier version, which knows no CA: `weft upgrade finish`, at a member's socket, lets this one tell of its own"
            } catch {
                // Without a leader: later.
            }
            if let found, found != complaint { core.logger.error("\(found)") }
            complaint = found
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// If this member has a say in who gets certificates.
    private var signs: Bool { core.status.configuration[id]?.signs ?? false }

    private func takeCare(of certificates: MemberCertificates, now: Int64) async throws {
        try await announceAuthority(certificates)
        let trust = access.trust
        guard let newest = trust.newest else { return }
        if try certificates.believe(trust.certificates) { core.logger.notice("other CAs are believed than before") }
        if certificates.authority?.certificate.keyDigest != newest.name {
            if let next = try certificates.next(), next.certificate.keyDigest == newest.name {
                // The fabric hears first that somebody has it: then it cannot be given up.
                try await change(.noteKnower(member: id.hexadecimal, authority: newest.name))
                guard access.trust.newest?.name == newest.name else { return }
                try certificates.takeUp(next, now: now)
            } else {
                try await askForAuthority(certificates, now: now)
            }
        }
        if try certificates.renewIfDue(now: now) { core.logger.notice("this member's certificate was made anew") }
        try await note(certificates.own, of: id)
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
        if known[own.name] == nil {
            try await change(.addAuthority(own, after: access.trust.newest?.name ?? []))
            core.logger.notice("the fabric has a CA of its own; see `weft ca show`")
            let before = access.trust.members.all.map(\.name)
            for former in known.all { try await change(.removeAuthority(former.name, leaving: before)) }
        }
        if access.trust.members[id.hexadecimal]?.knows.contains(own.name) != true {
            try await change(.noteKnower(member: id.hexadecimal, authority: own.name))
        }
    }

    /// Tells the fabric which certificate a member has, if that is new.
    private func note(_ certificate: Certificate, of member: NodeID) async throws {
        guard let issuer = access.trust.certificates.first(where: certificate.isSigned) else { return }
        let seen = SeenCertificate(
            member: member.hexadecimal, until: certificate.validity.to * 1000, authority: issuer.keyDigest,
            key: certificate.keyDigest)
        if !seen.isNoted(in: access.trust) { try await change(.noteMember(seen)) }
    }

    /// Who was taken out and has no key of a CA that is still believed is of no interest any more.
    private func forgetMembers(_ trust: TrustState) async throws {
        for note in trust.members.all where core.status.configuration.member(note.name) == nil {
            if note.knows.isEmpty { try await change(.forgetMember(note.name)) }
        }
    }

    private func change(_ change: TrustChange) async throws(ServerError) {
        try await self.change(change, by: Asker(name: name))
    }

    // MARK: - One member asks another

    /// Asks those that sign, one after the other, until one tells what is of use.
    private func ask<Found>(
        _ wish: CertificateWish, for find: (CertificateAnswer) -> Found?
    ) async -> Found? {
        for member in core.status.configuration.members where member.id != id && member.signs {
            let answer = await core.transport.askForCertificate(wish, of: member.id)
            if let found = answer.flatMap(find) { return found }
        }
        return nil
    }

    /// Has another member tell the key of the newest CA.
    private func askForAuthority(_ certificates: MemberCertificates, now: Int64) async throws {
        let wish = CertificateWish(name: certificates.title, hosts: [], wantsAuthority: true)
        let newest = access.trust.newest?.name
        let next = await ask(wish) { answer in
            (try? CertificateAuthority(pem: answer.authority)).flatMap { $0.certificate.keyDigest == newest ? $0 : nil }
        }
        guard let next else { return }
        try certificates.takeUp(next, now: now)
        core.logger.notice("this member signs with the fabric's newest CA from now on")
    }

    /// Hears which CAs there are, which shows the others this member's certificate, and has another sign when that is due. Answers if one did.
    private func askAsOneWhoDoesNotSign(_ certificates: MemberCertificates, now: Int64) async throws -> Bool {
        var wish = CertificateWish(name: certificates.title, hosts: certificates.hosts)
        guard let answer = await ask(wish, for: { $0 }) else { return false }
        let believed = try Certificate.all(pem: answer.authorities)
        _ = try certificates.believe(believed)
        guard let newest = believed.first else { return false }
        let own = certificates.own
        // No certificate outlives its CA, and one that was made while a clock was ahead is of no use yet.
        let isDue = MemberCertificates.isOld(own, now: now) && own.validity.to != newest.validity.to
        guard isDue || certificates.lacksNames || !own.isSigned(by: newest) || own.validity.from > now else {
            return true
        }
        let key = try PrivateKey()
        wish.request = try CertificateRequest(of: key, commonName: certificates.title).pem()
        guard let answer = await ask(wish, for: { $0 }), !answer.certificate.isEmpty else { return true }
        try certificates.takeUp(answer.certificate, for: key, now: now)
        core.logger.notice("this member's certificate was made anew")
        // The others see it with this question.
        _ = await ask(CertificateWish(name: certificates.title, hosts: [])) { $0 }
        return true
    }

    // MARK: - And is answered

    /// Answers a member by what it shows. A certificate that the fabric does not know, though a CA that is believed signed it, gets nothing: the
    /// key of a CA that is on its way out may be in other hands.
    func answer(_ wish: CertificateWish, of holder: CertificateHolder) async -> CertificateAnswer? {
        guard let member = core.status.configuration[holder.id], let shown = try? Certificate(der: holder.certificate),
            let known = access.trust.members[holder.id.hexadecimal], known.keys.contains(shown.keyDigest)
        else { return nil }
        do {
            try await note(shown, of: holder.id)
            var answer = CertificateAnswer(
                certificate: [], authorities: access.trust.authoritiesPEM, authority: [])
            let isNewest = core.certificates?.authority?.certificate.keyDigest == access.trust.newest?.name
            if wish.wantsAuthority, member.signs, isNewest {
                answer.authority = try await tellAuthority(to: holder.id)
            }
            // By an older CA only for those who would be without.
            if !wish.request.isEmpty, isNewest || MemberCertificates.isOld(shown, now: core.wallMilliseconds / 1000) {
                let request = try CertificateRequest(pem: wish.request)
                let signed = try sign(request, for: holder.id, title: wish.name, hosts: wish.hosts)
                // It shows the one it has until it has the other.
                try await change(
                    .expectKey(request.keyDigest, shown: shown.keyDigest, member: holder.id.hexadecimal))
                answer.certificate = signed.certificate
            }
            return answer
        } catch {
            return nil
        }
    }
}

/// Lets a member's transport, which is there first, answer for it.
final class CertificateSigner: Sendable {
    /// The member has the transport, which has this.
    private struct Known {
        weak var member: RunningMember?
    }
    private let known = Mutex(Known())

    func set(_ member: RunningMember) { known.withLock { $0.member = member } }

    func answer(_ wish: CertificateWish, of holder: CertificateHolder) async -> CertificateAnswer? {
        await known.withLock { $0.member }?.answer(wish, of: holder)
    }
}

extension Authority {
    init(_ certificate: Certificate) { self.init(name: certificate.keyDigest, certificate: certificate.der) }
}

extension TrustState {
    /// The CAs that are believed, the newest first.
    package var certificates: [Certificate] {
        authorities.all.sorted { $0.number > $1.number }.compactMap { try? Certificate(der: $0.certificate) }
    }

    /// The same, PEM.
    package var authoritiesPEM: [UInt8] { certificates.flatMap(\.pem) }
}

extension NodeID {
    /// As names of records have it.
    package var hexadecimal: [UInt8] { Array(String(self, radix: 16).utf8) }
}

extension Member {
    /// If it has a say in who gets certificates: voters that hold data do, and those that will be.
    package var signs: Bool { role == .voter || role == .joining }
}

extension Configuration {
    fileprivate func member(_ name: [UInt8]) -> Member? { members.first { $0.id.hexadecimal == name } }
}
