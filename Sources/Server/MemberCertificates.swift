internal import Access
package import Certificates
package import Logging
package import Storage
internal import Synchronization

/// A member's certificate and what belongs to it, where the fabric has a CA of its own: three files in `tls` in the data directory, which
/// both ports read again when they change.
package final class MemberCertificates: Sendable {
    /// Days are counted in seconds.
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
    }

    /// The CAs that are believed, PEM.
    package var trustPath: String { paths.trust }
    /// The own certificate, those of its issuers, and its key, PEM.
    package var memberPath: String { paths.member }
    private let paths: TLSPaths
    private let name: FabricName
    private let hosts: [String]
    private let title: String
    private let state: Mutex<State>

    /// Reads what is there, and makes what a member may make by itself.
    /// - Parameters:
    ///   - hosts: names and addresses that clients reach this member by.
    ///   - founds: if there may be no CA yet.
    ///   - now: seconds since 1970.
    /// - Throws: `unusable`, with what to do.
    package init(
        in directory: DataDirectory, of identity: Identity, hosts: [String], founds: Bool, now: Int64, _ logger: Logger
    ) throws(StorageError) {
        paths = TLSPaths(in: directory)
        try paths.make()
        name = .member(fabric: identity.clusterID, id: identity.memberID)
        title = identity.name
        self.hosts = hosts
        do throws(CertificateError) {
            state = Mutex(
                try Self.open(
                    paths, founds ? identity.clusterID : nil, for: name, identity.name, hosts, now: now, logger))
        } catch {
            throw .unusable("\(paths.folder): \(error)")
        }
    }

    private static func open(
        _ paths: TLSPaths, _ fabric: UInt64?, for name: FabricName, _ title: String, _ hosts: [String], now: Int64,
        _ logger: Logger
    ) throws(CertificateError) -> State {
        var authority = try paths.read(paths.authority).map { pem throws(CertificateError) in
            try CertificateAuthority(pem: pem)
        }
        if authority == nil, let fabric {
            let made = try CertificateAuthority(of: fabric, now: now)
            try paths.write(try made.pem(), to: paths.authority)
            try paths.write(made.certificate.pem, to: paths.trust)
            authority = made
        }
        if let begin = authority?.certificate.validity.from, now < begin {
            logger.error(
                "this machine's clock stands before the fabric's CA was made: nothing that uses TLS works until it is set right"
            )
        }
        let believed = try Certificate.all(pem: try paths.read(paths.trust) ?? []).map(\.der)
        let known = try paths.read(paths.member).map { pem throws(CertificateError) in try Certificate.all(pem: pem) }?
            .first
        if let authority, known.map({ isDue($0, for: name, hosts, by: authority, now: now) }) ?? true {
            let own = try issue(by: authority, to: paths.member, for: name, title, hosts, now: now)
            return State(authority: authority, own: own, believed: believed)
        }
        guard let known, known.fabricName == name else {
            throw CertificateError("this member has no certificate of its fabric's CA")
        }
        if known.validity.to <= now {
            logger.error("this member's certificate is past its time, and it has not the key of the CA to make another")
        }
        return State(authority: authority, own: known, believed: believed)
    }

    /// If a certificate is to be made anew.
    private static func isDue(
        _ own: Certificate, for name: FabricName, _ hosts: [String], by authority: CertificateAuthority, now: Int64
    ) -> Bool {
        own.names != CertificateNames(hosts: hosts, for: name) || !own.isSigned(by: authority.certificate)
            || (now >= authority.certificate.validity.from && own.validity.to - now < renewalSeconds)
    }

    private static func issue(
        by authority: CertificateAuthority, to path: String, for name: FabricName, _ title: String, _ hosts: [String],
        now: Int64
    ) throws(CertificateError) -> Certificate {
        let key = try PrivateKey()
        let made = try authority.issue(
            try CertificateRequest(of: key, commonName: title), commonName: title,
            names: CertificateNames(hosts: hosts, for: name), for: .member, now: now, seconds: lifeSeconds)
        try TLSPaths.write(made.pem + (try key.pem()), to: path)
        return made
    }

    // MARK: - While it runs

    /// The CA, where this member signs for others.
    package var authority: CertificateAuthority? { state.withLock { $0.authority } }

    /// The member's own.
    package var own: Certificate { state.withLock { $0.own } }

    /// Makes the own certificate anew once two thirds of its life are over. Answers if it did.
    package func renewIfDue(now: Int64) throws(CertificateError) -> Bool {
        guard let authority, Self.isDue(own, for: name, hosts, by: authority, now: now) else { return false }
        let made = try Self.issue(by: authority, to: memberPath, for: name, title, hosts, now: now)
        state.withLock { $0.own = made }
        return true
    }

    /// Believes just these CAs from now on. Answers if that is new.
    func believe(_ authorities: [Authority]) throws(CertificateError) -> Bool {
        let wanted = authorities.map(\.certificate)
        guard !wanted.isEmpty, wanted != state.withLock({ $0.believed }) else { return false }
        var pem: [UInt8] = []
        for der in wanted { pem += try Certificate(der: der).pem }
        try TLSPaths.write(pem, to: trustPath)
        state.withLock { $0.believed = wanted }
        return true
    }
}

/// The files of a member's TLS, private as all in the data directory.
struct TLSPaths {
    let folder: String
    var trust: String { folder + "/ca.pem" }
    /// The CA's certificate and key.
    var authority: String { folder + "/ca.key" }
    var member: String { folder + "/member.pem" }
    /// The key of a machine that is about to join.
    var joining: String { folder + "/joining.key" }
    private static let fileBytesMax = 1 << 20

    init(in directory: DataDirectory) { folder = directory.path + "/tls" }

    func make() throws(StorageError) { _ = try File.makeDirectory(folder, mode: 0o700) }

    /// Nil when there is none.
    func read(_ path: String) throws(CertificateError) -> [UInt8]? {
        guard File.exists(path) else { return nil }
        do throws(StorageError) {
            return try File(path, .read).read(at: 0, count: Self.fileBytesMax)
        } catch {
            throw CertificateError("\(error)")
        }
    }

    func write(_ bytes: [UInt8], to path: String) throws(CertificateError) { try Self.write(bytes, to: path) }

    static func write(_ bytes: [UInt8], to path: String) throws(CertificateError) {
        do throws(StorageError) { try File.replace(path, with: bytes) } catch { throw CertificateError("\(error)") }
    }
}

// MARK: - Joining

extension MemberCertificates {
    /// What a fabric answered to a newcomer.
    package struct Admitted: Sendable {
        /// PEM.
        package var certificate: [UInt8]
        package var authorities: [UInt8]
        /// The CA with its key; empty for members that sign nothing.
        package var authority: [UInt8]

        package init(certificate: [UInt8], authorities: [UInt8], authority: [UInt8]) {
            self.certificate = certificate
            self.authorities = authorities
            self.authority = authority
        }
    }

    /// The files of a member that has, or gets, a certificate: whom it believes, and what it shows.
    package static func files(in directory: DataDirectory) -> (trust: String, member: String) {
        let paths = TLSPaths(in: directory)
        return (paths.trust, paths.member)
    }

    /// The key with which this machine asks to join: the same one until it has joined, for an answer can be lost.
    package static func joiningKey(in directory: DataDirectory) throws(StorageError) -> PrivateKey {
        let paths = TLSPaths(in: directory)
        try paths.make()
        do throws(CertificateError) {
            if let pem = try paths.read(paths.joining) { return try PrivateKey(pem: pem) }
            let key = try PrivateKey()
            try paths.write(try key.pem(), to: paths.joining)
            return key
        } catch {
            throw .unusable("\(paths.joining): \(error)")
        }
    }

    /// Believes this CA alone, which a join token names.
    package static func believe(_ authority: Certificate, in directory: DataDirectory) throws(StorageError) {
        let paths = TLSPaths(in: directory)
        try paths.make()
        try File.replace(paths.trust, with: authority.pem)
    }

    /// Takes up what a fabric answered.
    /// - Throws: when that is not what was asked for.
    package static func accept(
        _ admitted: Admitted, for name: FabricName, _ key: PrivateKey, in directory: DataDirectory
    ) throws(StorageError) {
        let paths = TLSPaths(in: directory)
        do throws(CertificateError) {
            guard let own = try Certificate.all(pem: admitted.certificate).first, own.isFor(key), own.fabricName == name
            else { throw CertificateError("the certificate is another's") }
            let believed = try Certificate.all(pem: admitted.authorities)
            guard believed.contains(where: { own.isSigned(by: $0) }) else {
                throw CertificateError("the certificate was signed by none of the fabric's CAs")
            }
            if !admitted.authority.isEmpty {
                try paths.write(try CertificateAuthority(pem: admitted.authority).pem(), to: paths.authority)
            }
            try paths.write(believed.flatMap(\.pem), to: paths.trust)
            try paths.write(admitted.certificate + (try key.pem()), to: paths.member)
        } catch {
            throw .unusable("what the fabric answered cannot be used: \(error)")
        }
        try File.remove(paths.joining)
    }

    /// Nothing of a join that came to nothing stays.
    package static func clear(in directory: DataDirectory) throws(StorageError) {
        let paths = TLSPaths(in: directory)
        for path in [paths.trust, paths.authority, paths.member, paths.joining] { try File.remove(path) }
    }
}
