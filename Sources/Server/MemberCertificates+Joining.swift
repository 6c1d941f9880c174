package import Certificates
package import Storage
package import Transport

/// What a machine needs to become a member of a fabric with a CA of its own.
extension MemberCertificates {
    /// The files of a member that has, or gets, a certificate: whom it believes, and what it shows.
    package static func files(in directory: DataDirectory) -> (trust: String, member: String) {
        let files = TLSFiles(in: directory)
        return (files.trust, files.member)
    }

    /// The key with which this machine asks to join: the same one until it has joined, for an answer can be lost.
    package static func joiningKey(in directory: DataDirectory) throws(StorageError) -> PrivateKey {
        let files = TLSFiles(in: directory)
        try files.make()
        do throws(CertificateError) {
            if let pem = try files.read(files.joining) { return try PrivateKey(pem: pem) }
            let key = try PrivateKey()
            try files.write(try key.pem(), to: files.joining)
            return key
        } catch {
            throw .unusable("\(files.joining): \(error)")
        }
    }

    /// Believes this CA alone, which a join token names.
    package static func believe(_ authority: Certificate, in directory: DataDirectory) throws(StorageError) {
        let files = TLSFiles(in: directory)
        try files.make()
        try File.replace(files.trust, with: authority.pem)
    }

    /// Takes up what a fabric answered.
    /// - Throws: when that is not what was asked for.
    package static func accept(
        _ admitted: CertificateAnswer, for name: FabricName, _ key: PrivateKey, in directory: DataDirectory
    ) throws(StorageError) {
        let files = TLSFiles(in: directory)
        do throws(CertificateError) {
            guard let own = try Certificate.all(pem: admitted.certificate).first, own.isFor(key), own.fabricName == name
            else { throw CertificateError("the certificate is another's") }
            if !admitted.authority.isEmpty {
                try files.write(try CertificateAuthority(pem: admitted.authority).pem(), to: files.authority)
            }
            try files.write(try Certificate.all(pem: admitted.authorities).flatMap(\.pem), to: files.trust)
            try files.write(admitted.certificate + (try key.pem()), to: files.member)
        } catch {
            throw .unusable("what the fabric answered cannot be used: \(error)")
        }
    }

    /// Makes the CA of a fabric that has none; the one that is there when it was made before.
    static func foundAuthority(
        of fabric: UInt64, in directory: DataDirectory, now: Int64
    ) throws -> Certificate {
        let files = TLSFiles(in: directory)
        try files.make()
        if let known = try files.read(files.authority) { return try CertificateAuthority(pem: known).certificate }
        return try foundAuthority(of: fabric, to: files, now: now).certificate
    }

    /// Makes a CA, and writes it where the member finds it: first whom to believe, then the key.
    static func foundAuthority(
        of fabric: UInt64, to files: TLSFiles, now: Int64
    ) throws(CertificateError) -> CertificateAuthority {
        let made = try CertificateAuthority(of: fabric, now: now)
        try files.write(made.certificate.pem, to: files.trust)
        try files.write(try made.pem(), to: files.authority)
        return made
    }

    /// Nothing of a join that came to nothing stays.
    /// - Parameter keepsKey: for another try with the same token.
    package static func clear(in directory: DataDirectory, keepsKey: Bool = false) throws(StorageError) {
        let files = TLSFiles(in: directory)
        for path in files.all where !keepsKey || path != files.joining { try File.remove(path) }
    }
}
