internal import COpenSSL

/// A key on the curve P-256, which signs. OpenSSL's key is never changed once it is made.
package final class PrivateKey: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Makes a new one.
    package init() throws(CertificateError) {
        guard let made = weft_tls_make_key() else { throw CertificateError("this machine's OpenSSL makes no keys") }
        pointer = made
    }

    /// The first key in PEM.
    package init(pem: [UInt8]) throws(CertificateError) {
        guard let found = Memory.read(pem, { PEM_read_bio_PrivateKey($0, nil, refusePassphrase, nil) }) else {
            throw CertificateError("it has no key without a pass phrase")
        }
        pointer = found
    }

    deinit { EVP_PKEY_free(pointer) }

    package func pem() throws(CertificateError) -> [UInt8] {
        guard let bytes = Memory.written({ PEM_write_bio_PrivateKey($0, pointer, nil, nil, 0, nil, nil) }) else {
            throw CertificateError("a key cannot be written")
        }
        return bytes
    }
}
