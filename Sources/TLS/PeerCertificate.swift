internal import COpenSSL
#if canImport(Glibc)
    internal import Glibc
#endif

/// What the other side's certificate, which was found to be good, says of it.
package struct PeerCertificate: Equatable, Sendable {
    /// Of its subject; nil when it has none. The last one, where there are several, as for Go's servers.
    package let commonName: String?
    /// What it is for, as names of hosts and as addresses.
    package let names: [String]
    package let addresses: [String]

    /// Nil when the other side showed none.
    init?(of session: OpaquePointer) {
        guard let certificate = SSL_get1_peer_certificate(session) else { return nil }
        defer { X509_free(certificate) }
        commonName = Self.commonName(of: certificate)
        (names, addresses) = Self.places(of: certificate)
    }

    private static func places(of certificate: OpaquePointer) -> (names: [String], addresses: [String]) {
        guard let found = weft_tls_alternative_names(certificate) else { return ([], []) }
        defer { GENERAL_NAMES_free(found) }
        var (names, addresses): ([String], [String]) = ([], [])
        for place in 0..<weft_tls_name_count(found) {
            var kind: Int32 = 0
            var count: Int32 = 0
            guard let start = weft_tls_name(found, place, &kind, &count), count >= 0 else { continue }
            let bytes = Array(UnsafeBufferPointer(start: start, count: Int(count)))
            switch kind {
            case GEN_DNS: names.append(String(decoding: bytes, as: UTF8.self))
            case GEN_IPADD: if let text = Self.text(ofAddress: bytes) { addresses.append(text) }
            default: break
            }
        }
        return (names, addresses)
    }

    private static func text(ofAddress bytes: [UInt8]) -> String? {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        return inet_ntop(family, bytes, &text, socklen_t(text.count)).map { String(cString: $0) }
    }

    private static func commonName(of certificate: OpaquePointer) -> String? {
        guard let subject = X509_get_subject_name(certificate) else { return nil }
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
}
