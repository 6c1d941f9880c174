internal import Certificates
internal import Storage

/// The files of a member's TLS, private as all in the data directory.
struct TLSFiles {
    let folder: String
    /// The CAs that are believed.
    var trust: String { folder + "/ca.pem" }
    /// CAs of the fabrics that this one is paired with.
    var foreign: String { folder + "/pairs.pem" }
    /// The CA's certificate and key.
    var authority: String { folder + "/ca.key" }
    /// The same of the one that comes next, while the fabric does not know it.
    var next: String { folder + "/ca.next" }
    var member: String { folder + "/member.pem" }
    /// The key of a machine that is about to join.
    var joining: String { folder + "/joining.key" }
    private static let bytesMax = 1 << 20

    init(in directory: DataDirectory) { folder = directory.path + "/tls" }

    func make() throws(StorageError) {
        if try File.makeDirectory(folder, mode: 0o700) { try File.syncDirectory(of: folder) }
    }

    /// Nil when there is none.
    func read(_ path: String) throws(CertificateError) -> [UInt8]? {
        guard File.exists(path) else { return nil }
        return try certified { () throws(StorageError) in try File(path, .read).read(at: 0, count: Self.bytesMax) }
    }

    func write(_ bytes: [UInt8], to path: String) throws(CertificateError) {
        try certified { () throws(StorageError) in try File.replace(path, with: bytes) }
    }

    func remove(_ path: String) throws(CertificateError) {
        try certified { () throws(StorageError) in try File.remove(path) }
    }

    var all: [String] { [trust, foreign, authority, next, member, joining] }

    private func certified<T>(_ body: () throws(StorageError) -> T) throws(CertificateError) -> T {
        do throws(StorageError) { return try body() } catch { throw CertificateError("\(error)") }
    }
}
