internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOCore
internal import NIOPosix
#if canImport(Glibc)
    internal import Glibc
#endif

/// How an answer is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case simple
    case json
}

/// The flags of every command that asks a fabric.
struct ClientFlags: ParsableArguments {
    @Option(
        help:
            "Client URLs of members, http://, https:// or unix://PATH, separated by commas; also WEFT_ENDPOINTS. (default: this machine's member, by /run/weft/client where you may; else those of `weft login`; else http://localhost:2379)"
    )
    var endpoints: String?

    @Option(help: "Ask the fabric of this login (`weft context list`); also WEFT_CONTEXT.")
    var context: String?

    @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
    var output: OutputFormat = .simple

    @Option(help: "Seconds to wait for an answer.")
    var timeout: Int = 10

    @OptionGroup var tls: TLSFlags
    @OptionGroup var login: LoginFlags

    func client() throws -> FabricClient {
        var client: FabricClient
        if let context = try chosenContext() {
            try context.check()
            client = try context.client()
        } else {
            let found = try given(endpoints, "WEFT_ENDPOINTS").map(Self.endpoints) ?? [Self.ownMember]
            client = FabricClient(endpoints: found, group: MultiThreadedEventLoopGroup.singleton)
            client.http.tls = try tls.context(for: found)
        }
        client.http.timeout = .seconds(Int64(max(timeout, 1)))
        return client
    }

    /// The login to use; nil where URLs are given, and on a member's own machine.
    private func chosenContext() throws -> Context? {
        guard context == nil || endpoints == nil else {
            throw Problem(.usage, "--context and --endpoints exclude each other")
        }
        // What is said beats what is in the environment, and a certificate that is named is the one to show.
        if context == nil, endpoints != nil || tls.cert != nil { return nil }
        if let name = given(context, "WEFT_CONTEXT") {
            return try Context.existing(name)
        }
        return given(endpoints, "WEFT_ENDPOINTS") == nil && !Self.ownMember.isLocal ? Context.current : nil
    }

    private static func endpoints(_ text: String) throws -> [Endpoint] {
        try text.split(separator: ",").map { part in
            if part.hasPrefix("unix:///") { return Endpoint(path: String(part.dropFirst("unix://".count))) }
            guard let endpoint = Endpoint(String(part)) else {
                throw Problem(
                    .usage, "\"\(part)\" is no URL of the form http://HOST:PORT, https://HOST:PORT or unix:///PATH")
            }
            return endpoint
        }
    }

    private static let socketPath = "/run/weft/client"

    /// The member of this machine, as the service that `scripts/install` makes.
    private static var ownMember: Endpoint {
        access(socketPath, R_OK | W_OK) == 0 ? Endpoint(path: socketPath) : Endpoint(host: "localhost", port: 2379)
    }

    /// Runs `body` with a client of whoever is named, and puts what goes wrong into the user's words.
    func ask<T>(_ body: (FabricClient) async throws -> T) async throws -> T {
        try await Problem.explaining {
            var client = try client()
            try await login.logIn(&client)
            return try await body(client)
        }
    }
}

extension Problem {
    /// Puts what goes wrong with a fabric into the user's words.
    static func explaining<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let refusal as FabricClient.Refusal {
            let kind: Kind =
                refusal.status == 404 || refusal.message.hasSuffix("name not found")
                ? .notFound : refusal.status == 503 ? .unavailable : .failed
            // Who speaks is said anyway.
            let text = refusal.message.hasPrefix("weft: ") ? String(refusal.message.dropFirst(6)) : refusal.message
            throw Problem(kind, text + advice(refusal))
        } catch let failure as HTTPClient.Failure {
            throw Problem(.unavailable, failure.description)
        }
    }

    /// What may help, where the fabric's words are etcd's.
    private static func advice(_ refusal: FabricClient.Refusal) -> String {
        switch refusal.message {
        case "etcdserver: user name is empty": " (users and roles count here: name a user with --user)"
        case "etcdserver: permission denied":
            " (this user or certificate has no right to it; see `weft user get` and `weft ca show`)"
        default: ""
        }
    }
}

extension FabricClient.Refusal {
    /// The member answers, and not this caller: a witness has no state to know callers by.
    var isAboutCaller: Bool {
        [401, 403].contains(status) || message == "etcdserver: user name is empty"
    }
}

/// A table for people.
struct Table {
    private var rows: [[String]]

    init(_ titles: [String]) { rows = [titles] }

    mutating func add(_ row: [String]) { rows.append(row) }

    func print() {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            var line = ""
            for (cell, width) in zip(row, widths) {
                line += cell + String(repeating: " ", count: width - cell.count + 2)
            }
            while line.last == " " { line.removeLast() }
            Swift.print(line)
        }
    }
}

/// Prints a JSON value over several lines.
func printJSON(_ value: JSONValue) {
    print(text(of: value, indent: ""))
}

private func text(of value: JSONValue, indent: String) -> String {
    let inner = indent + "  "
    switch value {
    case .null: return "null"
    case .bool(let flag): return flag ? "true" : "false"
    case .number(let text): return text
    case .string(let string):
        var json = JSONWriter()
        json.string(string)
        return String(decoding: json.bytes, as: UTF8.self)
    case .array(let items):
        if items.isEmpty { return "[]" }
        return "[\n" + items.map { inner + text(of: $0, indent: inner) }.joined(separator: ",\n") + "\n\(indent)]"
    case .object(let fields):
        if fields.isEmpty { return "{}" }
        let lines = fields.map {
            inner + text(of: .string($0.name), indent: "") + ": " + text(of: $0.value, indent: inner)
        }
        return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
    }
}
