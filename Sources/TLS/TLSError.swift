internal import COpenSSL

/// What went wrong with TLS: files that cannot be used, or a caller that cannot be trusted.
package struct TLSError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }

    /// With what OpenSSL has to say about it.
    static func last(_ what: String) -> TLSError {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { break }
            guard let reason = ERR_reason_error_string(code) else { continue }
            reasons.append(String(cString: reason))
        }
        return TLSError(reasons.isEmpty ? what : "\(what): \(reasons.joined(separator: ", "))")
    }
}
