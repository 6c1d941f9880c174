internal import COpenSSL

/// A certificate (X.509, version 3). It is never changed once it is made.
package final class Certificate: @unchecked Sendable {
    /// Longer ones are not read.
    package static let bytesMax = 16 << 10

    let pointer: OpaquePointer

    /// - Parameter pointer: OpenSSL's, with a reference that is the new object's from now on.
    package init(_ pointer: OpaquePointer) { self.pointer = pointer }

    package convenience init(der: [UInt8]) throws(CertificateError) {
        guard der.count <= Self.bytesMax,
            let found = Memory.read(der, { d2i_X509_bio($0, nil) })
        else { throw CertificateError("it is no certificate") }
        self.init(found)
        guard self.der == der else { throw CertificateError("it is more than a certificate") }
    }

    deinit { X509_free(pointer) }

    /// The certificates in PEM, in order; other blocks are passed over.
    package static func all(pem: [UInt8]) throws(CertificateError) -> [Certificate] {
        let found = Memory.read(pem) { memory in
            var certificates: [Certificate] = []
            while let next = PEM_read_bio_X509(memory, nil, refusePassphrase, nil) {
                certificates.append(Certificate(next))
            }
            return weft_tls_is_end_of_pem() == 1 ? certificates : nil
        }
        guard let found else { throw CertificateError("a certificate cannot be read") }
        ERR_clear_error()
        return found
    }

    package var pem: [UInt8] { Memory.written { PEM_write_bio_X509($0, pointer) } ?? [] }

    package var der: [UInt8] { Memory.written { i2d_X509_bio($0, pointer) } ?? [] }

    /// Seconds since 1970: from when until when it is good.
    package var validity: (from: Int64, to: Int64) {
        (weft_tls_seconds(X509_get0_notBefore(pointer)), weft_tls_seconds(X509_get0_notAfter(pointer)))
    }

    /// SHA-256 of its public key as a certificate holds it (SubjectPublicKeyInfo): what tells a CA from all others.
    package var keyDigest: [UInt8] { Self.digest(of: X509_get0_pubkey(pointer)) }

    static func digest(of key: OpaquePointer?) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard let bytes = Memory.written({ i2d_PUBKEY_bio($0, key) }),
            EVP_Digest(bytes, bytes.count, &digest, &count, EVP_sha256(), nil) == 1
        else { return [] }
        return Array(digest.prefix(Int(count)))
    }

    /// Lower-case hexadecimal.
    package var serial: String {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(pointer), nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { weft_tls_free(text) }
        return String(cString: text).lowercased()
    }

    /// If it says that it may sign others.
    package var isAuthority: Bool { X509_check_ca(pointer) == 1 }

    /// If the key of another signed it.
    package func isSigned(by other: Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_verify(pointer, X509_get0_pubkey(other.pointer)) == 1
    }

    /// If it is for the public key of `key`.
    package func isFor(_ key: PrivateKey) -> Bool {
        defer { ERR_clear_error() }
        return EVP_PKEY_eq(X509_get0_pubkey(pointer), key.pointer) == 1
    }

    /// Has a TLS context of OpenSSL's show it.
    package func use(with key: PrivateKey, in context: OpaquePointer) -> Bool {
        SSL_CTX_use_certificate(context, pointer) == 1 && SSL_CTX_use_PrivateKey(context, key.pointer) == 1
    }

    /// Has a TLS context of OpenSSL's show it beside the one that is used.
    package func accompany(in context: OpaquePointer) -> Bool { weft_tls_add_chain(context, pointer) == 1 }

    /// Adds it to a store of OpenSSL's of whom to believe.
    package func add(to store: OpaquePointer?) -> Bool { X509_STORE_add_cert(store, pointer) == 1 }

    /// What it is for.
    package var names: CertificateNames {
        var found = CertificateNames()
        guard let names = weft_tls_alternative_names(pointer) else { return found }
        defer { GENERAL_NAMES_free(names) }
        for place in 0..<weft_tls_name_count(names) {
            var kind: Int32 = 0
            var count: Int32 = 0
            guard let start = weft_tls_name(names, place, &kind, &count), count >= 0 else { continue }
            let bytes = Array(UnsafeBufferPointer(start: start, count: Int(count)))
            switch kind {
            case GEN_DNS: found.hosts.append(String(decoding: bytes, as: UTF8.self))
            case GEN_URI: found.uris.append(String(decoding: bytes, as: UTF8.self))
            case GEN_IPADD: if let text = CertificateNames.text(ofAddress: bytes) { found.addresses.append(text) }
            default: break
            }
        }
        return found
    }

    /// Of its subject; nil when it has none. The last one, where there are several, as for Go's servers.
    package var commonName: String? {
        guard let subject = X509_get_subject_name(pointer) else { return nil }
        var place: Int32 = -1
        while true {
            let next = X509_NAME_get_index_by_NID(subject, NID_commonName, place)
            if next < 0 { break }
            place = next
        }
        guard place >= 0, let entry = X509_NAME_get_entry(subject, place) else { return nil }
        var text: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry))
        guard count >= 0, let text else {
            ERR_clear_error()
            return nil
        }
        defer { weft_tls_free(text) }
        return String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self)
    }

    /// Whom the fabric's CA made it for; nil for any other certificate.
    package var fabricName: FabricName? { FabricName(uris: names.uris) }
}

/// What a certificate is for.
package struct CertificateNames: Equatable, Sendable {
    package var hosts: [String] = []
    package var addresses: [String] = []
    package var uris: [String] = []
    /// Of hosts and addresses together, where others ask for them.
    package static let hostsMax = 64

    package init() {}

    /// Hosts as they stand in URLs, each once: those that are addresses as such.
    package init(hosts: [String], for name: FabricName) {
        uris = [name.uri]
        for host in hosts {
            if let bytes = Self.bytes(ofAddress: host), let text = Self.text(ofAddress: bytes) {
                if !addresses.contains(text) { addresses.append(text) }
            } else if case let plain = Self.plain(host), Self.isHost(plain), !self.hosts.contains(plain) {
                self.hosts.append(plain)
            }
        }
    }

    /// Letters, digits and what else the names of hosts have, in plain ASCII.
    private static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
