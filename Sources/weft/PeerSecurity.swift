internal import Logging
internal import TLS
internal import Transport

/// How members reach each other by TLS: etcd's flags that begin with "peer-".
struct PeerSecurity {
    private var own = TLSSettings()
    /// Shown in place of the own certificate when this member calls others.
    private var callersCertificate: String?
    private var callersKey: String?
    var demandsCertificates = false
    var checksAddresses = true

    /// Takes a setting; false when it is none of these.
    mutating func set(_ key: String, _ value: String) -> Bool {
        switch key {
        case "peer-cert-file": own.certificateFile = value
        case "peer-key-file": own.keyFile = value
        case "peer-client-cert-file": callersCertificate = value
        case "peer-client-key-file": callersKey = value
        case "peer-trusted-ca-file": own.trustedCAFile = value
        case "peer-crl-file": own.crlFile = value
        case "peer-cert-allowed-cn": own.allowedCommonName = value
        case "peer-cert-allowed-hostname": own.allowedHostname = value
        default: return false
        }
        return true
    }

    /// What contradicts itself is said before anything begins.
    func check(isSecure: Bool) throws {
        guard own.trustedCAFile != nil || !demandsCertificates && !hasRules else {
            throw Problem(.usage, "what is asked of members' certificates needs --peer-trusted-ca-file")
        }
        guard own.allowedCommonName == nil || own.allowedHostname == nil else {
            throw Problem(.usage, "--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other")
        }
        guard (callersCertificate == nil) == (callersKey == nil) else {
            throw Problem(.usage, "--peer-client-cert-file and --peer-client-key-file go together")
        }
        guard isSecure || own.trustedCAFile == nil else {
            throw Problem(
                .usage,
                "--peer-trusted-ca-file asks for members' certificates, but --listen-peer-urls has no https:// address")
        }
        guard (own.certificateFile == nil) == (own.keyFile == nil) else {
            throw Problem(.usage, "--peer-cert-file and --peer-key-file go together")
        }
        guard hasCertificate || own.trustedCAFile == nil && callersCertificate == nil else {
            throw Problem(
                .usage,
                "members' certificates of your own need --peer-cert-file and --peer-key-file; without any the fabric makes its own"
            )
        }
    }

    /// If operators brought one.
    var hasCertificate: Bool { own.certificateFile != nil }

    private var hasRules: Bool { own.crlFile != nil || own.allowedHostname != nil || own.allowedCommonName != nil }

    /// Nil where no certificate is set.
    /// - Parameter rules: versions and cipher suites, which hold for clients and members alike.
    func make(_ rules: TLSSettings, _ logger: Logger) throws(TLSError) -> PeerTLS? {
        guard own.certificateFile != nil else { return nil }
        var server = own
        server.takeVersions(of: rules)
        var client = server
        client.allowedHostname = nil
        if let callersCertificate {
            client.certificateFile = callersCertificate
            client.keyFile = callersKey
        }
        if own.trustedCAFile == nil {
            logger.warning(
                "without --peer-trusted-ca-file whoever reaches the peer port may speak as a member: TLS only keeps others from listening"
            )
        }
        return PeerTLS(
            server: try TLSSource(server, .server, logger), client: try TLSSource(client, .client, logger),
            identity: checksAddresses && own.trustedCAFile != nil ? .addresses : .none)
    }
}
