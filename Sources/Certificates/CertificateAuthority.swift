internal import COpenSSL

/// A certificate with its key that signs others: a fabric's own CA.
package final class CertificateAuthority: Sendable {
    /// Ten years: rotation is an operator's decision.
    package static let lifeSeconds: Int64 = 3652 * 86_400
    /// Clocks differ by a little.
    private static let slackSeconds: Int64 = 300

    package let certificate: Certificate
    package let key: PrivateKey
    /// Certificates for the same key by CAs of before: they go with what this one signs.
    package let bridges: [Certificate]

    /// Makes a new one.
    /// - Parameter now: seconds since 1970.
    package convenience init(of fabric: UInt64, now: Int64) throws(CertificateError) {
        let key = try PrivateKey()
        let draft = try Draft(
            commonName: "weft fabric \(String(fabric, radix: 16)) CA \(Self.chance())", key: key.pointer,
            from: now - Self.slackSeconds,
            to: now + Self.lifeSeconds)
        try draft.add(NID_basic_constraints, "critical,CA:TRUE,pathlen:1")
        try draft.add(NID_key_usage, "critical,keyCertSign,cRLSign")
        try self.init(try draft.signed(by: key, issuer: nil), key)
    }

    /// Makes the one that comes after another, which vouches for it.
    package convenience init(
        after former: CertificateAuthority, of fabric: UInt64, now: Int64
    ) throws(CertificateError) {
        let next = try CertificateAuthority(of: fabric, now: now)
        try self.init(next.certificate, next.key, bridges: [try former.vouch(for: next.certificate, now: now)])
    }

    /// Tells two CAs of one fabric apart by their names, too.
    private static func chance() -> String { String(UInt32.random(in: .min ... .max), radix: 16) }

    /// - Throws: when the certificate is not for the key, or is no CA's.
    package init(
        _ certificate: Certificate, _ key: PrivateKey, bridges: [Certificate] = []
    ) throws(CertificateError) {
        guard ([certificate] + bridges).allSatisfy({ $0.isFor(key) && $0.isAuthority }) else {
            throw CertificateError("the key is not that of the CA's certificate")
        }
        self.bridges = bridges
        self.certificate = certificate
        self.key = key
    }

    /// The certificate, the bridges, the key.
    package convenience init(pem: [UInt8]) throws(CertificateError) {
        let certificates = try Certificate.all(pem: pem)
        guard let certificate = certificates.first else { throw CertificateError("it has no certificate") }
        try self.init(certificate, PrivateKey(pem: pem), bridges: Array(certificates.dropFirst()))
    }

    package func pem() throws(CertificateError) -> [UInt8] {
        certificate.pem + bridges.flatMap(\.pem) + (try key.pem())
    }

    /// What is shown along with a certificate that this CA signed, PEM.
    package func chain(_ signed: Certificate) -> [UInt8] { signed.pem + bridges.flatMap(\.pem) }

    /// What a certificate is good for.
    package enum Use: Sendable {
        /// To be called and to call.
        case member
        /// To call.
        case client
    }

    /// Signs the key of a request. What the request says besides counts for nothing.
    /// - Parameter seconds: how long it is good; never beyond the CA itself.
    package func issue(
        _ request: CertificateRequest, commonName: String, names: CertificateNames, for use: Use, now: Int64,
        seconds: Int64
    ) throws(CertificateError) -> Certificate {
        let end = min(now + seconds, certificate.validity.to)
        let draft = try Draft(
            commonName: commonName, key: X509_REQ_get0_pubkey(request.pointer), from: now - Self.slackSeconds, to: end)
        try draft.add(NID_basic_constraints, "critical,CA:FALSE")
        try draft.add(NID_key_usage, "critical,digitalSignature")
        try draft.add(NID_ext_key_usage, use == .member ? "serverAuth,clientAuth" : "clientAuth")
        try draft.set(names)
        return try draft.signed(by: key, issuer: certificate)
    }

    /// Vouches for another: whoever believes only this one takes what the other signed, with this beside it.
    func vouch(for other: Certificate, now: Int64) throws(CertificateError) -> Certificate {
        let draft = try Draft(
            subject: X509_get_subject_name(other.pointer), key: X509_get0_pubkey(other.pointer),
            from: now - Self.slackSeconds, to: min(other.validity.to, certificate.validity.to))
        try draft.add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
        try draft.add(NID_key_usage, "critical,keyCertSign,cRLSign")
        return try draft.signed(by: key, issuer: certificate)
    }
}

/// A certificate that is not signed yet.
private final class Draft {
    private let pointer: OpaquePointer
    private static let version3 = 2
    private static let serialBytes = 16

    convenience init(commonName: String, key: OpaquePointer?, from: Int64, to: Int64) throws(CertificateError) {
        guard let name = X509_NAME_new() else { throw CertificateError("a certificate cannot be made") }
        defer { X509_NAME_free(name) }
        guard Subject.set(commonName, of: name) else {
            throw CertificateError("\"\(commonName)\" cannot be a certificate's name: it has 1 to 64 characters")
        }
        try self.init(subject: name, key: key, from: from, to: to)
    }

    init(subject: OpaquePointer?, key: OpaquePointer?, from: Int64, to: Int64) throws(CertificateError) {
        guard let made = X509_new() else { throw CertificateError("a certificate cannot be made") }
        pointer = made
        // The first bit stays clear: the number is not negative.
        var serial = [UInt8](repeating: 0, count: Self.serialBytes)
        guard RAND_bytes(&serial, Int32(serial.count)) == 1 else {
            throw CertificateError("there is no chance to be had")
        }
        serial[0] = serial[0] & 0x7f | 0x40
        guard X509_set_version(made, Self.version3) == 1, X509_set_subject_name(made, subject) == 1,
            X509_set_pubkey(made, key) == 1, weft_tls_set_times(made, from, to) == 1,
            weft_tls_set_serial(made, serial, Int32(serial.count)) == 1
        else { throw CertificateError("a certificate cannot be made") }
    }

    deinit { X509_free(pointer) }

    func add(_ kind: Int32, _ value: String) throws(CertificateError) {
        guard weft_tls_add_extension(pointer, nil, kind, value) == 1 else {
            throw CertificateError("a certificate cannot say \(value)")
        }
    }

    func set(_ names: CertificateNames) throws(CertificateError) {
        guard let list = weft_tls_make_names() else { throw CertificateError("a certificate cannot be made") }
        defer { GENERAL_NAMES_free(list) }
        let all =
            names.uris.map { (GEN_URI, Array($0.utf8)) } + names.hosts.map { (GEN_DNS, Array($0.utf8)) }
            + names.addresses.compactMap { text in CertificateNames.bytes(ofAddress: text).map { (GEN_IPADD, $0) } }
        for (kind, bytes) in all where weft_tls_add_name(list, kind, bytes, Int32(bytes.count)) != 1 {
            throw CertificateError("a certificate cannot be made")
        }
        guard weft_tls_set_names(pointer, list) == 1 else { throw CertificateError("a certificate cannot be made") }
    }

    /// - Parameter issuer: nil when it signs itself.
    func signed(by key: PrivateKey, issuer: Certificate?) throws(CertificateError) -> Certificate {
        guard X509_set_issuer_name(pointer, X509_get_subject_name(issuer?.pointer ?? pointer)) == 1,
            weft_tls_add_extension(pointer, issuer?.pointer ?? pointer, NID_subject_key_identifier, "hash") == 1,
            weft_tls_add_extension(pointer, issuer?.pointer ?? pointer, NID_authority_key_identifier, "keyid:always")
                == 1,
            X509_sign(pointer, key.pointer, EVP_sha256()) > 0, X509_up_ref(pointer) == 1
        else { throw CertificateError("a certificate cannot be signed") }
        return Certificate(pointer)
    }
}
