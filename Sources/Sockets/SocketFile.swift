#if canImport(Glibc)
    internal import Glibc
#endif

/// A socket's name in the file system.
enum SocketFile {
    /// Takes away the socket of a process that is gone. One that answers stays, and what is no socket.
    static func clear(_ path: String) throws(BindFailure) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw BindFailure(description: "cannot listen at \(path): what lies there is no socket; move it away")
        }
        let code = knock(at: path)
        guard code == ECONNREFUSED || code == ENOENT else {
            let reason = code == 0 ? "another process serves there" : String(cString: strerror(code))
            throw BindFailure(description: "cannot listen at \(path): \(reason)")
        }
        unlink(path)
    }

    struct Identity: Equatable {
        var device: UInt64
        var inode: UInt64
    }

    /// Which file is there; nil where there is none.
    static func identity(of path: String) -> Identity? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// - Returns: 0 when somebody takes connections there, else an errno.
    private static func knock(at path: String) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= room else { return ENAMETOOLONG }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result == 0 ? 0 : errno
    }
}
