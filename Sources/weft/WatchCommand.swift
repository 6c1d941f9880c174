internal import ArgumentParser
internal import Client
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Synchronization

struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print changes as they happen, or run a command for each.",
        discussion: """
            Each change is three lines: PUT or DELETE, the key, the value. With -o json it is one line of JSON. When the member
            that is asked goes away the next of --endpoints is asked, from where this one stopped: nothing is left out.

            COMMAND is run for one change after another, with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and
            ETCD_WATCH_VALUE set.

            Examples:
              weft watch volumes/v1
              weft watch --prefix volumes/ --revision 42 -o json
              weft watch --prefix volumes/ -- sh -c 'echo "$ETCD_WATCH_KEY changed"'
            """)

    @Argument(help: "The key, or with --prefix what keys begin with.")
    var key: String
    @Argument(parsing: .postTerminator, help: "What to run for each change.")
    var command: [String] = []
    @Flag(help: "All keys that begin with KEY.")
    var prefix = false
    @Option(
        name: [.customLong("revision"), .customLong("rev")],
        help: "Begin with this revision. (default: what comes next)")
    var revision: Int64 = 0
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let range = try KeyRange(argument: key, prefix: prefix)
        let position = Mutex(Position(revision: revision))
        let path = "/v1/kv/" + percentEncoded(range.start) + "?watch" + (prefix ? "&prefix" : "")
        while true {
            let from = position.withLock { position in
                position.begin()
                return position.revision
            }
            let lines = Lines { line in
                let change = try Change(line)
                if position.withLock({ $0.isNew(change.revision) }) { try take(change) }
            }
            do {
                try await flags.ask { client in
                    try await client.stream(
                        .GET, path + (from > 0 ? "&revision=\(from)" : ""), headers: ["accept": "application/x-ndjson"]
                    ) { response, bytes in
                        // Should the connection break before anything happens, nothing that happens meanwhile is left out.
                        if from == 0, let now = response.headers.first(name: "weft-store-revision").flatMap(Int64.init)
                        {
                            position.withLock { $0.beginAtLeast(now + 1) }
                        }
                        try lines.add(bytes)
                    }
                }
            } catch let problem as Problem where problem.kind == .unavailable {
                Console.error("weft: \(problem.text); trying again")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    private func take(_ change: Change) throws {
        if !command.isEmpty {
            let child = try Child(
                command,
                environment: [
                    ("ETCD_WATCH_REVISION", String(change.revision)), ("ETCD_WATCH_EVENT_TYPE", change.type),
                    ("ETCD_WATCH_KEY", String(decoding: change.key, as: UTF8.self)),
                    ("ETCD_WATCH_VALUE", String(decoding: change.value, as: UTF8.self)),
                ])
            _ = child.wait()
        } else if flags.output == .json {
            try Console.output(change.line + [10])
        } else {
            try Console.output(Array(change.type.utf8) + [10] + change.key + [10] + change.value + [10])
        }
    }
}

/// Where a watch is: of `revision` it has taken `taken` changes.
private struct Position {
    private(set) var revision: Int64
    private var taken = 0
    /// Of `revision`, after it was asked for anew.
    private var seen = 0

    init(revision: Int64) { self.revision = revision }

    mutating func begin() { seen = 0 }

    mutating func beginAtLeast(_ first: Int64) { if revision < first, taken == 0 { revision = first } }

    /// If a change of `found`, the next that comes, was not taken before. From now on it was.
    mutating func isNew(_ found: Int64) -> Bool {
        if found > revision || (taken == 0 && seen == 0) {
            (revision, taken, seen) = (found, 1, 1)
            return true
        }
        seen += 1
        guard seen > taken else { return false }
        taken = seen
        return true
    }
}

/// A line of a watch.
private struct Change {
    let line: [UInt8]
    let type: String
    let key: [UInt8]
    let value: [UInt8]
    let revision: Int64

    init(_ line: [UInt8]) throws {
        let json = try JSONParser.parse(line)
        if let reason = json["error"]?.text {
            throw Problem(json["code"]?.integer == 14 ? .unavailable : .failed, reason)
        }
        guard let type = json["type"]?.text, let revision = json["revision"]?.integer else {
            throw Problem(.failed, "the answer is no change: is this a weft client port?")
        }
        self.line = line
        self.type = type.uppercased()
        self.revision = revision
        key = Self.bytes(json, "key")
        value = Self.bytes(json, "value")
    }

    private static func bytes(_ json: JSONValue, _ name: String) -> [UInt8] {
        json[name]?.text.map { Array($0.utf8) } ?? json[name + "Base64"]?.text.flatMap(Base64.decode) ?? []
    }
}

/// Cuts what comes in pieces into lines.
final class Lines: Sendable {
    private let rest = Mutex<[UInt8]>([])
    private let take: @Sendable ([UInt8]) throws -> Void

    init(_ take: @escaping @Sendable ([UInt8]) throws -> Void) { self.take = take }

    func add(_ bytes: [UInt8]) throws {
        let whole = rest.withLock { rest in
            rest += bytes
            guard let end = rest.lastIndex(of: 10) else { return [UInt8]() }
            defer { rest.removeFirst(end + 1) }
            return Array(rest[...end])
        }
        for line in whole.split(separator: 10) { try take(Array(line)) }
    }
}

/// A key as a path has it.
func percentEncoded(_ key: [UInt8]) -> String {
    key.map { byte in
        let isPlain =
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
            || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || [0x2d, 0x2e, 0x2f, 0x5f, 0x7e].contains(byte)
        return isPlain
            ? String(UnicodeScalar(byte)) : "%" + String(UInt16(byte) | 0x100, radix: 16).dropFirst().uppercased()
    }.joined()
}
