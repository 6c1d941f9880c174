package import Certificates

/// Whom a caller wants at the other end.
package enum Expected: Equatable, Sendable {
    /// Whoever has a certificate for this name or address.
    case host(String)
    /// This member, wherever it is; without one, any member of the fabric whose CA is trusted.
    case member(FabricName?)

    /// What OpenSSL does not look at: it knows hosts.
    func check(_ certificate: PeerCertificate?) throws(TLSError) {
        guard case .member(let wanted) = self else { return }
        guard let found = certificate?.fabricName, case .member = found else {
            throw TLSError("its certificate is no member's")
        }
        if let wanted, wanted != found { throw TLSError("its certificate is for \(found.uri), not for \(wanted.uri)") }
    }
}
