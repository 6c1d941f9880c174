internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
internal import Server
internal import Transport

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make join tokens, which let machines and tools into a fabric with a CA of its own.",
        subcommands: [Create.self, List.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a join token, and print it.",
            discussion: """
                The token is one line, and nobody can print it again: the fabric keeps what its secret hashes to. Whoever has it may use it
                until its time is over or its uses are.

                Examples:
                  weft token create                                a machine that will vote: weft join URL --token …
                  weft token create --role witness --domain third
                  weft token create --uses 20 --ttl 10m --role weft:client
                  weft token create --member m2                    m2 itself, whose certificate is lost or past its time
                  weft token create --role weft:node:e1            a node of the storage cluster: weft enrol URL --token …
                """)
        @Option(
            help:
                "As what its bearer comes: voter, learner, witness, weft:node:NAME, weft:client, weft:observer, weft:operator or root. (default: voter)"
        )
        var role: String?
        @Option(help: "Name or id of a member that gets a certificate by it: one that lost its own, or never had one.")
        var member: String?
        @Option(help: "The failure domain of members that come by it.")
        var domain: String?
        @Option(help: "Name or id of a member whose vote the newcomer takes, in one step, once it has caught up.")
        var replace: String?
        @Option(help: "How long it is good: 30s, 10m, 1h, at most 720h.")
        var ttl: String = "1h"
        @Option(help: "How many may come by it.")
        var uses: Int = 1
        @OptionGroup var flags: ClientFlags

        func validate() throws {
            guard member == nil || role == nil && domain == nil && replace == nil else {
                throw ValidationError(
                    "--member is about a member that is there: it goes with neither --role, --domain nor --replace")
            }
            let isMember = ["voter", "learner", "witness"].contains(role ?? "voter")
            guard isMember || domain == nil && replace == nil else {
                throw ValidationError(
                    "--domain and --replace are about members: they do not go with --role \(role ?? "")")
            }
            guard (1...RunningMember.tokenUsesMax).contains(uses) else {
                throw ValidationError("--uses is 1 to \(RunningMember.tokenUsesMax)")
            }
        }

        func run() async throws {
            let seconds = try Durations.seconds(ttl, "--ttl", atMost: RunningMember.tokenSecondsMax)
            let answer = try await flags.ask { client in
                var role = role ?? "voter"
                if let member { role = "member:\(hex(try await MemberCommand.find(member, client)))" }
                let chosen = role
                return try await client.call("/v1/tokens") { json in
                    json.field("role", chosen)
                    if let domain { json.field("domain", domain) }
                    if let replace { json.field("replaces", replace) }
                    json.field("ttlSeconds", seconds)
                    json.field("uses", uses)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print(answer["token"]?.text ?? "")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the join tokens whose time is not over, without their secrets.",
            discussion:
                "With no uses left, only those who joined with it may come again.\n\nExample:\n  weft token list")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, "/v1/tokens") }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["ID", "ROLE", "DOMAIN", "USES LEFT", "GOOD UNTIL (UTC)"])
            for token in answer["tokens"]?.items ?? [] {
                table.add([
                    token["id"]?.text ?? "", token["role"]?.text ?? "", token["domain"]?.text ?? "",
                    "\(token["usesLeft"]?.integer ?? 0) of \(token["uses"]?.integer ?? 0)",
                    FabricResource.time(token["until"]),
                ])
            }
            table.print()
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a join token let nobody in any more. Those that came by it already stay.",
            discussion: "Example:\n  weft token revoke k3qv7m2a")
        @Argument(help: "The token's id, as `weft token list` has it.")
        var id: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.DELETE, "/v1/tokens/\(id)") }
            if flags.output == .json { return printJSON(answer) }
            print("join token \(id) revoked")
        }
    }
}
