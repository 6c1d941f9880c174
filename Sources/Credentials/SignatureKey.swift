internal import COpenSSL

/// A key that signs and verifies, by one method. OpenSSL's key is never changed once it is read.
final class SignatureKey: @unchecked Sendable {
    private enum Kind {
        case shared([UInt8])
        case pair(OpaquePointer, isPrivate: Bool)
    }

    private let method: JWTMethod
    private let kind: Kind

    init(_ settings: JWTSettings) throws(CredentialsError) {
        method = settings.method
        if settings.method.isSymmetric {
            let bytes = try Self.read(settings.privateKeyFile ?? "")
            guard !bytes.isEmpty else {
                throw CredentialsError("auth-token: \(settings.privateKeyFile ?? "") is empty")
            }
            kind = .shared(bytes)
            return
        }
        let file = settings.privateKeyFile ?? settings.publicKeyFile ?? ""
        let key = try Self.pem(file, isPrivate: settings.privateKeyFile != nil)
        guard Self.fits(key, settings.method) else {
            EVP_PKEY_free(key)
            throw CredentialsError("auth-token: the key in \(file) is not one for \(settings.method.rawValue)")
        }
        kind = .pair(key, isPrivate: settings.privateKeyFile != nil)
        guard settings.privateKeyFile != nil, let publicFile = settings.publicKeyFile else { return }
        let other = try Self.pem(publicFile, isPrivate: false)
        defer { EVP_PKEY_free(other) }
        guard EVP_PKEY_eq(key, other) == 1 else {
            throw CredentialsError("auth-token: \(publicFile) is not the public key of \(file)")
        }
    }

    deinit { if case .pair(let key, _) = kind { EVP_PKEY_free(key) } }

    var canSign: Bool { if case .pair(_, isPrivate: false) = kind { false } else { true } }

    // MARK: - Files

    private static let fileBytesMax = 64 << 10

    private static func read(_ path: String) throws(CredentialsError) -> [UInt8] {
        guard let file = BIO_new_file(path, "r") else {
            ERR_clear_error()
            throw CredentialsError("auth-token: \(path) cannot be read")
        }
        defer { BIO_free_all(file) }
        var bytes = [UInt8](repeating: 0, count: fileBytesMax)
        let count = BIO_read(file, &bytes, Int32(bytes.count))
        return Array(bytes.prefix(Int(max(count, 0))))
    }

    private static func pem(_ path: String, isPrivate: Bool) throws(CredentialsError) -> OpaquePointer {
        let bytes = try read(path)
        // No pass phrase is asked for.
        let key = reading(bytes) { memory in
            isPrivate
                ? PEM_read_bio_PrivateKey(memory, nil, { _, _, _, _ in -1 }, nil)
                : PEM_read_bio_PUBKEY(memory, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let key = key ?? (isPrivate ? nil : keyOfCertificate(bytes)) else {
            throw CredentialsError("auth-token: \(path) holds no \(isPrivate ? "private" : "public") key in PEM")
        }
        return key
    }

    /// etcd takes a certificate for its public key.
    private static func keyOfCertificate(_ bytes: [UInt8]) -> OpaquePointer? {
        reading(bytes) { memory in
            guard let certificate = PEM_read_bio_X509(memory, nil, { _, _, _, _ in -1 }, nil) else { return nil }
            defer { X509_free(certificate) }
            return X509_get_pubkey(certificate)
        }
    }

    /// OpenSSL reads where the bytes are.
    private static func reading(_ bytes: [UInt8], _ read: (OpaquePointer?) -> OpaquePointer?) -> OpaquePointer? {
        bytes.withUnsafeBytes { bytes in
            let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
            defer {
                BIO_free_all(memory)
                ERR_clear_error()
            }
            return read(memory)
        }
    }

    private static func fits(_ key: OpaquePointer, _ method: JWTMethod) -> Bool {
        let id = EVP_PKEY_get_base_id(key)
        switch method {
        case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: return id == EVP_PKEY_RSA
        case .es256, .es384, .es512: return id == EVP_PKEY_EC && curve(of: key) == method.curve
        case .edDSA: return id == EVP_PKEY_ED25519
        case .hs256, .hs384, .hs512: return false
        }
    }

    private static func curve(of key: OpaquePointer) -> String? {
        var name = [CChar](repeating: 0, count: 64)
        var count = 0
        guard EVP_PKEY_get_group_name(key, &name, name.count, &count) == 1 else { return nil }
        return String(decoding: name.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    // MARK: - Signatures

    /// Nil when this member only verifies.
    func sign(_ text: [UInt8]) -> [UInt8]? {
        switch kind {
        case .shared(let secret): return hmac(text, secret)
        case .pair(_, isPrivate: false): return nil
        case .pair(let key, isPrivate: true):
            return withContext { context, parameters in
                guard EVP_DigestSignInit(context, &parameters, method.digest, nil, key) == 1, pad(parameters) else {
                    return nil
                }
                var count = 0
                guard EVP_DigestSign(context, nil, &count, text, text.count) == 1 else { return nil }
                var signature = [UInt8](repeating: 0, count: count)
                guard EVP_DigestSign(context, &signature, &count, text, text.count) == 1 else { return nil }
                signature.removeLast(signature.count - count)
                return method.isOfCurve ? Self.joined(signature, method.pointBytes) : signature
            }
        }
    }

    func verify(_ text: [UInt8], _ signature: [UInt8]) -> Bool {
        switch kind {
        case .shared(let secret):
            let expected = hmac(text, secret)
            return !expected.isEmpty && expected.count == signature.count
                && CRYPTO_memcmp(expected, signature, expected.count) == 0
        case .pair(let key, _):
            guard let signature = method.isOfCurve ? Self.split(signature, method.pointBytes) : signature else {
                return false
            }
            return withContext { context, parameters in
                guard EVP_DigestVerifyInit(context, &parameters, method.digest, nil, key) == 1, pad(parameters) else {
                    return false
                }
                return EVP_DigestVerify(context, signature, signature.count, text, text.count) == 1
            }
        }
    }

    private func withContext<T>(_ body: (OpaquePointer?, inout OpaquePointer?) -> T) -> T {
        let context = EVP_MD_CTX_new()
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        var parameters: OpaquePointer?
        return body(context, &parameters)
    }

    /// RSA of the newer kind; its salt is as long as the digest.
    private func pad(_ parameters: OpaquePointer?) -> Bool {
        guard method.isProbabilistic else { return true }
        return EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1
            && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1
    }

    private func hmac(_ text: [UInt8], _ secret: [UInt8]) -> [UInt8] {
        var sum = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        HMAC(method.digest, secret, Int32(secret.count), text, text.count, &sum, &count)
        return Array(sum.prefix(Int(count)))
    }

    // MARK: - Curves

    /// A signature of OpenSSL's (DER) as JSON web tokens have it: both numbers, each of its full length.
    private static func joined(_ der: [UInt8], _ bytes: Int) -> [UInt8]? {
        der.withUnsafeBufferPointer { buffer in
            var place = buffer.baseAddress
            guard let signature = d2i_ECDSA_SIG(nil, &place, buffer.count) else { return nil }
            defer { ECDSA_SIG_free(signature) }
            var joined = [UInt8](repeating: 0, count: 2 * bytes)
            return joined.withUnsafeMutableBufferPointer { joined in
                BN_bn2binpad(ECDSA_SIG_get0_r(signature), joined.baseAddress, Int32(bytes)) == bytes
                    && BN_bn2binpad(ECDSA_SIG_get0_s(signature), joined.baseAddress.map { $0 + bytes }, Int32(bytes))
                        == bytes
            } ? joined : nil
        }
    }

    private static func split(_ joined: [UInt8], _ bytes: Int) -> [UInt8]? {
        guard joined.count == 2 * bytes, let signature = ECDSA_SIG_new() else { return nil }
        defer { ECDSA_SIG_free(signature) }
        let numbers = [joined.prefix(bytes), joined.suffix(bytes)].map { BN_bin2bn(Array($0), Int32(bytes), nil) }
        guard ECDSA_SIG_set0(signature, numbers[0], numbers[1]) == 1 else { return nil }
        var der = [UInt8](repeating: 0, count: Int(max(i2d_ECDSA_SIG(signature, nil), 0)))
        let count = der.withUnsafeMutableBufferPointer { buffer in
            var place = buffer.baseAddress
            return i2d_ECDSA_SIG(signature, &place)
        }
        return Int(count) == der.count ? der : nil
    }
}

extension JWTMethod {
    fileprivate var digest: OpaquePointer? {
        switch self {
        case .rs256, .ps256, .es256, .hs256: EVP_sha256()
        case .rs384, .ps384, .es384, .hs384: EVP_sha384()
        case .rs512, .ps512, .es512, .hs512: EVP_sha512()
        case .edDSA: nil
        }
    }

    fileprivate var isOfCurve: Bool { pointBytes > 0 }
    fileprivate var isProbabilistic: Bool { [.ps256, .ps384, .ps512].contains(self) }

    /// RFC 7518, section 3.4, as OpenSSL calls it.
    fileprivate var curve: String? {
        switch self {
        case .es256: "prime256v1"
        case .es384: "secp384r1"
        case .es512: "secp521r1"
        default: nil
        }
    }

    /// Of each of a signature's two numbers.
    fileprivate var pointBytes: Int {
        switch self {
        case .es256: 32
        case .es384: 48
        case .es512: 66
        default: 0
        }
    }
}
