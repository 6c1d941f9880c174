/// The sections in which etcd's settings files have what its flags say of TLS.
enum EtcdSections {
    private static let names: Set<String> = [
        "cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth", "trusted-ca-file",
        "auto-tls",
        "crl-file", "skip-client-san-verification",
    ]

    /// The flag that a setting in a section is; nil for one that is in none of them.
    static func flag(of key: String) -> String? {
        let parts = key.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        switch (parts[0], parts[1]) {
        case ("client-transport-security", "allowed-hostname"): return "client-cert-allowed-hostname"
        case ("client-transport-security", "crl-file"): return "client-crl-file"
        case ("client-transport-security", let name) where names.contains(name): return name
        case ("peer-transport-security", "allowed-cn"): return "peer-cert-allowed-cn"
        case ("peer-transport-security", "allowed-hostname"): return "peer-cert-allowed-hostname"
        case ("peer-transport-security", let name) where names.contains(name): return "peer-\(name)"
        default: return nil
        }
    }
}
