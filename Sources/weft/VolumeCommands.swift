internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

struct VolumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume", abstract: "The volumes of a fabric, and where their replicas are.",
        subcommands: [
            List.self, Create.self, Show.self, Explain.self, Resize.self, Label.self, Attach.self, Detach.self,
            Delete.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the volumes.",
            discussion: "Examples:\n  weft volume list --domain west\n  weft volume list --state Degraded")
        @Option(help: "Only those with a replica in this domain.")
        var domain: String?
        @Option(help: "Only those with a replica on this node.")
        var node: String?
        @Option(help: "Only those that are Up, Degraded or Down.")
        var state: String?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let query = [("domain", domain), ("node", node), ("state", state)].compactMap { name, value in
                value.map { "&\(name)=\($0)" }
            }.joined()
            var volumes: [JSONValue] = []
            try await flags.ask { client in
                var next: Int64? = 0
                while let after = next {
                    let answer = try await client.send(.GET, "/v1/fabric/volumes?limit=1000&after=\(after)\(query)")
                    volumes += answer["items"]?.items ?? []
                    next = answer["next"]?.integer
                }
            }
            if flags.output == .json { return printJSON(.array(volumes)) }
            var table = Table(["ID", "NAME", "SIZE", "STATE", "REPLICAS", "ATTACHED", "LABELS"])
            for volume in volumes {
                table.add([
                    volume["id"]?.text ?? "", volume["name"]?.text ?? "", FabricResource.size(volume["sizeBytes"]),
                    volume["state"]?.text ?? "", VolumeCommand.replicas(volume),
                    volume["attachment"]?["node"]?.text ?? "-", FabricResource.labelText(volume["labels"]),
                ])
            }
            table.print()
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a volume; the fabric places its replicas.",
            discussion: "Example:\n  weft volume create db --size 100G --replication 2")
        @Argument(help: "Letters, digits, dots, dashes and underscores.")
        var name: String
        @Option(help: "Bytes: 1000000, 500G, 2TiB.")
        var size: String
        @Option(help: "Replicas, 1 to 3.")
        var replication = 2
        @Option(name: .customLong("label"), help: "NAME=VALUE; may be given several times.")
        var labels: [String] = []
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let (labels, bytes) = (try FabricResource.labels(labels), try FabricResource.bytes(size))
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .POST, FabricResource.path("volumes")) { json in
                    json.field("name", name)
                    json.name("sizeBytes")
                    json.number(bytes)
                    json.name("replication")
                    json.number(replication)
                    FabricResource.write(labels, &json)
                }
            }
            try VolumeCommand.report(answer, flags)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a volume.", discussion: "Example:\n  weft volume show db")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, FabricResource.path("volumes", volume)) }
            try VolumeCommand.report(answer, flags)
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say where a volume's replicas are, how they came there, and where a further one would go.",
            discussion: "Example:\n  weft volume explain db")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask {
                try await $0.send(.GET, FabricResource.path("volumes", volume, "explain"))
            }
            if flags.output == .json { return printJSON(answer) }
            try VolumeCommand.report(answer["volume"] ?? .null, flags)
            print("\nwhat happened:")
            for event in answer["events"]?.items ?? [] {
                print("  \(FabricResource.time(event["at"]))  \(event["what"]?.text ?? "")")
            }
            print("\nwhere a further replica would go, best first:")
            var table = Table(["  NODE", "DOMAIN", "IN DOMAIN", "IN ZONE", "IN RACK", "FREE", ""])
            for verdict in answer["next"]?.items ?? [] {
                func count(_ name: String) -> String { String(verdict[name]?.integer ?? 0) }
                let note =
                    verdict["chosen"]?.boolean == true
                    ? "<- here" : verdict["objection"]?.text.map { "no: \($0)" } ?? ""
                table.add([
                    "  " + (verdict["node"]?.text ?? ""), verdict["domain"]?.text ?? "", count("sameDomain"),
                    count("sameZone"), count("sameRack"), FabricResource.size(verdict["freeBytes"]), note,
                ])
            }
            table.print()
            print(
                "\nIN DOMAIN, ZONE, RACK: replicas already there; fewer are better, the first difference decides, then space."
            )
        }
    }

    struct Resize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a volume's size.", discussion: "Example:\n  weft volume resize db 200G")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @Argument(help: "Bytes: 1000000, 500G, 2TiB.")
        var size: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let bytes = try FabricResource.bytes(size)
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .PATCH, FabricResource.path("volumes", volume)) { json in
                    json.name("sizeBytes")
                    json.number(bytes)
                }
            }
            try VolumeCommand.report(answer, flags)
        }
    }

    struct Label: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace a volume's labels.", discussion: "Example:\n  weft volume label db app=shop")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @Argument(help: "NAME=VALUE")
        var labels: [String] = []
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let labels = try FabricResource.labels(labels)
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .PATCH, FabricResource.path("volumes", volume)) {
                    FabricResource.write(labels, &$0)
                }
            }
            try VolumeCommand.report(answer, flags)
        }
    }

    struct Attach: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Attach a volume to one node; prints the fencing token.",
            discussion: "Example:\n  weft volume attach db e1")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @Argument(help: "The node.")
        var node: String
        @Flag(help: "Also when it is attached to another node that is online: that one is fenced off.")
        var force = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .POST, FabricResource.path("volumes", volume, "attach")) {
                    json in
                    json.field("node", node)
                    json.field("force", force)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("attached to \(node), token \(answer["attachment"]?["token"]?.integer ?? 0)")
        }
    }

    struct Detach: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Detach a volume.", discussion: "Example:\n  weft volume detach db --token 7")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @Option(help: "Only if this is the token it is attached with.")
        var token: Int64?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .POST, FabricResource.path("volumes", volume, "detach")) {
                    json in
                    guard let token else { return }
                    json.name("token")
                    json.number(token)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("detached")
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a volume.", discussion: "Example:\n  weft volume delete db")
        @Argument(help: "Name or id of the volume.")
        var volume: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await FabricResource.change(client, .DELETE, FabricResource.path("volumes", volume))
            }
            if flags.output == .json { return printJSON(answer) }
            print("deleted volume \(volume)")
        }
    }

    fileprivate static func replicas(_ volume: JSONValue) -> String {
        (volume["replicas"]?.items ?? []).map { replica in
            let state = replica["state"]?.text ?? ""
            let isReachable = replica["available"]?.boolean == true
            let note = state == "Current" && isReachable ? "" : isReachable ? " (\(state))" : " (\(state), unavailable)"
            return "\(replica["domain"]?.text ?? "")/\(replica["node"]?.text ?? "")\(note)"
        }.joined(separator: ", ")
    }

    fileprivate static func report(_ volume: JSONValue, _ flags: ClientFlags) throws {
        if flags.output == .json { return printJSON(volume) }
        print("volume      \(volume["name"]?.text ?? "") (\(volume["id"]?.text ?? ""))")
        print("size        \(FabricResource.size(volume["sizeBytes"]))")
        print("state       \(volume["state"]?.text ?? ""), replication \(volume["replication"]?.integer ?? 0)")
        print("replicas    \(replicas(volume))")
        let attachment = volume["attachment"].map { "\($0["node"]?.text ?? ""), token \($0["token"]?.integer ?? 0)" }
        print("attached    \(attachment ?? "-")")
        print("labels      \(FabricResource.labelText(volume["labels"]))")
        print("created     \(FabricResource.time(volume["createdAt"])) UTC")
    }
}
