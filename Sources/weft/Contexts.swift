internal import Certificates
internal import Client
internal import JSON
internal import NIOPosix
internal import Server
internal import Storage
internal import TLS
#if canImport(Glibc)
    internal import Glibc
#endif

/// A fabric that somebody logged in to: where it is, whom to believe, and the certificate to show; in a directory of theirs that nobody
/// else reads. There is never a password in it.
struct Context {
    let name: String
    let files: ClientCertificateFiles

    /// `$WEFT_CONFIG_DIR`, or `weft` in the directory for settings.
    private static var root: String? {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        return variable("WEFT_CONFIG_DIR") ?? variable("XDG_CONFIG_HOME").map { $0 + "/weft" }
            ?? variable("HOME").map { $0 + "/.config/weft" }
    }

    private static func path(_ part: String) throws -> String {
        guard let root else { throw Problem(.usage, "nobody knows where settings go: set WEFT_CONFIG_DIR") }
        return "\(root)/\(part)"
    }

    init(_ name: String) throws {
        guard !name.isEmpty, name.utf8.count <= 64, name.first != ".",
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") })
        else {
            throw Problem(.usage, "\"\(name)\" is no name for a context: letters, digits, dots, dashes and underscores")
        }
        try self.init(file: name)
    }

    private init(file name: String) throws {
        self.name = name
        files = ClientCertificateFiles(in: try Self.path("contexts/\(name)"))
    }

    /// Where a login comes to be before it takes the place of the one there is: no name that somebody could give.
    var coming: Context { get throws { try Context(file: ".\(name)") } }

    /// Waits until no other login of this user is under way; none begins before it is closed.
    static func lock() throws -> Int32 {
        let path = try path("contexts.lock")
        let folder = try Self.path("contexts")
        do throws(StorageError) { _ = try File.makeDirectory(folder, mode: 0o700) } catch { throw Problem(error) }
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        var isLocked = descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) == 0
        if descriptor >= 0, !isLocked {
            Console.error("waiting for another login of yours to end")
            isLocked = flock(descriptor, LOCK_EX) == 0
        }
        guard isLocked else { throw Problem(.failed, "cannot lock \(path): \(String(cString: strerror(errno)))") }
        return descriptor
    }

    /// Puts what has come in the place of what was.
    func takeOver(_ coming: Context) throws {
        if File.exists(files.directory) {
            try File.exchange(coming.files.directory, with: files.directory)
            try coming.files.remove()
        } else {
            guard rename(coming.files.directory, files.directory) == 0 else {
                throw Problem(.failed, "cannot write \(files.directory)")
            }
        }
    }

    // MARK: - All of them

    /// The one that commands use which name no other; nil when there is none.
    static var current: Context? {
        guard let path = try? path("current"), File.exists(path),
            let text = try? String(decoding: File(path, .read).read(at: 0, count: 100), as: UTF8.self)
        else { return nil }
        let context = try? Context(String(text.prefix { $0 != "\n" }))
        return context.flatMap { $0.isThere ? $0 : nil }
    }

    static var all: [Context] {
        get throws {
            let folder = try path("contexts")
            guard File.exists(folder) else { return [] }
            return try File.names(in: folder).sorted().compactMap { try? Context($0) }.filter(\.isThere)
        }
    }

    var isThere: Bool { File.exists(files.client) && (try? files.readEndpoints()) != nil }

    /// One that is there.
    /// - Throws: `notFound`.
    static func existing(_ name: String) throws -> Context {
        let context = try Context(name)
        guard context.isThere else {
            throw Problem(.notFound, "there is no login called \(name): see `weft context list`")
        }
        return context
    }

    // MARK: - One of them

    var endpoints: [Endpoint] {
        get throws { (try files.readEndpoints() ?? "").split(separator: ",").compactMap { Endpoint(String($0)) } }
    }

    func json(isCurrent: Bool) throws -> JSONValue {
        let end = (try? files.certificate())?.validity.to
        return .object([
            .init("name", .string(name)), .init("current", .bool(isCurrent)),
            .init("until", end.map { .string(utcText(seconds: $0)) } ?? .null),
            .init("endpoints", .array(try endpoints.map { .string($0.description) })),
        ])
    }

    func makeCurrent() throws { try File.replace(try Self.path("current"), with: Array("\(name)\n".utf8)) }

    func remove() throws {
        try files.remove()
        if Self.current == nil, let path = try? Self.path("current") { try File.remove(path) }
    }

    func client() throws -> FabricClient {
        do {
            return try files.client(at: try endpoints)
        } catch let problem as Problem {
            throw Problem(.failed, "context \(name): \(problem.text); run `weft login` again")
        }
    }

    /// Says what is wrong with the certificate before a member does.
    func check() throws {
        let end = try files.certificate().validity.to
        guard end > Int64(time(nil)) else {
            throw Problem(
                .failed, "the login of context \(name) ended at \(utcText(seconds: end)): run `weft login` again")
        }
    }
}
