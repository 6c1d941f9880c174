internal import API
internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
internal import Server
internal import Storage
internal import Transport

struct MemberCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "member", abstract: "List and change the members of a fabric.",
        subcommands: [List.self, Add.self, Remove.self, Promote.self, Replace.self, Priority.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the members.", discussion: "Example:\n  weft member list -o json")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, "/v1/members") }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["ID", "NAME", "ROLE", "DOMAIN", "PRIORITY", "PEER URLS", "CLIENT URLS"])
            for member in answer["members"]?.items ?? [] {
                let name = member["name"]?.text ?? ""
                table.add([
                    member["id"]?.text ?? "", name.isEmpty ? "(not started)" : name,
                    MemberCommand.role(member["role"]?.text ?? ""), member["domain"]?.text ?? "-",
                    member["priority"]?.text ?? "",
                    MemberCommand.list(member["peerURLs"]), MemberCommand.list(member["clientURLs"]),
                ])
            }
            table.print()
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell the fabric of a new member; `weft join` does this and more.",
            discussion: "Example:\n  weft member add --peer-urls http://10.0.0.4:2380")
        @Option(help: "Where peers will reach it, separated by commas.")
        var peerUrls: String
        @Flag(help: "Without a vote until it is promoted by hand.")
        var learner = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await client.call("/v3/cluster/member/add") { json in
                    json.field("peerURLs", peerUrls.split(separator: ",").map(String.init)) { $0.string($1) }
                    json.field("isLearner", learner)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            print("added member \(hex(answer["member"]?["ID"]?.unsigned ?? 0)); now run `weft join` on its machine")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a member out of the fabric.", discussion: "Example:\n  weft member remove m4")
        @Argument(help: "Name or id (hexadecimal) of the member.")
        var member: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await MemberCommand.change(member, "/v3/cluster/member/remove", "removed", flags)
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a learner its vote.", discussion: "Example:\n  weft member promote m4")
        @Argument(help: "Name or id (hexadecimal) of the member.")
        var member: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await MemberCommand.change(member, "/v3/cluster/member/promote", "promoted", flags)
        }
    }

    struct Replace: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a member's vote to a learner and take the member out, in one step.",
            discussion: """
                The fabric is never short of a vote in between. `weft join URL --replace OLD` on the new machine does all of
                it at once.

                Example:
                  weft member replace m2 m4
                """)
        @Argument(help: "Name or id (hexadecimal) of the member that goes.")
        var old: String
        @Argument(help: "Name or id (hexadecimal) of the learner that takes its place.")
        var new: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                let (oldID, newID) = (
                    try await MemberCommand.find(old, client), try await MemberCommand.find(new, client)
                )
                return try await client.call("/v1/members/\(hex(oldID))/replace") { $0.field("by", hex(newID)) }
            }
            if flags.output == .json { return printJSON(answer) }
            print("\(new) votes in the place of \(old)")
        }
    }

    struct Priority: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say which members had better lead.",
            discussion: """
                Of the voters that could lead, the one with the highest priority gets the lead. 100 is what members begin with.

                Example:
                  weft member priority m1 200
                """)
        @Argument(help: "Name or id (hexadecimal) of the member.")
        var member: String
        @Argument(help: "0 to 255.")
        var priority: UInt8
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                let id = try await MemberCommand.find(member, client)
                var json = JSONWriter()
                json.object { $0.field("priority", Int64(priority)) }
                return try await client.send(.PATCH, "/v1/members/\(hex(id))", body: json.bytes)
            }
            if flags.output == .json { return printJSON(answer) }
            print("\(member) has priority \(priority)")
        }
    }

    private static func role(_ name: String) -> String {
        switch name {
        case "joining": "joining (no vote yet)"
        case "joiningWitness": "joining as witness"
        default: name
        }
    }

    private static func list(_ value: JSONValue?) -> String {
        (value?.items ?? []).compactMap(\.text).joined(separator: ",")
    }

    private static func change(_ member: String, _ path: String, _ done: String, _ flags: ClientFlags) async throws {
        let answer = try await flags.ask { client in
            let id = try await find(member, client)
            return try await client.call(path) { $0.field("ID", id) }
        }
        if flags.output == .json { return printJSON(answer) }
        print("\(done) member \(member)")
    }

    /// The id of a member that is named by name or id.
    static func find(_ text: String, _ client: FabricClient) async throws -> UInt64 {
        let members = try await client.members().members
        if let named = members.first(where: { $0.name == text }) { return named.id }
        if let id = UInt64(text, radix: 16), members.contains(where: { $0.id == id }) { return id }
        let known = members.map { "\($0.name) (\(hex($0.id)))" }.joined(separator: ", ")
        throw Problem(.notFound, "there is no member \"\(text)\"; there are \(known)")
    }
}

struct Leave: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take the member on this machine out of its fabric.",
        discussion: """
            The member that answers at the endpoint leaves; its daemon then stops by itself. Its data directory stays, but
            will not start again: run `weft join` with another one to come back.

            Example:
              weft leave --endpoints http://localhost:2379
            """)

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let name = try await flags.ask { client in
            guard client.endpoints.count == 1 else {
                throw Problem(.usage, "give the one endpoint of the member that leaves, with --endpoints")
            }
            let fabric = try await client.members()
            guard let own = fabric.members.first(where: { $0.id == fabric.memberID }) else {
                throw Problem(.notFound, "the member at \(client.endpoints[0]) is in no fabric")
            }
            guard fabric.members.count > 1 else {
                throw Problem(.failed, "\(own.name) is the fabric's only member: stop it instead")
            }
            // The others answer for sure: who leaves may never hear that it was agreed.
            let others = fabric.members.filter { $0.id != own.id }.flatMap(\.clientURLs).compactMap(Endpoint.init)
            guard !others.isEmpty else {
                throw Problem(
                    .failed, "no other member says where its clients reach it; use `weft member remove` at one of them")
            }
            let remaining = try await client.knownElsewhere().at(others)
            _ = try await remaining.call("/v3/cluster/member/remove") { $0.field("ID", own.id) }
            return own.name
        }
        if flags.output == .json {
            printJSON(.object([JSONValue.Field("left", .string(name))]))
        } else {
            print("\(name) has left the fabric")
        }
    }
}

struct MoveLeader: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Hand the lead to another member.", discussion: "Example:\n  weft move-leader m2")

    @Argument(help: "Name or id (hexadecimal) of the member that takes the lead.")
    var member: String

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let answer = try await flags.ask { client in
            let id = try await MemberCommand.find(member, client)
            let status = try await client.call("/v3/maintenance/status")
            let members = try await client.members().members
            let leader = members.first { $0.id == status["leader"]?.unsigned }
            // Only the leader can hand over.
            let endpoints = (leader?.clientURLs ?? []).compactMap(Endpoint.init)
            let atLeader = endpoints.isEmpty ? client : try await client.knownElsewhere().at(endpoints)
            return try await atLeader.call("/v3/maintenance/transfer-leadership") { $0.field("targetID", id) }
        }
        if flags.output == .json { return printJSON(answer) }
        print("\(member) leads")
    }
}

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the version.", discussion: "Example:\n  weft version -o json")

    @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
    var output: OutputFormat = .simple

    func run() async throws {
        if output == .json {
            printJSON(
                .object([
                    JSONValue.Field("weft", .string(Version.weft)),
                    JSONValue.Field("api", .string("etcd \(Version.etcd)")),
                ]))
        } else {
            print("weft \(Version.weft), API of etcd \(Version.etcd)")
        }
    }
}
