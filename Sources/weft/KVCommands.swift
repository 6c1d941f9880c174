internal import ArgumentParser
internal import Client
internal import JSON
internal import MVCC

struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read a key, or list keys.",
        discussion: """
            Prints the value as it is. With --prefix it prints key and value of each key, a line each.

            Examples:
              weft get volumes/v1
              weft get --prefix volumes/ --limit 10
              weft get --prefix --keys-only ''
              weft get volumes/v1 --revision 42 -o json
            """)

    @Argument(help: "The key, or with --prefix what keys begin with.")
    var key: String

    @Flag(help: "All keys that begin with KEY.")
    var prefix = false

    @Flag(help: "Keys without their values.")
    var keysOnly = false

    @Option(help: "Most keys to print.")
    var limit: Int64 = 0

    @Option(help: "Read as of this revision.")
    var revision: Int64 = 0

    @Flag(help: "Read the asked member's own state, without asking the leader.")
    var serializable = false

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let range = try KeyRange(argument: key, prefix: prefix)
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/range") { json in
                json.field("key", range.start)
                json.field("range_end", range.rangeEnd)
                json.field("limit", limit)
                json.field("revision", revision)
                json.field("keys_only", keysOnly)
                json.field("serializable", serializable)
            }
        }
        if flags.output == .json { return printJSON(answer) }
        let pairs = answer["kvs"]?.items ?? []
        guard prefix || !pairs.isEmpty else { throw Problem(.notFound, "there is no key \"\(key)\"") }
        for pair in pairs {
            if prefix || keysOnly { try writeLine(pair["key"]) }
            if !keysOnly { try writeLine(pair["value"]) }
        }
    }

    private func writeLine(_ value: JSONValue?) throws {
        try Console.output((value?.text.flatMap(Base64.decode) ?? []) + [10])
    }
}

struct Put: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Store a value under a key.",
        discussion: """
            Without VALUE, or with -, the value is read from standard input.

            Examples:
              weft put volumes/v1 '{"size":1}'
              weft put volumes/v1 < volume.json
            """)

    @Argument(help: "The key.")
    var key: String

    @Argument(help: "The value; - or nothing reads standard input.")
    var value: String?

    @Flag(name: .customLong("prev-kv"), help: "Print the value that was there before.")
    var previous = false

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let range = try KeyRange(argument: key, prefix: false)
        let bytes = value == nil || value == "-" ? try Console.input() : Array((value ?? "").utf8)
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/put") { json in
                json.field("key", range.start)
                json.field("value", bytes)
                json.field("prev_kv", previous)
            }
        }
        if flags.output == .json { return printJSON(answer) }
        print("OK, revision \(answer["header"]?["revision"]?.text ?? "?")")
        if previous, let before = answer["prev_kv"] {
            print(String(decoding: before["value"]?.text.flatMap(Base64.decode) ?? [], as: UTF8.self))
        }
    }
}

struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "del", abstract: "Delete a key, or all keys with a prefix.",
        discussion: """
            Prints how many keys were deleted.

            Examples:
              weft del volumes/v1
              weft del --prefix volumes/
            """)

    @Argument(help: "The key, or with --prefix what keys begin with.")
    var key: String

    @Flag(help: "All keys that begin with KEY.")
    var prefix = false

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let range = try KeyRange(argument: key, prefix: prefix)
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/deleterange") { json in
                json.field("key", range.start)
                json.field("range_end", range.rangeEnd)
            }
        }
        if flags.output == .json { return printJSON(answer) }
        let deleted = answer["deleted"]?.integer ?? 0
        print(deleted)
        if deleted == 0, !prefix { throw Problem(.notFound, "there is no key \"\(key)\"") }
    }
}

struct Compact: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forget the history before a revision.",
        discussion:
            "Values that were replaced or deleted before it can no longer be read.\n\nExample:\n  weft compact 1000")

    @Argument(help: "The oldest revision that stays readable.")
    var revision: Int64

    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/compaction") { $0.field("revision", revision) }
        }
        if flags.output == .json { return printJSON(answer) }
        print("compacted revision \(revision)")
    }
}

extension KeyRange {
    /// What KEY and --prefix mean on the command line.
    init(argument: String, prefix: Bool) throws {
        let key = Array(argument.utf8)
        guard prefix || !key.isEmpty else { throw Problem(.usage, "a key is not empty; --prefix '' means all keys") }
        if prefix { self.init(prefix: key) } else { self.init(start: key, end: .single) }
    }
}
