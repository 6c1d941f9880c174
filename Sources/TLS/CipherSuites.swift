internal import COpenSSL

/// Cipher suites as etcd's flags name them: by their names of the IANA.
enum CipherSuites {
    /// - Throws: for a name that is none, or that TLS 1.3 decides about.
    static func openSSLNames(_ names: [String]) throws(TLSError) -> String {
        var found: [String] = []
        for name in names {
            guard let known = OPENSSL_cipher_name(name).map({ String(cString: $0) }), known != "(NONE)" else {
                throw TLSError("\"\(name)\" is no cipher suite that this machine's OpenSSL knows")
            }
            guard !known.hasPrefix("TLS_") else {
                throw TLSError("\"\(name)\" belongs to TLS 1.3, whose cipher suites are not to choose")
            }
            found.append(known)
        }
        return found.joined(separator: ":")
    }
}
