internal import ArgumentParser
internal import Client
internal import JSON
internal import MVCC

struct RoleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "role", abstract: "Say what users of a role may do with keys.",
        discussion: "See `weft auth --help` for the first steps.",
        subcommands: [Add.self, Get.self, List.self, Delete.self, Grant.self, Revoke.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a role.", discussion: "Example:\n  weft role add volumes")
        @Argument(help: "The role's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await flags.change("/v3/auth/role/add", "role \(name) added") { $0.field("name", name) }
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List what a role may do.", discussion: "Example:\n  weft role get volumes")
        @Argument(help: "The role's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await client.call("/v3/auth/role/get") { $0.field("role", name) }
            }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["MAY", "FROM", "TO"])
            for permission in answer["perm"]?.items ?? [] {
                func text(_ field: String) -> String {
                    String(decoding: permission[field]?.text.flatMap(Base64.decode) ?? [], as: UTF8.self)
                }
                let (key, end) = (text("key"), text("range_end"))
                table.add([
                    permission["permType"]?.text ?? "READ", key,
                    end.isEmpty ? "(this key)" : end == "\0" ? "(all that follow)" : end,
                ])
            }
            table.print()
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all roles.", discussion: "Example:\n  weft role list")
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await flags.list("/v3/auth/role/list", "roles") }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a role; no user has it then.", discussion: "Example:\n  weft role delete volumes")
        @Argument(help: "The role's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await flags.change("/v3/auth/role/delete", "role \(name) deleted") { $0.field("role", name) }
        }
    }

    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case read, write, readwrite
    }

    /// Keys as a permission names them.
    struct Keys: ParsableArguments {
        @Argument(help: "The key, or the first of several.")
        var key: String
        @Argument(help: "The key after the last.")
        var end: String?
        @Flag(help: "All keys that begin so.")
        var prefix = false
        @Flag(help: "All keys from this one on.")
        var fromKey = false

        func range() throws -> (key: [UInt8], end: [UInt8]) {
            guard [end != nil, prefix, fromKey].count(where: { $0 }) <= 1 else {
                throw Problem(.usage, "a range ends with the second key, --prefix or --from-key: with one of them")
            }
            let key = Array(self.key.utf8)
            if prefix {
                let range = KeyRange(prefix: key)
                return (range.start, range.rangeEnd)
            }
            // etcd's word for all keys begins with [0].
            return fromKey ? (key.isEmpty ? [0] : key, [0]) : (key, Array((end ?? "").utf8))
        }
    }

    struct Grant: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "grant-permission", abstract: "Let a role read or write keys.",
            discussion: """
                Examples:
                  weft role grant-permission volumes readwrite volumes/ --prefix
                  weft role grant-permission volumes read settings
                  weft role grant-permission auditor read '' --prefix        all keys
                """)
        @Argument(help: "The role's name.")
        var role: String
        @Argument(help: "read, write or readwrite.")
        var kind: Kind
        @OptionGroup var keys: Keys
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let range = try keys.range()
            try await flags.change("/v3/auth/role/grant", "role \(role) may \(kind.rawValue) that") { json in
                json.field("name", role)
                json.name("perm")
                json.object { json in
                    json.field("permType", kind.rawValue.uppercased())
                    json.field("key", range.key)
                    json.field("range_end", range.end)
                }
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke-permission", abstract: "Take from a role what was granted, by the same keys.",
            discussion: "Example:\n  weft role revoke-permission volumes volumes/ --prefix")
        @Argument(help: "The role's name.")
        var role: String
        @OptionGroup var keys: Keys
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let range = try keys.range()
            try await flags.change("/v3/auth/role/revoke", "role \(role) may no more do that") { json in
                json.field("role", role)
                json.field("key", range.key)
                json.field("range_end", range.end)
            }
        }
    }
}
