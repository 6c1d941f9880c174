internal import Access
package import Certificates
package import Logging
package import Storage
internal import Synchronization

/// A member's certificate and what belongs to it, where the fabric has a CA of its own: files in `tls` in the data directory, which
/// both ports read again when they change.
package final class MemberCertificates: Sendable {
    private static let day: Int64 = 86_400
    /// Members' certificates are good for so long, and made anew after two thirds of it.
    package static let lifeSeconds = 90 * day
    private static let renewalSeconds = lifeSeconds / 3

    private struct State {
        /// The CA with its key; nil at members that sign nothing: witnesses.
        var authority: CertificateAuthority?
        var own: Certificate
        /// As `ca.pem` has them.
        var believed: [[UInt8]]
        /// As `pairs.pem` is; nil while nobody has looked.
        var foreign: [UInt8]?
        /// In this process.
        var hasAskedForNames = false
    }

    private let files: TLSFiles
    private let name: FabricName
    private let fabric: UInt64
    /// By which clients and peers reach this member.
    let hosts: [String]
    let title: String
    private let state: Mutex<State>

    /// The CAs that are believed, PEM.
    package var trustPath: String { files.trust }
    /// CAs of other fabrics, as `ForeignAuthorities` has them.
    package var foreignPath: String { files.foreign }
    /// The own certificate, those of its issuers, and its key, PEM.
    package var memberPath: String { files.member }

    /// Reads what is there, and makes what a member may make by itself.
    /// - Parameters:
    ///   - hosts: names and addresses that clients reach this member by.
    ///   - founds: if there may be no CA yet.
    ///   - now: seconds since 1970.
    /// - Throws: `unusable`, with what to do.
    package init(
        in directory: DataDirectory, of identity: Identity, hosts: [String], founds: Bool, now: Int64, _ logger: Logger
    ) throws(StorageError) {
        files = TLSFiles(in: directory)
        try files.make()
        (fabric, title) = (identity.clusterID, identity.name)
        name = .member(fabric: fabric, id: identity.memberID)
        self.hosts = hosts
        let (files, name, title) = (files, name, title)
        do throws(CertificateError) {
            var authority = try files.read(files.authority).map { pem throws(CertificateError) in
                try CertificateAuthority(pem: pem)
            }
            if authority == nil, founds {
                authority = try Self.foundAuthority(of: fabric, to: files, now: now)
            }
            let known = try files.read(files.member).map { pem throws(CertificateError) in try Certificate.all(pem: pem)
            }
            let own: Certificate
            if let authority, known?.first.map({ Self.isDue($0, name, hosts, by: authority, now: now) }) ?? true {
                own = try Self.issue(by: authority, to: files, name, title, hosts, now: now)
            } else if let known = known?.first, known.fabricName == name {
                own = known
            } else {
                throw CertificateError(
                    "this member has no certificate of its fabric's CA: `weft token create --member \(title)` at another member and `weft join` with the token here, or bring certificates (--cert-file, --peer-cert-file)"
                )
            }
            let believed = try Certificate.all(pem: try files.read(files.trust) ?? []).map(\.der)
            state = Mutex(State(authority: authority, own: own, believed: believed))
        } catch {
            throw .unusable("\(files.folder): \(error)")
        }
        // The member has begun: what it joined with is of no use any more.
        if !directory.isFresh() { try File.remove(files.joining) }
        if let complaint = complaint(now: now) { logger.error("\(complaint)") }
    }

    /// If it is time to make a certificate anew.
    private static func isDue(
        _ own: Certificate, _ name: FabricName, _ hosts: [String], by authority: CertificateAuthority, now: Int64
    ) -> Bool {
        own.names != CertificateNames(hosts: hosts, for: name) || !own.isSigned(by: authority.certificate)
            // It was made while the clock was ahead.
            || own.validity.from > now && authority.certificate.validity.from <= now
            // No certificate outlives its CA.
            || isOld(own, now: now) && own.validity.to != authority.certificate.validity.to
    }

    static func isOld(_ own: Certificate, now: Int64) -> Bool { own.validity.to - now < renewalSeconds }

    private static func issue(
        by authority: CertificateAuthority, to files: TLSFiles, _ name: FabricName, _ title: String, _ hosts: [String],
        now: Int64
    ) throws(CertificateError) -> Certificate {
        let key = try PrivateKey()
        let made = try authority.issue(
            try CertificateRequest(of: key, commonName: title), commonName: title,
            names: CertificateNames(hosts: hosts, for: name), for: .member, now: now, seconds: lifeSeconds)
        try files.write(authority.chain(made) + (try key.pem()), to: files.member)
        return made
    }

    // MARK: - While it runs

    /// The CA, where this member signs for others.
    package var authority: CertificateAuthority? { state.withLock { $0.authority } }

    /// If names by which the member is reached are missing in its certificate, and nobody was asked for them yet: those at which others
    /// are reached it does not get.
    var lacksNames: Bool {
        state.withLock { state in
            let (names, wanted) = (state.own.names, CertificateNames(hosts: hosts, for: name))
            return !state.hasAskedForNames
                && !(wanted.hosts + wanted.addresses).allSatisfy((names.hosts + names.addresses).contains)
        }
    }

    /// The member's own.
    package var own: Certificate { state.withLock { $0.own } }

    /// Why TLS does not work at this time by this machine's clock, in words for operators; nil when it does.
    func complaint(now: Int64) -> String? {
        let (authority, own) = state.withLock { ($0.authority, $0.own) }
        let isBeforeAuthority = authority.map { now < $0.certificate.validity.from } ?? false
        if isBeforeAuthority || now < own.validity.from {
            return
                "this machine's clock says \(utcText(seconds: now)), before \(isBeforeAuthority ? "the fabric's CA" : "this member's certificate") was made: nobody is believed here, and nobody believes this member, until it is set right"
        }
        if let end = authority?.certificate.validity.to, now > end {
            return
                "the fabric's CA was good until \(utcText(seconds: end)): see docs/security.md, \"a CA that is past its time\""
        }
        return own.validity.to < now
            ? "this member's certificate was good until \(utcText(seconds: own.validity.to)), and it has not the CA's key to make another: `weft token create --member \(title)` at another member, then `weft join` with the token here"
            : nil
    }

    /// Makes the own certificate anew once two thirds of its life are over. Answers if it did.
    func renewIfDue(now: Int64) throws(CertificateError) -> Bool {
        guard let authority, now >= authority.certificate.validity.from,
            Self.isDue(own, name, hosts, by: authority, now: now)
        else { return false }
        let made = try Self.issue(by: authority, to: files, name, title, hosts, now: now)
        state.withLock { $0.own = made }
        return true
    }

    /// Believes just these CAs from now on. Answers if that is new.
    func believe(_ authorities: [Certificate]) throws(CertificateError) -> Bool {
        let wanted = authorities.map(\.der)
        guard !wanted.isEmpty, wanted != state.withLock({ $0.believed }) else { return false }
        try files.write(authorities.flatMap(\.pem), to: files.trust)
        state.withLock { $0.believed = wanted }
        return true
    }

    /// Believes just these CAs of other fabrics from now on.
    func believe(_ foreign: ForeignAuthorities) throws(CertificateError) {
        let wanted = foreign.text
        var known = state.withLock { $0.foreign }
        if known == nil { known = try files.read(files.foreign) ?? [] }
        if wanted != known { try files.write(wanted, to: files.foreign) }
        state.withLock { $0.foreign = wanted }
    }

    // MARK: - From a CA to the next

    /// Makes the CA that comes after this one. It signs nothing before it is taken up.
    func makeNext(now: Int64) throws(CertificateError) -> CertificateAuthority {
        guard let authority else { throw CertificateError("this member has no CA's key") }
        // One that the fabric never heard of, as far as anybody knows: it may yet.
        if let known = try next(), known.bridges.contains(where: { $0.isSigned(by: authority.certificate) }) {
            return known
        }
        let next = try CertificateAuthority(after: authority, of: fabric, now: now)
        try files.write(try next.pem(), to: files.next)
        return next
    }

    /// The one that was made and is not taken up yet.
    func next() throws(CertificateError) -> CertificateAuthority? {
        try files.read(files.next).map { pem throws(CertificateError) in try CertificateAuthority(pem: pem) }
    }

    /// Signs with another CA from now on.
    func takeUp(_ next: CertificateAuthority, now: Int64) throws(CertificateError) {
        try files.write(try next.pem(), to: files.authority)
        try files.remove(files.next)
        state.withLock { $0.authority = next }
        _ = try renewIfDue(now: now)
    }

    /// Takes up a certificate that another member signed, where this one cannot.
    /// - Parameters:
    ///   - chain: PEM.
    ///   - key: that it was asked for.
    func takeUp(_ chain: [UInt8], for key: PrivateKey, now: Int64) throws(CertificateError) {
        guard let made = try Certificate.all(pem: chain).first, made.isFor(key), made.fabricName == name else {
            throw CertificateError("the certificate that was answered is another's")
        }
        guard made.validity.from <= now else {
            throw CertificateError("the certificate that was answered begins later: a clock here or there is wrong")
        }
        try files.write(chain + (try key.pem()), to: files.member)
        state.withLock { ($0.own, $0.hasAskedForNames) = (made, true) }
    }
}
