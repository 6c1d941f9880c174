internal import COpenSSL

/// What the other side's certificate, which was found to be good, says of it.
package struct PeerCertificate: Equatable, Sendable {
    /// Of its subject; nil when it has none. The last one, where there are several, as for Go's servers.
    package let commonName: String?

    /// Nil when the other side showed none.
    init?(of session: OpaquePointer) {
        guard let certificate = SSL_get1_peer_certificate(session) else { return nil }
        defer { X509_free(certificate) }
        commonName = Self.commonName(of: certificate)
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
