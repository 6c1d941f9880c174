internal import Access
internal import Certificates
internal import Fabric
internal import MVCC
internal import Raft
package import Replication

/// From the fabric's CA to the next one. There is no gap: the old one vouches for the new one, so that whoever still believes the old one
/// alone takes what the new one signs, and both are believed until all members, and all clients, have gone over.
extension RunningMember {
    /// Makes a CA for a fabric that has none: this member's files hold its key from then on. Members go over to TLS one by one.
    package func foundAuthority(by asker: Asker) async throws(ServerError) {
        guard !access.trust.isThere else { throw .refused(.access(.otherAuthority)) }
        guard !core.isWitness,
            let authority = try? MemberCertificates.foundAuthority(
                of: clusterID, in: core.directory, now: core.wallMilliseconds / 1000)
        else { throw .refused(.access(.cannotSign)) }
        do throws(ServerError) {
            try await change(.addAuthority(Authority(authority), after: []), by: asker)
        } catch {
            // Another member was faster: nobody would believe what this one signs.
            let isBelieved = access.trust.authorities[authority.keyDigest] != nil
            if case .refused = error, !isBelieved { try? MemberCertificates.clear(in: core.directory) }
            throw error
        }
    }

    /// Makes the next CA, and has the fabric believe it beside the one there is. Members then get its key from each other.
    package func rotateAuthority(by asker: Asker) async throws(ServerError) {
        guard let certificates = core.certificates, certificates.authority != nil else {
            throw .refused(.access(access.trust.isThere ? .noAuthorityHere : .noAuthorityAtAll))
        }
        guard access.trust.authorities.all.count == 1 else { throw .refused(.access(.rotationUnderWay)) }
        guard let next = try? certificates.makeNext(now: core.wallMilliseconds / 1000) else {
            throw .refused(.access(.cannotSign))
        }
        let newest = access.trust.newest?.name ?? []
        try await change(.addAuthority(Authority(next.certificate), after: newest), by: asker)
    }

    /// Who has not gone over to the newest CA, in words; empty when nobody is left.
    package struct Stragglers: Sendable {
        package var members: [String]
        package var clients: [String]
        /// Fabrics that this one is paired with, which do not believe the newest CA yet.
        package var pairs: [String]
    }

    package var stragglers: Stragglers {
        let trust = access.trust
        guard let newest = trust.newest?.name else { return Stragglers(members: [], clients: [], pairs: []) }
        let members = membership.entries.filter { trust.members[$0.member.id.hexadecimal]?.authority != newest }
        let clients = trust.enrolments.all.filter { $0.authority != newest && $0.until > core.wallMilliseconds }
        let pairs = appliedFabric.pairs.filter { !$0.isSuspended && !$0.news.believed.contains(newest) }
        return Stragglers(
            members: members.map(\.title),
            clients: clients.map {
                "\(String(decoding: $0.title, as: UTF8.self)) (\(String(decoding: $0.name, as: UTF8.self)))"
            }, pairs: pairs.map(\.name))
    }

    /// Has the fabric believe the newest CA only.
    package func finishRotation(by asker: Asker) async throws(ServerError) {
        try await dropAuthority(by: asker) { $0.number < $1.number }
    }

    /// Gives the newest CA up, whose key no member has.
    package func abandonRotation(by asker: Asker) async throws(ServerError) {
        try await dropAuthority(by: asker) { $0.number > $1.number }
    }

    package func expectRotation() throws(ServerError) {
        guard access.trust.authorities.all.count > 1 else { throw .refused(.access(.noRotation)) }
    }

    private func dropAuthority(
        by asker: Asker, _ goesFirst: (Authority, Authority) -> Bool
    ) async throws(ServerError) {
        try expectRotation()
        guard let going = access.trust.authorities.all.min(by: goesFirst) else {
            throw .refused(.access(.noRotation))
        }
        let members = Set(membership.entries.map(\.member.id.hexadecimal))
        let leaving = access.trust.members.all.map(\.name).filter { !members.contains($0) }
        try await change(.removeAuthority(going.name, leaving: leaving), by: asker)
    }

    // MARK: - Ends

    /// Until when the newest of the fabric's CAs is good, in seconds since 1970; nil where this member does not use it.
    package var authorityEnd: Int64? {
        guard core.certificates != nil, let newest = access.trust.newest else { return nil }
        return (try? Certificate(der: newest.certificate))?.validity.to
    }

    /// The same of this member's own certificate, whoever made it: of the one that ends first.
    package var certificateEnd: Int64? {
        [core.certificates?.own.validity.to, core.serverSettings.broughtCertificateEnd()].compactMap(\.self).min()
    }

    private static let authorityWarningSeconds: Int64 = 366 * 86_400
    private static let memberWarningSeconds: Int64 = 20 * 86_400

    /// What is wrong with the fabric's certificates, or will be soon, in words for operators.
    package var certificateWarnings: [String] {
        let trust = access.trust
        let now = core.wallMilliseconds
        var warnings: [String] = []
        if let end = core.serverSettings.broughtCertificateEnd(), end - now / 1000 < Self.memberWarningSeconds {
            warnings.append(
                "\(name)'s own certificate (--cert-file, --peer-cert-file) expires at \(utcText(seconds: end))")
        }
        guard let newest = trust.newest else { return warnings }
        if trust.authorities.all.count > 1 {
            warnings.append(
                "two CAs are believed: once all have gone over to the new one, end that with `weft ca rotate --finish`")
        }
        if let end = (try? Certificate(der: newest.certificate))?.validity.to,
            end - now / 1000 < Self.authorityWarningSeconds
        {
            warnings.append("the fabric's CA is good until \(utcText(seconds: end)): `weft ca rotate` makes the next")
        }
        let gone = trust.members.all.filter { note in
            !note.knows.isEmpty && !membership.entries.contains { $0.member.id.hexadecimal == note.name }
        }
        if !gone.isEmpty {
            let names = gone.map { String(decoding: $0.name, as: UTF8.self) }.joined(separator: ", ")
            warnings.append(
                "\(names) was taken out and still has the key of the fabric's CA: `weft ca rotate` makes another, if its disk may be in other hands"
            )
        }
        for entry in membership.entries {
            guard let note = trust.members[entry.member.id.hexadecimal],
                note.until > 0, note.until - now < Self.memberWarningSeconds * 1000
            else { continue }
            warnings.append("the certificate of \(entry.title) is good until \(utcText(seconds: note.until / 1000))")
        }
        let late = trust.enrolments.all.filter { $0.role.canBeGiven && isGood($0) && isLate($0, now: now) }
        if !late.isEmpty {
            let names = late.prefix(Self.namesMax).map { String(decoding: $0.title, as: UTF8.self) }
            let more = late.count > names.count ? " and \(late.count - names.count) more" : ""
            warnings.append(
                "clients' certificates end soon and were not renewed: \(names.joined(separator: ", "))\(more); see `weft ca renew --help`"
            )
        }
        return warnings
    }

    private static let namesMax = 10

    /// A client renews its certificate when a third of its life is left; half of that later somebody should look.
    private func isLate(_ enrolment: Enrolment, now: Int64) -> Bool {
        (enrolment.until - now) / 1000 < enrolment.lifeSeconds / 6
    }
}
