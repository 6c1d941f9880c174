internal import ArgumentParser
internal import Certificates
internal import Client
internal import Credentials
internal import JSON
internal import NIOHTTP1
internal import NIOPosix
internal import Server
internal import Storage
internal import TLS
internal import Transport
#if canImport(Glibc)
    internal import Glibc
#endif

struct CACommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca", abstract: "The fabric's own CA: what it signed, and for whom.",
        discussion:
            "A fabric whose first member serves https:// without certificates of its operators makes a CA of its own.",
        subcommands: [Show.self, Init.self, Issue.self, Renew.self, Revoke.self, Rotate.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the fabric's CAs and the certificates that are in use.",
            discussion: "Examples:\n  weft ca show\n  weft ca show --pem > ca.pem")
        @Flag(help: "Print the CAs' certificates alone, for --cacert and for curl.")
        var pem = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let (ca, list) = try await flags.ask { client in
                let ca = try await client.send(.GET, "/v1/ca")
                return (ca, pem ? JSONValue.null : try await client.send(.GET, "/v1/ca/certificates"))
            }
            let authorities = ca["authorities"]?.items ?? []
            if pem { return print(authorities.compactMap { $0["certificate"]?.text }.joined(), terminator: "") }
            if flags.output == .json {
                let fields = ["members", "clients"].map { JSONValue.Field($0, list[$0] ?? .null) }
                guard case .object(let own) = ca else { return }
                return printJSON(.object(own + fields))
            }
            guard !authorities.isEmpty else {
                return print(
                    "the fabric has no CA of its own: its members serve without TLS, or with certificates that were brought"
                )
            }
            var table = Table(["CA", "GOOD UNTIL (UTC)"])
            for item in authorities { table.add([Self.short(item["id"]), FabricResource.time(item["until"])]) }
            table.print()
            print()
            let known = authorities.compactMap { $0["id"]?.text } + [""]
            var certificates = Table(["ID", "NAME", "ROLE", "CA", "GOOD UNTIL (UTC)"])
            let items =
                (list["members"]?.items ?? []).map { ($0, "member") }
                + (list["clients"]?.items ?? []).map { ($0, $0["role"]?.text ?? "") }
            for (item, role) in items {
                certificates.add([
                    item["id"]?.text ?? "", item["name"]?.text ?? "", role, Self.short(item["authority"]),
                    !known.contains(item["authority"]?.text ?? "")
                        ? "no more: its CA is gone"
                        : item["until"] == nil ? "not said" : FabricResource.time(item["until"]),
                ])
            }
            certificates.print()
        }

        private static func short(_ id: JSONValue?) -> String { String((id?.text ?? "").prefix(16)) }
    }

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Make a CA for a fabric that has none: one that runs in clear text, or with certificates that were brought.",
            discussion: """
                The member that is asked has the CA's key. Nothing changes before members are started with https:// addresses; docs/security.md
                has the steps.

                Example:
                  weft ca init
                """)
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.call("/v1/ca/init") }
            if flags.output == .json { return printJSON(answer) }
            print(
                "the fabric has a CA of its own; start this member with https:// addresses now, then the others: see docs/security.md"
            )
        }
    }

    struct Issue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Have the CA sign a certificate for a client: a node of the storage cluster, a tool, an operator.",
            discussion: """
                Makes a key here, and writes ca.pem, client.pem, client.key and, for `weft ca renew`, client.endpoints to a directory. The key goes nowhere else. Tools
                on other machines get theirs with `weft token create` and `weft enrol`.

                Examples:
                  weft ca issue backup --role weft:client --out /etc/backup/weft
                  curl --cacert ca.pem --cert client.pem --key client.key https://10.0.0.1:2379/v1/kv/a
                  etcdctl --cacert ca.pem --cert client.pem --key client.key --endpoints https://10.0.0.1:2379 get a
                """)
        @Argument(help: "What people call it.")
        var name: String
        @Option(
            help:
                "What it may do: weft:client (all keys, while users do not count), weft:node:NAME, weft:observer, weft:operator or root."
        )
        var role: String = "weft:client"
        @Option(help: "How long it is good: 8h, 2160h (the default, 90 days), at most 8784h.")
        var ttl: String = "2160h"
        @Option(help: "The directory for the files.")
        var out: String = "."
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let seconds = try Durations.seconds(ttl, "--ttl", atMost: RunningMember.clientSecondsMax)
            let files = ClientCertificateFiles(in: out)
            try files.expectRoom()
            let (key, request) = try files.makeRequest(name)
            let (answer, members) = try await flags.ask { client in
                let answer = try await client.call("/v1/ca/certificates") { json in
                    json.field("request", request)
                    json.field("name", name)
                    json.field("role", role)
                    json.field("ttlSeconds", seconds)
                }
                return (answer, try? await client.members())
            }
            try files.write(answer, key)
            try files.write(members?.secureEndpoints ?? [])
            try files.report(answer, flags.output)
        }
    }

    struct Renew: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have the CA sign a client's certificate again, before its time is over.",
            discussion: """
                Does nothing while more than a third of its life is left, so that it can be run every day; --force asks all the same, and gets
                another once the fabric has a new CA. The certificate itself shows whose it is, and the new one is good for as long as before. The key
                stays what it is.

                It asks the members that it was issued or enrolled by, unless --endpoints names others.

                Examples:
                  weft ca renew --dir /etc/backup/weft
                  weft ca renew --dir /etc/backup/weft --endpoints https://10.0.0.1:2379
                """)
        @Option(help: "The directory with ca.pem, client.pem and client.key.")
        var dir: String = "."
        @Flag(help: "Ask also while there is time.")
        var force = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let files = ClientCertificateFiles(in: dir)
            let own = try files.certificate()
            let now = Int64(time(nil))
            guard force || (own.validity.to - now) * 3 < own.validity.to - own.validity.from else {
                return print("client.pem is good until \(utcText(seconds: own.validity.to)): nothing to do")
            }
            let (key, request) = try files.makeRequest(own.commonName ?? "client")
            var flags = flags
            flags.endpoints = try flags.endpoints ?? given(nil, "WEFT_ENDPOINTS") ?? files.readEndpoints()
            guard let urls = flags.endpoints, urls.split(separator: ",").allSatisfy({ $0.hasPrefix("https://") }) else {
                throw Problem(
                    .usage, "a certificate is renewed by showing it: --endpoints https://HOST:PORT names a member")
            }
            (flags.tls.cacert, flags.tls.cert, flags.tls.key) = (files.trust, files.client, files.key)
            let answer = try await flags.ask { try await $0.call("/v1/ca/renew") { $0.field("request", request) } }
            try files.write(answer, key)
            try await files.learnEndpoints(urls.split(separator: ",").compactMap { Endpoint(String($0)) })
            try files.report(answer, flags.output)
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a client's certificate back: whoever shows it is nobody from now on.",
            discussion: "Example:\n  weft ca revoke d3a1b2c4e5f60718")
        @Argument(help: "The certificate's id, as `weft ca show` has it.")
        var id: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                do {
                    return try await client.send(.DELETE, "/v1/ca/certificates/\(id)")
                } catch let refusal as FabricClient.Refusal where refusal.status == 404 {
                    guard try await client.members().members.contains(where: { hex($0.id) == id }) else {
                        throw refusal
                    }
                    throw Problem(.usage, "\(id) is a member: its certificate ends with `weft member remove \(id)`")
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("certificate \(id) revoked")
        }
    }
}

extension CACommand {
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go over to a new CA.",
            discussion: """
                The member that is asked makes a new CA, for which the old one vouches: nobody is locked out. The members get its key
                from each other and make their certificates anew by themselves, within a minute. Clients do so with
                `weft ca renew --force`, and need the new ca.pem that this writes. `weft ca show` names those that did. Then --finish ends it:
                the old CA counts no more.

                Examples:
                  weft ca rotate
                  weft ca rotate --finish
                """)
        @Flag(help: "Have the old CA count no more.")
        var finish = false
        @Flag(help: "Give the new CA up, where the member that made it is gone and no other has its key.")
        var abandon = false
        @Flag(help: "With --finish: also while clients have certificates of the old CA only.")
        var force = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            guard !(finish && abandon), finish || !force else {
                throw Problem(.usage, "--finish and --abandon exclude each other, and --force goes with --finish")
            }
            let answer = try await flags.ask { client in
                try await client.call("/v1/ca/rotate") { json in
                    json.field("step", finish ? "finish" : abandon ? "abandon" : "begin")
                    if force { json.field("force", true) }
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print(
                finish
                    ? "the old CA counts no more"
                    : abandon
                        ? "the new CA is given up"
                        : "a new CA is believed beside the old one; see `weft ca show`, then `weft ca rotate --finish`")
        }
    }
}

struct Enrol: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Get a client's certificate with a join token: for a node of the storage cluster, or a tool.",
        discussion: """
            Makes a key here, checks that the member at URL is of the fabric that the token names, and writes ca.pem, client.pem,
            client.key and client.endpoints to a directory. `weft ca renew` renews them.

            Examples:
              weft enrol https://10.0.0.1:2379 --token weft1.… --name e1 --out /etc/node/weft
              weft get a --endpoints https://10.0.0.1:2379 --cacert ca.pem --cert client.pem --key client.key
            """)
    @Argument(help: "The client URL of a member of the fabric.")
    var url: String
    @OptionGroup var token: JoinTokenFlags
    @Option(help: "What people call it. (default: the name of this machine)")
    var name: String?
    @Option(help: "The directory for the files.")
    var out: String = "."
    @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
    var output: OutputFormat = .simple

    func run() async throws {
        guard let endpoint = Endpoint(url), let text = try token.read() else {
            throw Problem(.usage, "the URL of a member, https://HOST:PORT, and --token or --token-file are needed")
        }
        let admission = try Admission(text, at: endpoint)
        let files = ClientCertificateFiles(in: out)
        try files.expectRoom()
        let answer = try await admission.enrol(name, files)
        try await files.learnEndpoints([endpoint])
        try files.report(answer, output)
    }
}

/// A client's certificate, its key and the fabric's CAs in files as tools take them, and where the members are.
struct ClientCertificateFiles {
    let directory: String
    var trust: String { directory + "/ca.pem" }
    var client: String { directory + "/client.pem" }
    var key: String { directory + "/client.key" }
    /// Where the fabric's members are, a line each.
    private var endpoints: String { directory + "/client.endpoints" }
    private static let endpointsBytesMax = 1 << 16

    init(in directory: String) { self.directory = directory }

    /// Refuses to write over what somebody may be using.
    func expectRoom() throws {
        if let taken = [client, trust].first(where: File.exists) {
            throw Problem(.failed, "\(taken) is there already: choose another --out, or renew with `weft ca renew`")
        }
    }

    /// With the key that is there, or a new one. It is there before anybody is asked: an answer can be lost, and had again with the same key.
    func makeRequest(_ title: String) throws -> (key: PrivateKey, request: String) {
        do {
            let key: PrivateKey
            if File.exists(self.key) {
                try expectOwn(self.key)
                key = try PrivateKey(pem: try File(self.key, .read).read(at: 0, count: 1 << 16))
            } else {
                key = try PrivateKey()
                try write(try key.pem(), to: self.key)
            }
            return (key, String(decoding: try CertificateRequest(of: key, commonName: title).pem(), as: UTF8.self))
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.failed, "\(key): \(error)")
        }
    }

    /// A key that others can read, or that somebody else laid there, is no secret.
    private func expectOwn(_ path: String) throws {
        var found = stat()
        guard lstat(path, &found) == 0, found.st_mode & S_IFMT == S_IFREG, found.st_uid == geteuid(),
            found.st_mode & 0o077 == 0
        else {
            throw Problem(
                .failed,
                "\(path) belongs to another user, or others can read it: remove it for a new key, or make it yours alone (chmod 600)"
            )
        }
    }

    /// The certificate that is there.
    func certificate() throws -> Certificate {
        do {
            guard let found = try Certificate.all(pem: try File(client, .read).read(at: 0, count: 1 << 16)).first else {
                throw CertificateError("it has no certificate")
            }
            return found
        } catch {
            throw Problem(.notFound, "\(client): \(error)")
        }
    }

    /// - Parameter answer: a signed certificate's.
    func write(_ answer: JSONValue, _ key: PrivateKey) throws {
        let pem = Array((answer["certificate"]?.text ?? "").utf8)
        do {
            guard let own = try Certificate.all(pem: pem).first, own.isFor(key) else {
                throw CertificateError("it is for another key")
            }
            try write(Array((answer["authorities"]?.text ?? "").utf8), to: trust)
            try write(pem, to: client)
        } catch let error as CertificateError {
            throw Problem(.failed, "the certificate that was answered cannot be used: \(error)")
        }
    }

    func write(_ endpoints: [Endpoint]) throws {
        try write(Array(endpoints.map { "\($0)\n" }.joined().utf8), to: self.endpoints)
    }

    /// A client that shows the certificate.
    func client(at endpoints: [Endpoint]) throws -> FabricClient {
        var client = FabricClient(endpoints: endpoints, group: MultiThreadedEventLoopGroup.singleton)
        var settings = TLSSettings()
        settings.trustedCAFile = trust
        (settings.certificateFile, settings.keyFile) = (self.client, key)
        settings.trust = .fabric
        do throws(TLSError) { client.http.tls = try TLSContext(settings, .client) } catch {
            throw Problem(.failed, error.description)
        }
        return client
    }

    /// Notes where the members are, those that were asked first: one of them may be gone when the certificate is renewed.
    func learnEndpoints(_ asked: [Endpoint]) async throws {
        let others = try? await client(at: asked).members().secureEndpoints
        try write(asked + (others ?? []).filter { !asked.contains($0) })
    }

    /// As --endpoints takes them; nil where nobody wrote any.
    func readEndpoints() throws -> String? {
        guard File.exists(endpoints) else { return nil }
        let text = try File(endpoints, .read).read(at: 0, count: Self.endpointsBytesMax)
        let found = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        return found.isEmpty ? nil : found.joined(separator: ",")
    }

    func remove() throws {
        for path in [client, key, trust, endpoints] { try File.remove(path) }
        rmdir(directory)
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        do throws(StorageError) {
            _ = try File.makeDirectory(directory, mode: 0o700)
            try File.replace(path, with: bytes)
        } catch {
            throw Problem(error)
        }
    }

    func report(_ answer: JSONValue, _ output: OutputFormat) throws {
        if output == .json { return printJSON(answer) }
        print(
            "certificate \(answer["id"]?.text ?? "") is good until \(FabricResource.time(answer["until"])) UTC: \(trust), \(client), \(key)"
        )
    }
}

func ownHostName() -> String? {
    var name = [CChar](repeating: 0, count: 256)
    return gethostname(&name, name.count - 1) == 0 ? String(cString: &name) : nil
}
