internal import ArgumentParser
internal import Client
internal import Credentials
internal import JSON
internal import NIOHTTP1
internal import Server

struct PairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pair",
        abstract: "Pair this fabric with one in another region. Only a token travels by hand.",
        discussion: """
            Two minutes, at a member of each:
              west$ weft pair token                          prints one line, good for one use within the hour
              east$ weft pair add west --as east --token …
              east$ weft pair list

            Each fabric has a CA of its own, and believes the other's for the other's members only. New CAs travel by themselves, by
            whichever side reaches the other.
            """,
        subcommands: [
            Token.self, Add.self, List.self, Show.self, Verify.self, Suspend.self, Resume.self, Remove.self,
        ])

    private static let resource = "pairs"

    struct Token: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token by which another fabric pairs itself with this one, and print it.",
            discussion: """
                It is one line, for one use; the fabric keeps what its secret hashes to. `weft token list` and `weft token revoke` know it, too.

                Examples:
                  weft pair token
                  weft pair token --ttl 10m
                """)
        @Option(help: "How long it is good: 30s, 10m, 1h, at most 720h.")
        var ttl: String = "1h"
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let seconds = try Durations.seconds(ttl, "--ttl", atMost: RunningMember.tokenSecondsMax)
            let answer = try await flags.ask { client in
                try await client.call("/v1/fabric/pair-tokens") { json in
                    json.name("ttlSeconds")
                    json.number(seconds)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print(answer["token"]?.text ?? "")
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Pair this fabric with the one that made a token.",
            discussion: """
                This side goes to the other, which has to be reached from here; after that it is enough that one of them reaches the other. Both
                sides have the pair then: NAME is what the other is called here.

                Examples:
                  weft pair add west --token weft1.…@https://10.1.0.1:2379
                  weft pair add west --as east --token-file /run/token
                  weft pair add west --token - --reach https://west.example.com:2379 < token
                """)
        @Argument(help: "As the other fabric is called here.")
        var name: String
        @OptionGroup var token: JoinTokenFlags
        @Option(name: .customLong("as"), help: "As the other side is to call this fabric. (default: fabric-ID)")
        var ownName: String?
        @Option(help: "https:// URLs at which the other is reached, comma-separated. (default: as the token says)")
        var reach: String?
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            guard let text = try token.read(), PairTokenText(text) != nil else {
                throw Problem(
                    .usage,
                    "this is no token for pairing: one is weft1.CA.ID.SECRET@URL, as `weft pair token` prints it")
            }
            let answer = try await flags.ask { [name, ownName, reach] client in
                try await FabricResource.change(client, .PUT, FabricResource.path(resource, name)) { json in
                    json.field("token", text)
                    if let ownName { json.field("as", ownName) }
                    if let reach {
                        json.field("endpoints", reach.split(separator: ",").map(String.init)) { $0.string($1) }
                    }
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("paired with fabric \(answer["fabric"]?.text ?? "") as \(name)")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the fabrics that this one is paired with, and how they are.",
            discussion: "Examples:\n  weft pair list\n  weft pair list -o json")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, FabricResource.path(resource)) }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["NAME", "FABRIC", "STATE", "LAST CONTACT (UTC)", "CLOCK AHEAD", "RELEASE", "REASON"])
            for pair in answer["items"]?.items ?? [] {
                table.add([
                    pair["name"]?.text ?? "", pair["fabric"]?.text ?? "", pair["state"]?.text ?? "",
                    pair["lastContactAt"] == nil ? "-" : FabricResource.time(pair["lastContactAt"]),
                    pair["clockSkewMillis"]?.integer.map { "\($0) ms" } ?? "-", pair["release"]?.text ?? "-",
                    pair["reason"]?.text ?? "",
                ])
            }
            table.print()
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a pair in full.", discussion: "Example:\n  weft pair show west")
        @Argument(help: "The pair's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            printJSON(try await flags.ask { try await $0.send(.GET, FabricResource.path(resource, name)) })
        }
    }

    /// POSTs a verb, and says what it came to.
    private static func act(_ verb: String, on name: String, _ flags: ClientFlags, _ done: String) async throws {
        let answer = try await flags.ask {
            try await $0.send(.POST, FabricResource.path(resource, name, verb), headers: FabricResource.headers)
        }
        if flags.output == .json { return printJSON(answer) }
        print("pair \(name) \(done)")
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Reach the other fabric now, and say what stands against it.",
            discussion: "Example:\n  weft pair verify west")
        @Argument(help: "The pair's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await PairCommand.act("verify", on: name, flags, "is ready") }
    }

    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask nothing of the other fabric, and answer it nothing, until `weft pair resume`.",
            discussion: "Example:\n  weft pair suspend west")
        @Argument(help: "The pair's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await PairCommand.act("suspend", on: name, flags, "is suspended") }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go on with a pair that is suspended.",
            discussion: """
                After `restore` or `recover` a fabric is another than the one that was paired: pair it anew.

                Example:
                  weft pair resume west
                """)
        @Argument(help: "The pair's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await PairCommand.act("resume", on: name, flags, "goes on") }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Believe the other fabric no more, and forget it. The other side sees the pair degraded.",
            discussion: "Example:\n  weft pair remove west")
        @Argument(help: "The pair's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask {
                try await $0.send(.DELETE, FabricResource.path(resource, name), headers: FabricResource.headers)
            }
            if flags.output == .json { return printJSON(answer) }
            print("pair \(name) removed")
        }
    }
}
