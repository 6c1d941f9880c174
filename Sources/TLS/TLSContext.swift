internal import COpenSSL
internal import Certificates
#if canImport(Glibc)
    internal import Glibc
#endif

/// Certificate, key and rules of one side, as they were in their files at one time. Thread-safe.
package final class TLSContext: @unchecked Sendable {
    package enum Side: Sendable {
        case client
        case server
    }

    // Not written to once it is made, but for its count of references, which OpenSSL keeps thread-safe.
    let pointer: OpaquePointer
    let settings: TLSSettings
    let side: Side
    private let revoked: RevocationList?
    private let foreign: ForeignAuthorities

    /// - Throws: with a reason that names the file.
    package init(_ settings: TLSSettings, _ side: Side) throws(TLSError) {
        guard let context = SSL_CTX_new(side == .server ? TLS_server_method() : TLS_client_method()) else {
            throw .last("TLS cannot be set up")
        }
        pointer = context
        self.settings = settings
        self.side = side
        var failure: TLSError?
        var list: RevocationList?
        var found = ForeignAuthorities()
        do throws(TLSError) {
            list = try settings.crlFile.map { path throws(TLSError) in try RevocationList(path) }
            if let path = settings.foreignCAFile { found = try Self.foreignAuthorities(path) }
        } catch {
            failure = error
        }
        revoked = list
        foreign = found
        if let failure { throw failure }
        try setRules()
        try useCertificate()
        try setTrust()
        if side == .server {
            SSL_CTX_set_alpn_select_cb(context, selectProtocol, nil)
        }
    }

    deinit { SSL_CTX_free(pointer) }

    private func setRules() throws(TLSError) {
        let highest = settings.highestVersion ?? .tls13
        guard settings.lowestVersion <= highest else {
            throw TLSError("the lowest version \(settings.lowestVersion.rawValue) is above \(highest.rawValue)")
        }
        guard weft_tls_set_versions(pointer, settings.lowestVersion.number, highest.number) == 1 else {
            throw .last("TLS versions cannot be set")
        }
        if side == .server { weft_tls_set_server_modes(pointer) } else { weft_tls_set_client_modes(pointer) }
        // Without names: ephemeral keys and authenticated encryption only.
        let ciphers =
            settings.cipherSuites.isEmpty
            ? "ECDHE+AESGCM:ECDHE+CHACHA20" : try CipherSuites.openSSLNames(settings.cipherSuites)
        guard SSL_CTX_set_cipher_list(pointer, ciphers) == 1 else { throw .last("cipher suites cannot be set") }
    }

    /// Names are those that a certificate gives as such, whole or with a wildcard for the first label: as Go's clients have it.
    static let hostFlags = UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)

    /// Until when the certificate that is shown is good, in seconds since 1970; nil when none is.
    package var certificateEnd: Int64? {
        SSL_CTX_get0_certificate(pointer).map { weft_tls_seconds(X509_get0_notAfter($0)) }
    }

    private func useCertificate() throws(TLSError) {
        guard let certificate = settings.certificateFile else {
            if let pem = settings.certificatePEM { return try useCertificate(pem) }
            guard side == .client else { throw TLSError("a certificate is missing: --cert-file and --key-file") }
            return
        }
        guard let key = settings.keyFile else { throw TLSError("\(certificate) has no key: --key-file is missing") }
        SSL_CTX_set_default_passwd_cb(pointer, refusePassphrase)
        for path in [certificate, key] where access(path, R_OK) != 0 {
            throw TLSError("\(path): \(String(cString: strerror(errno)))")
        }
        guard SSL_CTX_use_certificate_chain_file(pointer, certificate) == 1 else {
            throw .last("\(certificate) is not a certificate that can be read")
        }
        guard SSL_CTX_use_PrivateKey_file(pointer, key, SSL_FILETYPE_PEM) == 1 else {
            throw .last("\(key) is no key without a pass phrase that can be read and fits \(certificate)")
        }
    }

    /// A certificate and its key that are in no file.
    private func useCertificate(_ pem: [UInt8]) throws(TLSError) {
        guard let chain = try? Certificate.all(pem: pem), let own = chain.first, let key = try? PrivateKey(pem: pem),
            own.use(with: key, in: pointer), chain.dropFirst().allSatisfy({ $0.accompany(in: pointer) })
        else { throw .last("the certificate cannot be used") }
    }

    private func setTrust() throws(TLSError) {
        // Any certificate of the file is an anchor, an intermediate one, too, as in etcd.
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(pointer), UInt(X509_V_FLAG_PARTIAL_CHAIN))
        if let trusted = settings.trustedCAFile {
            guard SSL_CTX_load_verify_locations(pointer, trusted, nil) == 1 else {
                throw .last("\(trusted) has no certificates that can be read")
            }
            if side == .server {
                guard let names = SSL_load_client_CA_file(trusted) else {
                    throw .last("\(trusted) has no certificates that can be read")
                }
                SSL_CTX_set_client_CA_list(pointer, names)
                let store = SSL_CTX_get_cert_store(pointer)
                for authority in foreign.certificates {
                    // Not among the names that clients are told: these may be long, and members show what they have.
                    guard authority.add(to: store) else {
                        throw .last("\(settings.foreignCAFile ?? "") has a CA that cannot be used")
                    }
                }
            }
        } else if let pem = settings.trustedPEM {
            let store = SSL_CTX_get_cert_store(pointer)
            guard let trusted = try? Certificate.all(pem: pem), trusted.allSatisfy({ $0.add(to: store) }) else {
                throw .last("the CAs cannot be used")
            }
        } else if side == .client, !settings.trustsAnybody {
            guard SSL_CTX_set_default_verify_paths(pointer) == 1 else {
                throw .last("this machine has no certificates to trust; see --cacert")
            }
        }
        let mode =
            side == .client
            ? (settings.trustsAnybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER)
            : settings.trustedCAFile == nil
                ? SSL_VERIFY_NONE
                : SSL_VERIFY_PEER | (settings.letsStrangersIn ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT)
        SSL_CTX_set_verify(pointer, mode, nil)
    }

    private static func foreignAuthorities(_ path: String) throws(TLSError) -> ForeignAuthorities {
        guard access(path, F_OK) == 0 else { return ForeignAuthorities() }
        guard let file = BIO_new_file(path, "r") else { throw .last("\(path) cannot be read") }
        defer { BIO_free(file) }
        var bytes: [UInt8] = []
        var portion = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = BIO_read(file, &portion, Int32(portion.count))
            if count <= 0 { break }
            bytes += portion.prefix(Int(count))
        }
        do throws(CertificateError) { return try ForeignAuthorities(text: bytes) } catch {
            throw TLSError("\(path): \(error)")
        }
    }

    /// What the other side's certificate says; nil when it showed none.
    func peerCertificate(of session: OpaquePointer) -> PeerCertificate? {
        guard !foreign.isEmpty, let chain = SSL_get0_verified_chain(session),
            let root = weft_tls_certificate(chain, weft_tls_certificates(chain) - 1)
        else { return PeerCertificate(of: session, by: settings.trust, issuer: nil) }
        X509_up_ref(root)
        let key = Certificate(root).keyDigest
        let issuer = foreign.fabric(of: key).map { ForeignIssuer(fabric: $0, key: key) }
        return PeerCertificate(of: session, by: settings.trust, issuer: issuer)
    }

    /// What OpenSSL does not look at by itself once it trusts a certificate.
    func check(_ session: OpaquePointer) throws(TLSError) {
        if !foreign.isEmpty, let shown = peerCertificate(of: session), !shown.isOfItsIssuer {
            throw TLSError("its certificate is from another fabric's CA, and for none of its members")
        }
        guard let certificate = SSL_get1_peer_certificate(session) else {
            guard side == .server, settings.trustedCAFile == nil || settings.letsStrangersIn else {
                throw TLSError("it shows no certificate")
            }
            return
        }
        defer { X509_free(certificate) }
        if let revoked {
            guard let chain = SSL_get0_verified_chain(session) else {
                throw TLSError("whether its certificate is revoked cannot be told")
            }
            for place in 0..<weft_tls_certificates(chain) {
                if let certificate = weft_tls_certificate(chain, place), revoked.contains(certificate) {
                    throw TLSError("its certificate, or one of its issuers', is revoked")
                }
            }
        }
        if let name = settings.allowedCommonName, peerCertificate(of: session)?.commonName != name {
            throw TLSError("its certificate does not call itself \(name)")
        }
        if side == .server, let name = settings.allowedHostname,
            X509_check_ip_asc(certificate, name, 0) != 1,
            X509_check_host(certificate, name, name.utf8.count, Self.hostFlags, nil) != 1
        {
            throw TLSError("its certificate is not for \(name)")
        }
    }
}

extension TLSSettings.Version {
    fileprivate var number: Int32 { self == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION }
}

/// HTTP/2 if the client knows it, else HTTP/1.1; a client that names neither is refused (RFC 7301, section 3.2).
private let selectProtocol:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
        UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
    ) -> Int32 = { _, chosen, length, offered, count, _ in
        guard let offered else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        let bytes = UnsafeBufferPointer(start: offered, count: Int(count))
        for wanted in ["h2", "http/1.1"] {
            var place = 0
            while place < bytes.count {
                let size = Int(bytes[place])
                let end = min(place + 1 + size, bytes.count)
                if bytes[(place + 1)..<end].elementsEqual(wanted.utf8) {
                    chosen?.pointee = offered + place + 1
                    length?.pointee = UInt8(size)
                    return SSL_TLSEXT_ERR_OK
                }
                place = end
            }
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
