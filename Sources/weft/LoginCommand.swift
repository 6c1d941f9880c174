internal import ArgumentParser
internal import Certificates
internal import Client
internal import Credentials
internal import JSON
internal import NIOHTTP1
internal import NIOPosix
internal import Server
internal import Storage

struct Login: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Log in to a fabric with a CA of its own, so that later commands need neither URLs nor certificates.",
        discussion: """
            With a join token it gets a certificate of the token's role; with --user one of eight hours, which ends with the password, too. What it
            got is kept in ~/.config/weft (WEFT_CONFIG_DIR, XDG_CONFIG_HOME), readable to nobody else. A password is never kept.

            On a member's own machine nothing of this is needed: see /run/weft/client in docs/security.md.

            Examples:
              weft login https://10.0.0.1:2379 --token weft1.…
              weft login https://10.0.0.1:2379 --user alice --cacert ca.pem
              weft login https://10.1.0.1:2379 --token - --context west; weft status --context west
            """)
    @Argument(help: "The client URL of a member of the fabric.")
    var url: String
    @OptionGroup var token: JoinTokenFlags
    @Option(help: "What people call the certificate. (default: the name of this machine)")
    var name: String?
    @Option(help: "How this login is called here.")
    var context: String = "default"
    @OptionGroup var tls: TLSFlags
    @OptionGroup var login: LoginFlags

    func run() async throws {
        guard let endpoint = Endpoint(url), endpoint.isSecure else {
            throw Problem(.usage, "the URL of a member with TLS is needed, https://HOST:PORT")
        }
        let context = try Context(context)
        let text = try token.read()
        // A user that the environment names does not contradict a token.
        guard text == nil ? given(login.user, "WEFT_USER") != nil : login.user == nil else {
            throw Problem(
                .usage,
                "either a join token (--token, --token-file) or a user (--user, and --cacert for whom to believe) is needed"
            )
        }
        let lock = try Context.lock()
        defer { close(lock) }
        do {
            let answer = try await logIn(endpoint, text, context)
            print(
                "logged in at \(url) until \(FabricResource.time(answer["until"])) UTC; commands use it unless they are told otherwise (--endpoints, --context)"
            )
        } catch let error as StorageError {
            throw Problem(error)
        }
    }

    private func logIn(_ endpoint: Endpoint, _ text: String?, _ context: Context) async throws -> JSONValue {
        // What is there is somebody's login still, until the new one has come.
        let fresh = try context.coming
        let answer: JSONValue
        if let text {
            answer = try await Admission(text, at: endpoint).enrol(name, fresh.files)
        } else {
            answer = try await logIn(endpoint, fresh)
        }
        try await fresh.files.learnEndpoints([endpoint])
        try context.takeOver(fresh)
        try context.makeCurrent()
        return answer
    }

    private func logIn(_ endpoint: Endpoint, _ context: Context) async throws -> JSONValue {
        var client = FabricClient(endpoints: [endpoint], group: MultiThreadedEventLoopGroup.singleton)
        client.http.tls = try tls.context(for: [endpoint])
        let (key, request) = try context.files.makeRequest("user")
        let answer = try await Problem.explaining {
            try await login.logIn(&client)
            return try await client.call("/v1/ca/login") { $0.field("request", request) }
        }
        try context.files.write(answer, key)
        return answer
    }
}

struct ContextCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "context", abstract: "Show, choose and remove logins.",
        subcommands: [List.self, Use.self, Remove.self], defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the logins of this user.",
            discussion: "Examples:\n  weft context list\n  weft context list -o json")
        @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
        var output: OutputFormat = .simple

        func run() throws {
            let current = Context.current?.name
            if output == .json {
                return printJSON(.array(try Context.all.map { try $0.json(isCurrent: $0.name == current) }))
            }
            var table = Table(["", "NAME", "GOOD UNTIL", "URLS"])
            for context in try Context.all {
                let end = (try? context.files.certificate())?.validity.to
                table.add([
                    context.name == current ? "*" : "", context.name, end.map { utcText(seconds: $0) } ?? "?",
                    try context.endpoints.map(\.description).joined(separator: ","),
                ])
            }
            table.print()
        }
    }

    struct Use: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have commands use a login that is there.", discussion: "Example:\n  weft context use west")
        @Argument(help: "Its name.")
        var name: String

        func run() throws {
            try Context.existing(name).makeCurrent()
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a login. `weft ca revoke` takes its certificate back, too.",
            discussion: "Example:\n  weft context remove west")
        @Argument(help: "Its name.")
        var name: String

        func run() throws {
            try Context.existing(name).remove()
        }
    }
}
