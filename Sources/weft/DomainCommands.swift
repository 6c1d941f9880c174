internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
#if canImport(Glibc)
    internal import Glibc
#endif

struct DomainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "domain", abstract: "The failure domains of a fabric: usually one per Kubernetes cluster.",
        subcommands: [
            List.self, Create.self, Label.self, Activate.self, Deactivate.self, Preflight.self, Durability.self,
            Remove.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the domains.",
            discussion: """
                InSync: every volume's replicas there have everything that was written. SyncInProgress: some are being brought up to
                date. NotInSync: some wait for it. Unknown: no node there is online.

                Example:
                  weft domain list -o json
                """)
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, "/v1/fabric/domains") }
            if flags.output == .json { return printJSON(answer) }
            var table = Table([
                "NAME", "KIND", "STATE", "SYNC", "EPOCH", "NODES", "STALE", "RESYNCING", "LABELS", "CREATED (UTC)",
            ])
            for domain in answer["items"]?.items ?? [] {
                let isWitness = domain["kind"]?.text == "witness"
                table.add([
                    domain["name"]?.text ?? "", domain["kind"]?.text ?? "", domain["state"]?.text ?? "",
                    isWitness ? "-" : domain["sync"]?.text ?? "", String(domain["epoch"]?.integer ?? 0),
                    isWitness ? "-" : "\(domain["onlineNodes"]?.integer ?? 0)/\(domain["nodes"]?.integer ?? 0) online",
                    String(domain["replicas"]?["stale"]?.integer ?? 0),
                    String(domain["replicas"]?["resyncing"]?.integer ?? 0),
                    FabricResource.labelText(domain["labels"]), FabricResource.time(domain["createdAt"]),
                ])
            }
            table.print()
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a domain; members and nodes that name one make it, too.",
            discussion: """
                Examples:
                  weft domain create east --label region=eu --label zone=a
                  weft domain create tie --kind witness
                """)
        @Argument(help: "Letters, digits, dots, dashes and underscores.")
        var name: String
        @Option(help: "data or witness.")
        var kind = "data"
        @Option(name: .customLong("label"), help: "NAME=VALUE; may be given several times.")
        var labels: [String] = []
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let labels = try FabricResource.labels(labels)
            var headers = FabricResource.headers
            headers.add(name: "if-none-match", value: "*")
            var json = JSONWriter()
            json.object { json in
                json.field("kind", kind)
                FabricResource.write(labels, &json)
            }
            let (body, sent) = (json.bytes, headers)
            let answer = try await flags.ask {
                try await $0.send(.PUT, FabricResource.path("domains", name), body: body, headers: sent)
            }
            if flags.output == .json { return printJSON(answer) }
            print("created domain \(name)")
        }
    }

    struct Label: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace a domain's labels.", discussion: "Example:\n  weft domain label east zone=a rack=12")
        @Argument(help: "The domain.")
        var name: String
        @Argument(help: "NAME=VALUE")
        var labels: [String] = []
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let labels = try FabricResource.labels(labels)
            let answer = try await flags.ask { client in
                _ = try await client.send(.GET, FabricResource.path("domains", name))
                return try await FabricResource.change(client, .PUT, FabricResource.path("domains", name)) {
                    FabricResource.write(labels, &$0)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("domain \(name) has labels \(FabricResource.labelText(answer["labels"]))")
        }
    }

    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a domain into use again; what its replicas missed is resynced before they count.",
            discussion: "Example:\n  weft domain activate west --reason 'power is back'")
        @Argument(help: "The domain.")
        var name: String
        @Option(help: "Why, for the record.")
        var reason = ""
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .POST, FabricResource.path("domains", name, "activate")) {
                    $0.field("reason", reason)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("domain \(name) is \(answer["state"]?.text ?? ""), epoch \(answer["epoch"]?.integer ?? 0)")
        }
    }

    struct Deactivate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Take a domain out of use: its replicas and attachments do not count until it is activated and resynced.",
            discussion: """
                Says what that costs first, and asks. --yes goes ahead; without a terminal it has to be given.

                Examples:
                  weft domain deactivate west
                  weft domain deactivate west --yes --reason 'the site burns'
                """)
        @Argument(help: "The domain.")
        var name: String
        @Flag(help: "Do not ask.")
        var yes = false
        @Flag(help: "Also when it is the last active domain with data.")
        var force = false
        @Option(help: "Why, for the record.")
        var reason = ""
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let cost = try await flags.ask {
                try await $0.send(.GET, FabricResource.path("domains", name, "preflight"))
            }
            if !yes {
                for line in Preflight.lines(cost) { Console.error(line) }
                guard isatty(STDIN_FILENO) == 1 else {
                    throw Problem(.usage, "Nothing changed. Pass --yes to deactivate \(name)")
                }
                Console.error("deactivate \(name)? Type yes: ")
                guard readLine() == "yes" else { throw Problem(.failed, "nothing is changed") }
            }
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .POST, FabricResource.path("domains", name, "deactivate")) {
                    $0.field("reason", reason)
                    $0.field("force", force)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("domain \(name) is \(answer["state"]?.text ?? ""), epoch \(answer["epoch"]?.integer ?? 0)")
        }
    }

    struct Preflight: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what would happen if a domain vanished now.",
            discussion: "Without a name, of every domain.\n\nExample:\n  weft domain preflight west")
        @Argument(help: "The domain.")
        var name: String?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answers = try await flags.ask { client in
                var names = [name].compactMap(\.self)
                if names.isEmpty {
                    let all = try await client.send(.GET, "/v1/fabric/domains")
                    names = (all["items"]?.items ?? []).compactMap { $0["name"]?.text }
                }
                var answers: [JSONValue] = []
                for name in names {
                    answers.append(try await client.send(.GET, FabricResource.path("domains", name, "preflight")))
                }
                return answers
            }
            if flags.output == .json { return printJSON(.array(answers)) }
            for answer in answers { for line in Self.lines(answer) { print(line) } }
        }

        static func lines(_ answer: JSONValue) -> [String] {
            func count(_ name: String) -> Int64 { answer[name]?.integer ?? 0 }
            var lines = ["if \(answer["domain"]?.text ?? "") vanished now:"]
            for warning in answer["warnings"]?.items ?? [] { lines.append("  WARNING: \(warning.text ?? "")") }
            if let quorum = answer["quorumRemains"]?.boolean {
                lines.append(
                    quorum ? "  a quorum of members remains" : "  no quorum of members remains: nothing can be written")
            }
            if let leader = answer["leaderGoesTo"]?.text { lines.append("  the lead goes to \(leader)") }
            lines.append("  \(count("volumesDown")) volumes are down: they have no current replica elsewhere")
            for name in (answer["firstVolumesDown"]?.items ?? []).prefix(10) { lines.append("    \(name.text ?? "")") }
            if count("volumesDown") > 10 { lines.append("    and \(count("volumesDown") - 10) more") }
            lines.append("  \(count("volumesDegraded")) volumes are degraded")
            lines.append("  \(count("volumesAttached")) volumes are attached there, and have to be attached elsewhere")
            return lines
        }
    }

    struct Durability: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say in how many domains a write is on disk before it is acknowledged.",
            discussion: """
                1 asks for a majority of the members, wherever they are. 2 asks for members with data in two domains as well; while
                domains are inactive, for as many as are active. Without a number it shows what holds.

                Example:
                  weft domain durability 2
                """)
        @Argument(help: "1 to 3.")
        var domains: Int?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                guard let domains else { return try await client.send(.GET, "/v1/fabric/durability") }
                return try await FabricResource.change(client, .PUT, "/v1/fabric/durability") { json in
                    json.name("domains")
                    json.number(domains)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            let count = answer["domains"]?.integer ?? 1
            print(
                "a write is acknowledged when a majority has it"
                    + (count > 1 ? ", and data members of \(count) domains" : ""))
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a domain that has no nodes and members any more.",
            discussion: "Example:\n  weft domain remove west")
        @Argument(help: "The domain.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .DELETE, FabricResource.path("domains", name))
            }
            if flags.output == .json { return printJSON(answer) }
            print("removed domain \(name)")
        }
    }
}
