#if canImport(Glibc)
    internal import Glibc
#endif

extension CertificateNames {
    /// Four or sixteen bytes; nil for what is no address.
    static func bytes(ofAddress text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    /// The canonical spelling of a host: addresses by their bytes, names without case and final dots.
    package static func plain(_ host: String) -> String {
        if let bytes = bytes(ofAddress: host), let text = text(ofAddress: bytes) { return text }
        var name = host.lowercased()[...]
        while name.hasSuffix(".") { name = name.dropLast() }
        return String(name)
    }

    package static func text(ofAddress bytes: [UInt8]) -> String? {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        return inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
            .map { String(cString: $0) }
    }
}
