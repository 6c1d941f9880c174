/// How a port or a caller speaks TLS. Files are PEM; their content may change while they are in use.
package struct TLSSettings: Equatable, Sendable {
    package enum Version: String, CaseIterable, Comparable, Sendable {
        case tls12 = "TLS1.2"
        case tls13 = "TLS1.3"

        package static func < (a: Version, b: Version) -> Bool { a == .tls12 && b == .tls13 }
    }

    /// A certificate, then those of its issuers.
    package var certificateFile: String?
    package var keyFile: String?
    /// Whom the other side's certificate must be from. As in etcd, a server that has it demands a certificate of each client.
    package var trustedCAFile: String?
    /// What the names in a certificate of these CAs say.
    package enum Trust: Sendable {
        /// Hosts, and what subjects call themselves: any CA.
        case hosts
        /// Members and clients of one fabric, whose own CA it is: a client expects a member at the other end, wherever that is.
        case fabric
    }

    package var trust = Trust.hosts
    /// Of a server: CAs of other fabrics, as `ForeignAuthorities` has them, whose members come here, too. It may be missing.
    package var foreignCAFile: String?
    /// A server with a CA lets those in, too, who show no certificate.
    package var letsStrangersIn = false
    /// The same as they are: a certificate with its key, and CAs; PEM. Files beat them.
    package var certificatePEM: [UInt8]?
    package var trustedPEM: [UInt8]?
    /// PEM or DER.
    package var crlFile: String?
    /// If given, a name that a client's certificate must be for; servers look at it.
    package var allowedHostname: String?
    /// If given, what the other side's certificate must call its subject, besides.
    package var allowedCommonName: String?
    package var lowestVersion = Version.tls12
    package var highestVersion: Version?
    /// For TLS 1.2, by their names of the IANA; empty leaves the choice to this release.
    package var cipherSuites: [String] = []
    /// A client believes anybody.
    package var trustsAnybody = false

    package init() {}

    /// With another port's versions and cipher suites, and nothing else of its rules.
    package init(versionsOf other: TLSSettings) { takeVersions(of: other) }

    package mutating func takeVersions(of other: TLSSettings) {
        (lowestVersion, highestVersion, cipherSuites) = (other.lowestVersion, other.highestVersion, other.cipherSuites)
    }
}
