package import Certificates
internal import COpenSSL

/// What the other side's certificate, which was found to be good, says of it.
package struct PeerCertificate: Equatable, Sendable {
    /// What its subject calls itself; nil when it does not, and where only a fabric's names count.
    package let commonName: String?
    /// What it is for, as names of hosts and as addresses.
    package let names: [String]
    package let addresses: [String]
    /// Whom a fabric's CA made it for; nil where another CA is trusted, whatever the certificate says.
    package let fabricName: FabricName?
    /// The other fabric's CA that made it. It names nobody of this one.
    package let foreignIssuer: ForeignIssuer?
    /// False when another fabric's CA made it for anybody but a member of that fabric.
    let isOfItsIssuer: Bool
    /// DER; empty where another CA is trusted.
    package let der: [UInt8]
    /// Until when it is good: seconds since 1970.
    package let until: Int64

    /// Nil when the other side showed none.
    /// - Parameter issuer: the other fabric's CA that made it; nil when it was none.
    init?(of session: OpaquePointer, by trust: TLSSettings.Trust, issuer: ForeignIssuer?) {
        guard let pointer = SSL_get1_peer_certificate(session) else { return nil }
        let certificate = Certificate(pointer)
        let found = certificate.names
        (names, addresses, until) = (found.hosts, found.addresses, certificate.validity.to)
        foreignIssuer = issuer
        if let issuer {
            let isMember = if case .member(issuer.fabric, _)? = FabricName(uris: found.uris) { true } else { false }
            (commonName, fabricName, der, isOfItsIssuer) = (nil, nil, [], isMember)
            return
        }
        isOfItsIssuer = true
        switch trust {
        case .hosts: (commonName, fabricName, der) = (certificate.commonName, nil, [])
        case .fabric: (commonName, fabricName, der) = (nil, FabricName(uris: found.uris), certificate.der)
        }
    }
}
