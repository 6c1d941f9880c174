internal import COpenSSL

/// What is no certificate, no key or no request, or cannot be made one.
package struct CertificateError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        // What OpenSSL noted is of no use to whoever comes next.
        ERR_clear_error()
        self.description = description
    }
}

/// Nobody is there to type one: without this OpenSSL asks at the terminal, whatever is read.
package let refusePassphrase:
    @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = {
        _, _, _, _ in -1
    }

/// Bytes to OpenSSL and back.
enum Memory {
    /// What a writer of OpenSSL's writes; nil when it fails.
    static func written(_ write: (OpaquePointer) -> Int32) -> [UInt8]? {
        guard let memory = BIO_new(BIO_s_mem()) else { return nil }
        defer { BIO_free_all(memory) }
        guard write(memory) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(weft_tls_pending(memory)))
        let count = BIO_read(memory, &bytes, Int32(bytes.count))
        return Array(bytes.prefix(Int(max(0, count))))
    }

    /// What a reader of OpenSSL's finds in bytes.
    static func read<T>(_ bytes: [UInt8], _ read: (OpaquePointer) -> T?) -> T? {
        // OpenSSL reads where the bytes are.
        bytes.withUnsafeBytes { bytes in
            guard bytes.count < Int32.max, let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count)) else {
                return nil
            }
            defer { BIO_free_all(memory) }
            return read(memory)
        }
    }
}
