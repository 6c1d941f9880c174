internal import COpenSSL

/// Asks for a certificate for a key that never leaves its machine (PKCS #10).
package final class CertificateRequest: @unchecked Sendable {
    let pointer: OpaquePointer

    /// - Parameter commonName: what the certificate is to call itself; who signs it decides.
    package init(of key: PrivateKey, commonName: String) throws(CertificateError) {
        guard let request = X509_REQ_new() else { throw CertificateError("a request cannot be made") }
        pointer = request
        guard X509_REQ_set_pubkey(request, key.pointer) == 1,
            Subject.set(commonName, of: X509_REQ_get_subject_name(request)),
            X509_REQ_sign(request, key.pointer, EVP_sha256()) > 0
        else { throw CertificateError("a request cannot be made") }
    }

    /// - Throws: also when it was not signed with the key that it is for, or its key is of another kind than those of this release.
    package init(pem: [UInt8]) throws(CertificateError) {
        guard pem.count <= Certificate.bytesMax,
            let found = Memory.read(pem, { PEM_read_bio_X509_REQ($0, nil, refusePassphrase, nil) })
        else { throw CertificateError("it is no request for a certificate (PKCS #10, PEM)") }
        pointer = found
        // First: a stranger may send a key that takes long to reckon with.
        guard let key = X509_REQ_get0_pubkey(found), Self.isStrong(key), !Certificate.digest(of: key).isEmpty else {
            throw CertificateError("its key is neither on a curve of 256 bits or more nor RSA of 2048 to 4096")
        }
        guard X509_REQ_verify(found, key) == 1 else {
            throw CertificateError("the request was not signed with its own key")
        }
    }

    deinit { X509_REQ_free(pointer) }

    package func pem() throws(CertificateError) -> [UInt8] {
        guard let bytes = Memory.written({ PEM_write_bio_X509_REQ($0, pointer) }) else {
            throw CertificateError("a request cannot be written")
        }
        return bytes
    }

    /// SHA-256 of the public key, as of certificates.
    package var keyDigest: [UInt8] { Certificate.digest(of: X509_REQ_get0_pubkey(pointer)) }

    private static func isStrong(_ key: OpaquePointer) -> Bool {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_EC: EVP_PKEY_get_bits(key) >= 256
        case EVP_PKEY_ED25519: true
        case EVP_PKEY_RSA: (2048...4096).contains(EVP_PKEY_get_bits(key)) && hasShortExponent(key)
        default: false
        }
    }
}

/// An RSA key's public exponent is one that programs make: up to 32 bits.
private func hasShortExponent(_ key: OpaquePointer) -> Bool {
    var exponent: OpaquePointer?
    guard EVP_PKEY_get_bn_param(key, "e", &exponent) == 1 else { return false }
    defer { BN_free(exponent) }
    return BN_num_bits(exponent) <= 32
}

enum Subject {
    private static let charactersMax = 64

    /// Of a longer name the beginning: it is for people to read.
    static func set(_ commonName: String, of subject: OpaquePointer?) -> Bool {
        let bytes = Array(String(String.UnicodeScalarView(commonName.unicodeScalars.prefix(charactersMax))).utf8)
        return X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, bytes, Int32(bytes.count), -1, 0) == 1
    }
}
