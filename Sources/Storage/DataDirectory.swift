internal import Bytes
package import Raft
#if canImport(Glibc)
    internal import Glibc
#endif

/// Whose data a directory holds.
package struct Identity: Equatable, Sendable {
    package enum State: String, Sendable {
        case member
        /// Taken out of the fabric: it must not come back as it was.
        case removed
    }

    package var clusterID: UInt64
    package var memberID: NodeID
    /// The `--name` it was made with; one line of text.
    package var name: String
    package var state: State

    package init(clusterID: UInt64, memberID: NodeID, name: String, state: State = .member) {
        self.clusterID = clusterID
        self.memberID = memberID
        self.name = name
        self.state = state
    }
}

/// A member's directory: private, used by one process at a time, and labelled with its owner.
package final class DataDirectory: Sendable {
    package let path: String
    private let lock: File

    /// What `kv.db` consists of: the file, its write-ahead log and the checksums of its pages.
    package static let stateSuffixes = ["", "-wal", "-sums", "-sums-new"]

    package var logPath: String { path + "/log.db" }
    package var statePath: String { path + "/kv.db" }
    package var markPath: String { path + "/durable.mark" }
    package var servedPath: String { path + "/served.mark" }
    package var auditPath: String { path + "/audit.log" }
    package var snapshotPath: String { path + "/snapshots" }
    private var identityPath: String { path + "/identity" }
    /// Is there while a first start is under way.
    private var unfinishedPath: String { path + "/unfinished" }

    /// Opens the directory, making it when it is not there.
    /// - Parameters:
    ///   - isForOwner: if a directory of another user is refused.
    ///   - warn: told what is odd about it.
    package init(
        _ path: String, isForOwner: Bool = false, warn: (String) -> Void = { _ in }
    ) throws(StorageError) {
        self.path = path
        try Self.make(path, isForOwner: isForOwner, warn)
        guard !Self.etcdParts.contains(where: { File.exists("\(path)/\($0)") }) || File.exists(path + "/identity")
        else {
            throw .unusable(
                """
                \(path) is the data directory of an etcd member. weft does not use it and has changed nothing in it: start weft \
                with another --data-dir, and copy the keys with `etcdctl make-mirror` while etcd runs
                """)
        }
        try Self.make(path + "/snapshots", isForOwner: isForOwner, warn)
        lock = try File(path + "/lock", .create)
        guard lock.lock() else { throw Self.inUse(path) }
    }

    /// What etcd has in its data directory, and in the one below it.
    private static let etcdParts = ["member/wal", "member/snap", "wal", "snap/db"]

    private static func make(_ path: String, isForOwner: Bool, _ warn: (String) -> Void) throws(StorageError) {
        if try File.makeDirectory(path, mode: 0o700) { try File.syncDirectory(of: path) }
        guard let mode = try File.directoryMode(path) else { throw .unusable("\(path) is not a directory") }
        if isForOwner, let owner = File.owner(of: path)?.user, owner != File.user {
            throw .unusable(
                """
                \(path) belongs to user \(owner), and this process runs as user \(File.user): run weft as its owner, or give the \
                directory to the user that runs it with chown
                """)
        }
        if mode & 0o077 != 0 { warn("\(path) can be read by other users; `chmod 700 \(path)` makes it private") }
    }

    /// Whose a directory at `path` is. One that is not there yet gets the owner of the one above it.
    package static func owner(at path: String) -> File.Owner? {
        var above = path
        while true {
            if let owner = File.owner(of: above) { return owner }
            guard let slash = above.lastIndex(of: "/") else { return File.owner(of: ".") }
            above = slash == above.startIndex ? "/" : String(above[..<slash])
        }
    }

    /// Root works on the directories of others: what it made in this one becomes theirs, too. Nobody else can give anything away.
    /// - Parameter warn: told what stays root's.
    package func give(to owner: File.Owner?, warn: (String) -> Void) {
        guard let owner, File.user == 0 else { return }
        do throws(StorageError) {
            for folder in [snapshotPath, path] { try File.giveAll(in: folder, to: owner) }
        } catch {
            warn("\(error): give \(path) to user \(owner.user) yourself (chown -R \(owner.user):\(owner.group))")
        }
    }

    /// If this is still the directory at its path: it may have been removed or replaced meanwhile.
    package var isInPlace: Bool { lock.isSame(asAt: path + "/lock") }

    /// Leaves the directory as empty as it was found, if it was and nothing came of it. It is of no use afterwards.
    package func empty() {
        guard isFresh() else { return }
        for folder in [snapshotPath, path + "/tls"] { rmdir(folder) }
        let isEmpty = (try? File.names(in: path)).map { $0 == ["lock"] } ?? false
        if isEmpty { unlink(path + "/lock") }
    }

    /// If nothing of a member is in it yet.
    package func isFresh() -> Bool {
        !File.exists(identityPath)
    }

    /// Begins to fill a directory without an owner: what an earlier first start left when it was cut short goes away.
    package func beginFirstStart() throws(StorageError) {
        try File.replace(unfinishedPath, with: [])
        for file in [logPath, statePath] {
            for suffix in Self.stateSuffixes + ["-shm"] { try File.remove(file + suffix) }
        }
        try File.remove(markPath)
        try File.remove(servedPath)
    }

    /// Names the owner: from now on the directory is complete, and nothing in it may be missing.
    package func finishFirstStart(_ identity: Identity) throws(StorageError) {
        try write(identity)
        try File.remove(unfinishedPath)
    }

    /// The owner, or nil while there is none.
    package func identity() throws(StorageError) -> Identity? {
        guard File.exists(identityPath) else {
            guard !File.exists(logPath) || File.exists(unfinishedPath) else {
                throw .damaged(path: identityPath, reason: "it is missing beside \(logPath)")
            }
            return nil
        }
        try File.remove(unfinishedPath)
        let file = try File(identityPath, .read)
        let text = String(decoding: try file.read(at: 0, count: 4096), as: UTF8.self)
        let lines = text.split(separator: "\n")
        guard lines.count == 6, lines[0] == "weft 1",
            let cluster = Self.value(lines[1], "cluster").flatMap({ UInt64($0, radix: 16) }),
            let member = Self.value(lines[2], "member").flatMap({ UInt64($0, radix: 16) }),
            let name = Self.value(lines[3], "name"),
            let state = Self.value(lines[4], "state").flatMap(Identity.State.init(rawValue:))
        else { throw .damaged(path: identityPath, reason: "it does not read as an identity") }
        let identity = Identity(clusterID: cluster, memberID: member, name: name, state: state)
        guard Self.encoded(identity) == Array(text.utf8) else {
            throw .damaged(path: identityPath, reason: "its checksum is wrong")
        }
        return identity
    }

    package func write(_ identity: Identity) throws(StorageError) {
        try File.replace(identityPath, with: Self.encoded(identity))
    }

    /// Notes what was found damaged while the member ran, so that its next start repairs it.
    package func note(_ error: StorageError) {
        guard case .damaged(let path, let reason) = error, path == logPath || path == statePath else { return }
        // If even that fails, the next start may find the damage itself.
        try? File.replace(damagePath, with: Array("\(path == logPath ? "log" : "state") \(reason)\n".utf8))
    }

    /// What an earlier run noted.
    package func notedDamage() throws(StorageError) -> (isOfState: Bool, reason: String)? {
        guard File.exists(damagePath) else { return nil }
        let text = String(decoding: try File(damagePath, .read).read(at: 0, count: 4096), as: UTF8.self)
        return (!text.hasPrefix("log "), String(text.drop { $0 != " " }.dropFirst().prefix { $0 != "\n" }))
    }

    package func clearDamage() throws(StorageError) {
        guard File.exists(damagePath) else { return }
        try File.remove(damagePath)
        try File.syncDirectory(of: damagePath)
    }

    private var damagePath: String { path + "/damaged" }

    /// Where a newcomer finds the members before it has the configuration; kept for a join that is interrupted.
    package func writeHints(_ hints: [PeerHint]) throws(StorageError) {
        let text = hints.map { "\(String($0.id, radix: 16)) \($0.url)\($0.hasState ? "" : " -")\n" }.joined()
        try File.replace(path + "/peers", with: Array(text.utf8))
    }

    /// The other members as this one last knew them; nil when it never wrote any down.
    package func hints() throws(StorageError) -> [PeerHint]? {
        guard File.exists(path + "/peers") else { return nil }
        let text = String(decoding: try File(path + "/peers", .read).read(at: 0, count: 1 << 16), as: UTF8.self)
        return text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: " ")
            guard parts.count >= 2, let id = NodeID(parts[0], radix: 16) else { return nil }
            return PeerHint(id: id, url: String(parts[1]), hasState: parts.count == 2)
        }
    }

    /// Settings that a join found out by itself, for later starts: names and values of flags.
    package func writeSettings(_ settings: [(key: String, value: String)]) throws(StorageError) {
        let text = settings.map { "\($0.key) \($0.value)\n" }.joined()
        try File.replace(settingsPath, with: Array(text.utf8))
    }

    package func settings() throws(StorageError) -> [(key: String, value: String)] {
        try Self.settings(in: settingsPath)
    }

    /// The settings that a join found out, of a directory that is not open and of a member that is whole; nothing is changed there.
    /// Throws when another process uses the directory.
    package static func settings(at path: String) throws(StorageError) -> [(key: String, value: String)] {
        if File.exists(path + "/lock") {
            let lock = try File(path + "/lock", .read)
            guard lock.lock() else { throw inUse(path) }
        }
        return File.exists(path + "/identity") ? try settings(in: path + "/settings") : []
    }

    private static func inUse(_ path: String) -> StorageError {
        .unusable("\(path) is in use by another weft process; stop it, or choose another --data-dir")
    }

    private static func settings(in file: String) throws(StorageError) -> [(key: String, value: String)] {
        guard File.exists(file) else { return [] }
        let text = String(decoding: try File(file, .read).read(at: 0, count: 1 << 16), as: UTF8.self)
        return text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: " ", maxSplits: 1)
            return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
        }
    }

    private var settingsPath: String { path + "/settings" }

    /// Empties the directory of a join that came to nothing.
    package func clear() throws(StorageError) {
        try beginFirstStart()
        for file in [identityPath, path + "/peers", settingsPath, unfinishedPath] { try File.remove(file) }
        for name in try File.names(in: snapshotPath) { try File.remove("\(snapshotPath)/\(name)") }
    }

    private static func value(_ line: Substring, _ key: String) -> String? {
        line.hasPrefix(key + " ") ? String(line.dropFirst(key.count + 1)) : nil
    }

    private static func encoded(_ identity: Identity) -> [UInt8] {
        let text = """
            weft 1
            cluster \(String(identity.clusterID, radix: 16))
            member \(String(identity.memberID, radix: 16))
            name \(identity.name)
            state \(identity.state.rawValue)

            """
        let bytes = Array(text.utf8)
        return bytes + Array("crc \(String(CRC32C.of(bytes), radix: 16))\n".utf8)
    }
}

/// Where another member was reached when it was last heard of.
package struct PeerHint: Sendable {
    package var id: NodeID
    package var url: String
    /// It can lead and send its state: what is lost here can come from there.
    package var hasState: Bool

    package init(id: NodeID, url: String, hasState: Bool = true) {
        self.id = id
        self.url = url
        self.hasState = hasState
    }
}
