internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "The storage nodes of a fabric.",
        subcommands: [
            List.self, Register.self, Heartbeat.self, Cordon.self, Uncordon.self, Maintenance.self, Remove.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the storage nodes.", discussion: "Example:\n  weft node list --domain east")
        @Option(help: "Only those of this domain.")
        var domain: String?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let query = domain.map { "?domain=\($0)" } ?? ""
            let answer = try await flags.ask { try await $0.send(.GET, "/v1/fabric/nodes" + query) }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["NAME", "DOMAIN", "STATE", "CAPACITY", "ALLOCATED", "VOLUMES", "RESYNCING", "LABELS"])
            for node in answer["items"]?.items ?? [] {
                let isCordoned = node["cordoned"]?.boolean == true
                table.add([
                    node["name"]?.text ?? "", node["domain"]?.text ?? "",
                    (node["state"]?.text ?? "") + (isCordoned ? ",Cordoned" : ""),
                    FabricResource.size(node["capacityBytes"]),
                    FabricResource.size(node["allocatedBytes"]), String(node["volumes"]?.integer ?? 0),
                    String(node["resyncing"]?.integer ?? 0), FabricResource.labelText(node["labels"]),
                ])
            }
            table.print()
        }
    }

    struct Register: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a storage node, or change what it offers.",
            discussion: """
                It is online for --ttl seconds, and again with each heartbeat; a storage node's own software does this.

                Example:
                  weft node register e1 --domain east --capacity 2TB --label zone=a
                """)
        @Argument(help: "The node.")
        var name: String
        @Option(help: "The domain it belongs to.")
        var domain: String
        @Option(help: "Bytes it offers: 1000000, 500G, 2TiB.")
        var capacity: String
        @Option(name: .customLong("label"), help: "NAME=VALUE; zone and rack say where it stands.")
        var labels: [String] = []
        @Option(help: "Seconds that it is online after a heartbeat.")
        var ttl: Int64 = 30
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let (labels, bytes) = (try FabricResource.labels(labels), try FabricResource.bytes(capacity))
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .PUT, FabricResource.path("nodes", name)) { json in
                    json.field("domain", domain)
                    json.name("capacityBytes")
                    json.number(bytes)
                    json.name("ttlSeconds")
                    json.number(ttl)
                    FabricResource.write(labels, &json)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print(
                "node \(name) is \(answer["state"]?.text ?? "") in \(domain) for \(answer["ttlSeconds"]?.integer ?? 0) s"
            )
        }
    }

    struct Heartbeat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Keep a node online.", discussion: "Example:\n  weft node heartbeat e1")
        @Argument(help: "The node.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await NodeCommand.act("heartbeat", on: name, flags)
            if flags.output == .json { return printJSON(answer) }
            print("node \(name) is online for \(answer["ttlSeconds"]?.integer ?? 0) s")
        }
    }

    struct Cordon: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Place no new replicas on a node.", discussion: "Example:\n  weft node cordon e1")
        @Argument(help: "The node.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await NodeCommand.report(NodeCommand.act("cordon", on: name, flags), flags) }
    }

    struct Uncordon: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Place replicas on a node again.", discussion: "Example:\n  weft node uncordon e1")
        @Argument(help: "The node.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await NodeCommand.report(NodeCommand.act("uncordon", on: name, flags), flags) }
    }

    struct Maintenance: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a node out of use for a while: its replicas are resynced afterwards.",
            discussion: "Examples:\n  weft node maintenance e1 on\n  weft node maintenance e1 off")
        @Argument(help: "The node.")
        var name: String
        @Argument(help: "on or off.")
        var state: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            guard ["on", "off"].contains(state) else { throw Problem(.usage, "on or off, not \"\(state)\"") }
            let verb = state == "on" ? "enter-maintenance" : "exit-maintenance"
            try await NodeCommand.report(NodeCommand.act(verb, on: name, flags), flags)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a node that no volume needs any more.", discussion: "Example:\n  weft node remove e1")
        @Argument(help: "The node.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .DELETE, FabricResource.path("nodes", name))
            }
            if flags.output == .json { return printJSON(answer) }
            print("removed node \(name)")
        }
    }

    private static func act(_ verb: String, on name: String, _ flags: ClientFlags) async throws -> JSONValue {
        try await flags.ask { try await FabricResource.change($0, .POST, FabricResource.path("nodes", name, verb)) }
    }

    private static func report(_ node: JSONValue, _ flags: ClientFlags) throws {
        if flags.output == .json { return printJSON(node) }
        let isCordoned = node["cordoned"]?.boolean == true
        print("node \(node["name"]?.text ?? "") is \(node["state"]?.text ?? "")\(isCordoned ? ", cordoned" : "")")
    }
}
