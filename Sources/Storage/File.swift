#if canImport(Glibc)
    internal import Glibc
#endif

/// An open file, closed at the end of its life. Short reads and writes and interrupted calls are dealt with here.
package struct File: ~Copyable, Sendable {
    package enum Mode: Sendable {
        case read, readWrite
        /// Read and write; made, with mode 0600, when it is not there.
        case create
    }

    private let descriptor: Int32
    package let path: String

    package init(_ path: String, _ mode: Mode) throws(StorageError) {
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT
            }
        descriptor = open(path, flags | O_CLOEXEC, 0o600)
        self.path = path
        guard descriptor >= 0 else { throw .system(operation: "open", path: path, errno: errno) }
    }

    deinit {
        close(descriptor)
    }

    package func size() throws(StorageError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(operation: "stat", path: path, errno: errno) }
        return Int(status.st_size)
    }

    /// Up to `count` bytes from `offset`; fewer only at the file's end.
    package func read(at offset: Int, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                pread(descriptor, buffer.baseAddress.map { $0 + done }, count - done, off_t(offset + done))
            }
            if got == 0 { break }
            if got < 0 {
                if errno == EINTR { continue }
                throw .system(operation: "read", path: path, errno: errno)
            }
            done += got
        }
        bytes.removeLast(count - done)
        return bytes
    }

    package func write(_ bytes: [UInt8], at offset: Int) throws(StorageError) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { buffer in
                pwrite(descriptor, buffer.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
            }
            if put < 0 {
                if errno == EINTR { continue }
                throw .system(operation: "write", path: path, errno: errno)
            }
            done += put
        }
    }

    package func truncate(to size: Int) throws(StorageError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else {
            throw .system(operation: "truncate", path: path, errno: errno)
        }
    }

    /// Waits until everything written is on the device.
    package func sync() throws(StorageError) {
        guard fdatasync(descriptor) == 0 else { throw .system(operation: "sync", path: path, errno: errno) }
    }

    /// Takes the file for this process; false when another has it.
    package func lock() -> Bool {
        flock(descriptor, LOCK_EX | LOCK_NB) == 0
    }

    // MARK: - Names

    package static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    package static func remove(_ path: String) throws(StorageError) {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw .system(operation: "remove", path: path, errno: errno)
        }
    }

    /// Gives `path` the name `target`, replacing what has it, and makes that durable.
    package static func rename(_ path: String, to target: String) throws(StorageError) {
        guard Glibc.rename(path, target) == 0 else { throw .system(operation: "rename", path: path, errno: errno) }
        try syncDirectory(of: target)
    }

    package static func syncDirectory(of path: String) throws(StorageError) {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(operation: "open", path: directory, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system(operation: "sync", path: directory, errno: errno) }
    }

    /// The names in a directory, sorted.
    package static func names(in directory: String) throws(StorageError) -> [String] {
        guard let stream = opendir(directory) else {
            throw .system(operation: "list", path: directory, errno: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Writes a whole small file so that after a crash it is either the old or the new one.
    package static func replace(_ path: String, with bytes: [UInt8]) throws(StorageError) {
        let temporary = path + ".new"
        do {
            let file = try File(temporary, .create)
            try file.truncate(to: 0)
            try file.write(bytes, at: 0)
            try file.sync()
        }
        try rename(temporary, to: path)
    }
}
