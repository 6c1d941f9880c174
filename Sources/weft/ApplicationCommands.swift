internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

struct ApplicationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "application",
        abstract: "Applications: volumes and keys that go to another region together.",
        subcommands: [List.self, Create.self, Update.self, Show.self, Delete.self])

    /// What an application is.
    struct Fields: ParsableArguments {
        @Option(help: "All keys that begin so. Several may be given.")
        var prefix: [String] = []
        @Option(help: "A volume by its name. Several may be given.")
        var volume: [String] = []
        @Option(help: "How old the other region's newest restore point may be: 15m, 1h. (default: no such wish)")
        var rpo: String?

        func validate() throws {
            guard !prefix.isEmpty || !volume.isEmpty else {
                throw ValidationError("an application has --prefix, --volume, or both")
            }
        }
    }

    private static let resource = "applications"

    private static func put(
        _ name: String, _ fields: Fields, _ flags: ClientFlags, _ condition: (name: String, value: String)
    ) async throws {
        let rpo = try fields.rpo.map { try Durations.seconds($0, "--rpo", atMost: 366 * 86_400) }
        var json = JSONWriter()
        json.object { json in
            json.field("prefixes", fields.prefix) { $0.string($1) }
            json.field("volumes", fields.volume) { $0.string($1) }
            if let rpo { json.field("rpoSeconds", rpo) }
        }
        let answer = try await FabricResource.put(resource, name, json.bytes, flags, condition)
        if flags.output == .json { return printJSON(answer) }
        print("application \(name): \(what(answer))")
    }

    /// `2 prefixes, 14 volumes`.
    private static func what(_ application: JSONValue) -> String {
        let (prefixes, volumes) = (application["prefixes"]?.items ?? [], application["volumes"]?.items ?? [])
        func count(_ items: [JSONValue], _ one: String, _ many: String) -> String {
            items.count == 1 ? "\(one) \(items[0].text ?? "")" : "\(items.count) \(many)"
        }
        return [
            prefixes.isEmpty ? nil : count(prefixes, "prefix", "prefixes"),
            volumes.isEmpty ? nil : count(volumes, "volume", "volumes"),
        ].compactMap(\.self).joined(separator: ", ")
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the applications.", discussion: "Example:\n  weft application list")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, FabricResource.path(resource)) }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["NAME", "HAS", "RPO", "EPOCH"])
            for application in answer["items"]?.items ?? [] {
                let rpo = application["rpoSeconds"]?.integer ?? 0
                table.add([
                    application["name"]?.text ?? "", what(application), rpo == 0 ? "-" : "\(rpo) s",
                    String(application["epoch"]?.integer ?? 0),
                ])
            }
            table.print()
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an application.",
            discussion: """
                No key and no volume belongs to two applications.

                Examples:
                  weft application create shop --prefix /shop/ --volume shop-db --volume shop-files --rpo 15m
                  weft application create settings --prefix /config/
                """)
        @Argument(help: "Letters, digits, dots, dashes and underscores.")
        var name: String
        @OptionGroup var fields: Fields
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await put(name, fields, flags, ("if-none-match", "*")) }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace an application as a whole.",
            discussion: "Example:\n  weft application update shop --prefix /shop/ --volume shop-db")
        @Argument(help: "The application.")
        var name: String
        @OptionGroup var fields: Fields
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let known = try await flags.ask { try await $0.send(.GET, FabricResource.path(resource, name)) }
            try await put(name, fields, flags, ("if-match", "\"\(known["revision"]?.integer ?? 0)\""))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show an application as JSON.", discussion: "Example:\n  weft application show shop")
        @Argument(help: "The application.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            printJSON(try await flags.ask { try await $0.send(.GET, FabricResource.path(resource, name)) })
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget an application. Its keys and volumes stay.",
            discussion: "Example:\n  weft application delete shop")
        @Argument(help: "The application.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask {
                try await FabricResource.change($0, .DELETE, FabricResource.path(resource, name))
            }
            if flags.output == .json { return printJSON(answer) }
            print("application \(name) is forgotten")
        }
    }
}
