internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
#if canImport(Glibc)
    internal import Glibc
#endif

/// What the commands for domains, nodes and volumes share.
enum FabricResource {
    static func path(_ parts: String...) -> String {
        "/v1/fabric/" + parts.map { escaped($0) }.joined(separator: "/")
    }

    private static func escaped(_ text: String) -> String {
        let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~".utf8)
        let digits = Array("0123456789ABCDEF".utf8)
        let bytes = text.utf8.flatMap { byte in
            plain.contains(byte) ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Who asks, for the record of who did what.
    static var headers: HTTPHeaders {
        let user = getenv("USER").map { String(cString: $0) } ?? "uid \(getuid())"
        return ["weft-user": user]
    }

    static func change(
        _ client: FabricClient, _ method: HTTPMethod, _ path: String, _ fields: (inout JSONWriter) -> Void = { _ in }
    ) async throws -> JSONValue {
        var json = JSONWriter()
        json.object(fields)
        return try await client.send(method, path, body: json.bytes, headers: headers)
    }

    /// PUTs a record as a whole, under a condition such as `if-match`.
    static func put(
        _ resource: String, _ name: String, _ body: [UInt8], _ flags: ClientFlags,
        _ condition: (name: String, value: String)
    ) async throws -> JSONValue {
        var sent = headers
        sent.add(name: condition.name, value: condition.value)
        let conditional = sent
        return try await flags.ask { try await $0.send(.PUT, path(resource, name), body: body, headers: conditional) }
    }

    /// `NAME=VALUE` as labels.
    static func labels(_ texts: [String]) throws -> [(String, String)] {
        try texts.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Problem(.usage, "a label is NAME=VALUE, not \"\(text)\"")
            }
            return (parts[0], parts[1])
        }
    }

    static func write(_ labels: [(String, String)], _ json: inout JSONWriter) {
        json.name("labels")
        json.object { json in
            for (name, value) in labels {
                json.name(name)
                json.string(value)
            }
        }
    }

    static func labelText(_ value: JSONValue?) -> String {
        guard case .object(let fields)? = value else { return "" }
        return fields.map { "\($0.name)=\($0.value.text ?? "")" }.joined(separator: ",")
    }

    /// A number of bytes with a unit: 500G, 2TiB, 1000000.
    static func bytes(_ text: String) throws -> Int64 {
        let digits = text.prefix { $0.isNumber }
        let units: [String: Int64] = [
            "": 1, "B": 1, "K": 1 << 10, "KIB": 1 << 10, "KB": 1000, "M": 1 << 20, "MIB": 1 << 20, "MB": 1_000_000,
            "G": 1 << 30, "GIB": 1 << 30, "GB": 1_000_000_000, "T": 1 << 40, "TIB": 1 << 40, "TB": 1_000_000_000_000,
            "P": 1 << 50, "PIB": 1 << 50, "PB": 1_000_000_000_000_000,
        ]
        let unit = units[text.dropFirst(digits.count).uppercased()]
        guard let number = Int64(digits), let unit,
            case let (bytes, isTooMuch) = number.multipliedReportingOverflow(by: unit),
            !isTooMuch
        else { throw Problem(.usage, "\"\(text)\" is no number of bytes such as 1000000, 500G, 2TiB or 2TB") }
        return bytes
    }

    static func size(_ value: JSONValue?) -> String {
        let bytes = Double(value?.integer ?? 0)
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var amount = bytes
        var unit = 0
        while amount >= 1024, unit < units.count - 1 {
            amount /= 1024
            unit += 1
        }
        let tenths = Int64((amount * 10).rounded())
        return unit == 0 || tenths % 10 == 0
            ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    /// `2026-11-23T10:00:00.000Z` without what nobody reads in a table.
    static func time(_ value: JSONValue?) -> String {
        String((value?.text ?? "").prefix(19)).replacing("T", with: " ")
    }
}

struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show what happened to domains, nodes and volumes.",
        discussion: """
            Examples:
              weft events
              weft events --after 120 -o json
            """)
    @Option(help: "Only those after this number.")
    var after: Int64 = 0
    @Option(help: "Show so many of the newest.")
    var last: Int?
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        var events: [JSONValue] = []
        try await flags.ask { client in
            var next: Int64? = after
            while let from = next {
                let answer = try await client.send(.GET, "/v1/fabric/events?after=\(from)")
                events += answer["items"]?.items ?? []
                next = answer["next"]?.integer
            }
        }
        if let last { events = events.suffix(max(0, last)) }
        if flags.output == .json { return printJSON(.array(events)) }
        var table = Table(["NUMBER", "TIME (UTC)", "WHAT", "BY", "REASON"])
        for event in events {
            let subject = "\(event["kind"]?.text ?? "") \(event["name"]?.text ?? "")"
            table.add([
                String(event["number"]?.integer ?? 0), FabricResource.time(event["at"]),
                "\(subject): \(event["what"]?.text ?? "")", event["by"]?.text ?? "", event["reason"]?.text ?? "",
            ])
        }
        table.print()
    }
}
