internal import Bytes
internal import CPlatform
#if canImport(Glibc)
    internal import Glibc
#endif

/// The calls by which files are used: the operating system's, or the simulator's.
private let calls: weft_files = {
    let inUse: UnsafePointer<weft_files> = weft_files()
    return inUse.pointee
}()

/// An open file, closed at the end of its life. Short reads and writes and interrupted calls are dealt with here.
package struct File: ~Copyable, Sendable {
    package enum Mode: Sendable {
        case read, readWrite
        /// Read and write; made, with mode 0600, when it is not there.
        case create
        /// The same, where nothing may be there yet, not even a link.
        case createNew
    }

    private let descriptor: Int32
    package let path: String

    package init(_ path: String, _ mode: Mode) throws(StorageError) {
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT
            case .createNew: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
            }
        descriptor = calls.open(path, flags, 0o600)
        self.path = path
        guard descriptor >= 0 else { throw .system(operation: "open", path: path, errno: errno) }
    }

    deinit {
        _ = calls.close(descriptor)
    }

    package func size() throws(StorageError) -> Int {
        let size = calls.size(descriptor)
        guard size >= 0 else { throw .system(operation: "stat", path: path, errno: errno) }
        return Int(size)
    }

    /// Up to `count` bytes from `offset`; fewer only at the file's end.
    package func read(at offset: Int, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                calls.pread(descriptor, buffer.baseAddress.map { $0 + done }, count - done, off_t(offset + done))
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
                calls.pwrite(descriptor, buffer.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
            }
            if put < 0 {
                if errno == EINTR { continue }
                throw .system(operation: "write", path: path, errno: errno)
            }
            done += put
        }
    }

    /// Memory that is the file's first bytes, also when the file is closed; to be unmapped. Not for files of the simulator.
    func map(count: Int) throws(StorageError) -> UnsafeMutableRawPointer {
        guard let memory = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), memory != MAP_FAILED
        else {
            throw .system(operation: "map", path: path, errno: errno)
        }
        return memory
    }

    package func truncate(to size: Int) throws(StorageError) {
        guard calls.ftruncate(descriptor, off_t(size)) == 0 else {
            throw .system(operation: "truncate", path: path, errno: errno)
        }
    }

    /// Waits until everything written is on the device.
    package func sync() throws(StorageError) {
        guard calls.fdatasync(descriptor) == 0 else { throw .system(operation: "sync", path: path, errno: errno) }
    }

    /// Takes the file for this process; false when another has it.
    package func lock() -> Bool {
        calls.lock(descriptor) == 0
    }

    // MARK: - Names

    package static func exists(_ path: String) -> Bool {
        calls.exists(path) == 1
    }

    package static func remove(_ path: String) throws(StorageError) {
        guard calls.unlink(path) == 0 || errno == ENOENT else {
            throw .system(operation: "remove", path: path, errno: errno)
        }
    }

    /// Gives `path` the name `target`, replacing what has it, and makes that durable.
    package static func rename(_ path: String, to target: String) throws(StorageError) {
        guard calls.rename(path, target) == 0 else { throw .system(operation: "rename", path: path, errno: errno) }
        try syncDirectory(of: target)
    }

    /// Has two names in one directory change places: each is there all the time.
    package static func exchange(_ path: String, with other: String) throws(StorageError) {
        guard weft_exchange_names(path, other) == 0 else {
            throw .system(operation: "exchange", path: path, errno: errno)
        }
        try syncDirectory(of: path)
    }

    package static func syncDirectory(of path: String) throws(StorageError) {
        if makes(.neverSyncsDirectories) { return }
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let directory = parent.isEmpty ? "/" : parent
        guard calls.sync_directory(directory) == 0 else {
            throw .system(operation: "sync", path: directory, errno: errno)
        }
    }

    /// Makes a directory, and those above it; its own permissions are `mode`. Answers if it is new.
    package static func makeDirectory(_ path: String, mode: UInt32) throws(StorageError) -> Bool {
        var parent = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false).dropLast() {
            parent += part + "/"
            if !exists(parent), calls.make_directory(parent, 0o755) != 0, errno != EEXIST {
                throw .system(operation: "make directory", path: parent, errno: errno)
            }
        }
        if calls.make_directory(path, mode) == 0 { return true }
        guard errno == EEXIST else { throw .system(operation: "make directory", path: path, errno: errno) }
        return false
    }

    /// The permission bits of a directory; nil when `path` is none.
    package static func directoryMode(_ path: String) throws(StorageError) -> UInt32? {
        let mode = calls.directory_mode(path)
        if mode >= 0 { return UInt32(mode) }
        guard errno == ENOTDIR else { throw .system(operation: "stat", path: path, errno: errno) }
        return nil
    }

    /// A user and a group, by their ids.
    package struct Owner: Equatable, Sendable {
        package var user: UInt32
        package var group: UInt32
    }

    /// Whose a directory or file is; nil when it is not there.
    package static func owner(of path: String) -> Owner? {
        var found = stat()
        return stat(path, &found) == 0 ? Owner(user: found.st_uid, group: found.st_gid) : nil
    }

    /// Who this process runs as.
    package static var user: UInt32 { geteuid() }

    /// Makes somebody's what root has in a directory of files, and then the directory. Somebody who may write there can have put
    /// links in it, to files that are root's for a reason: none is followed, and a file with a second name stays as it is.
    package static func giveAll(in directory: String, to owner: Owner) throws(StorageError) {
        func failure(_ path: String) -> StorageError {
            .system(operation: "change the owner of", path: path, errno: errno)
        }
        let handle = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard handle >= 0 else { throw failure(directory) }
        defer { close(handle) }
        for name in try names(in: directory) {
            let path = "\(directory)/\(name)"
            var found = stat()
            guard fstatat(handle, name, &found, AT_SYMLINK_NOFOLLOW) == 0 else { throw failure(path) }
            guard found.st_uid == 0, found.st_mode & S_IFMT == S_IFREG, found.st_nlink == 1 else { continue }
            guard fchownat(handle, name, owner.user, owner.group, AT_SYMLINK_NOFOLLOW) == 0 else { throw failure(path) }
        }
        guard fchown(handle, owner.user, owner.group) == 0 else { throw failure(directory) }
    }

    /// If the file at `path` is this one.
    package func isSame(asAt path: String) -> Bool {
        var (own, other) = (stat(), stat())
        guard fstat(descriptor, &own) == 0, stat(path, &other) == 0 else { return false }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    /// The names in a directory, sorted.
    package static func names(in directory: String) throws(StorageError) -> [String] {
        final class Found { var names: [String] = [] }
        let found = Found()
        let code = calls.names(directory, Unmanaged.passUnretained(found).toOpaque()) { context, name in
            guard let context, let name else { return }
            Unmanaged<Found>.fromOpaque(context).takeUnretainedValue().names.append(String(cString: name))
        }
        guard code == 0 else { throw .system(operation: "list", path: directory, errno: errno) }
        return found.names.sorted()
    }

    /// Gives a damaged file, and those beside it, another name: nothing of them is used, but somebody may want to look.
    package static func setAside(_ path: String, suffixes: [String]) throws(StorageError) {
        for suffix in suffixes where exists(path + suffix) { try rename(path + suffix, to: "\(path)\(suffix).damaged") }
    }

    package static func removeSetAside(_ path: String, suffixes: [String]) throws(StorageError) {
        for suffix in suffixes { try remove("\(path)\(suffix).damaged") }
    }

    /// Copies the first `bytes` of a file, over what may be at `target`, and makes them safe.
    package static func copy(_ path: String, bytes: Int, to target: String) throws(StorageError) {
        let source = try File(path, .read)
        let copy = try File(target, .create)
        try copy.truncate(to: 0)
        var offset = 0
        while offset < bytes {
            let piece = try source.read(at: offset, count: min(1 << 20, bytes - offset))
            guard !piece.isEmpty else { throw .damaged(path: path, reason: "it became shorter") }
            try copy.write(piece, at: offset)
            offset += piece.count
        }
        try copy.sync()
        try syncDirectory(of: target)
    }

    /// Writes a whole small file so that after a crash it is either the old or the new one.
    package static func replace(_ path: String, with bytes: [UInt8]) throws(StorageError) {
        let temporary = path + ".new"
        // Left by a crash, or laid there by somebody else who may write to the directory.
        try remove(temporary)
        do {
            let file = try File(temporary, .createNew)
            try file.write(bytes, at: 0)
            try file.sync()
        }
        try rename(temporary, to: path)
    }
}
