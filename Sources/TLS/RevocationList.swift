internal import COpenSSL
internal import Certificates

/// Certificates that their issuers took back, from a file of PEM or DER.
final class RevocationList: @unchecked Sendable {
    // Only read once it is made.
    private let lists: [OpaquePointer]

    init(_ path: String) throws(TLSError) {
        guard let file = BIO_new_file(path, "r") else { throw .last("\(path) cannot be read") }
        defer { BIO_free(file) }
        var lists: [OpaquePointer] = []
        while let list = PEM_read_bio_X509_CRL(file, nil, refusePassphrase, nil) { lists.append(list) }
        // The end of a file is an error, too. With any other it is not known who else is revoked.
        guard weft_tls_is_end_of_pem() == 1 else {
            for list in lists { X509_CRL_free(list) }
            throw .last("list \(lists.count + 1) of \(path) cannot be read")
        }
        ERR_clear_error()
        if lists.isEmpty, let binary = BIO_new_file(path, "r") {
            defer { BIO_free(binary) }
            if let list = d2i_X509_CRL_bio(binary, nil) { lists.append(list) }
        }
        self.lists = lists
        if lists.isEmpty { throw .last("\(path) is no list of revoked certificates") }
    }

    deinit { for list in lists { X509_CRL_free(list) } }

    /// If an issuer of a list took this certificate back.
    func contains(_ certificate: OpaquePointer) -> Bool {
        lists.contains { list in
            var entry: OpaquePointer?
            guard X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_issuer_name(certificate)) == 0 else {
                return false
            }
            // 2 says that an entry takes the certificate off the list again.
            return X509_CRL_get0_by_cert(list, &entry, certificate) == 1
        }
    }
}
