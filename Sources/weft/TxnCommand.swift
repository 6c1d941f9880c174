internal import ArgumentParser
internal import Client
internal import JSON
internal import MVCC

struct Txn: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare, then write, in one step.",
        discussion: """
            Reads three blocks from standard input, with an empty line behind each, as etcdctl does: comparisons, what to do when
            all of them hold, what to do otherwise.

            Comparisons: mod("KEY"), create, version, lease (numbers) or value, then = != < or >, then "OPERAND".
            Operations: put KEY VALUE, get KEY [--prefix], del KEY [--prefix]; words with spaces stand in quotes.

            Example:
              printf 'mod("a") = "0"\\n\\nput a 1\\n\\nget a\\n\\n' | weft txn
            """)
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let text = String(decoding: try Console.input(), as: UTF8.self)
        var blocks: [[Substring]] = [[]]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let words = line.drop { $0 == " " }
            if words.isEmpty { blocks.append([]) } else { blocks[blocks.count - 1].append(words) }
        }
        guard blocks.count <= 3 || blocks[3...].allSatisfy(\.isEmpty) else {
            throw Problem(.usage, "there are more than three blocks: comparisons, then, otherwise")
        }
        let compares = try blocks[0].map(TxnText.compare)
        let success = try (blocks.count > 1 ? blocks[1] : []).map(TxnText.operation)
        let failure = try (blocks.count > 2 ? blocks[2] : []).map(TxnText.operation)
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/txn") { json in
                json.field("compare", compares) { json, compare in json.object(compare) }
                json.field("success", success) { json, operation in json.object(operation) }
                json.field("failure", failure) { json, operation in json.object(operation) }
            }
        }
        if flags.output == .json { return printJSON(answer) }
        print(answer["succeeded"]?.boolean == true ? "SUCCESS" : "FAILURE")
        for response in answer["responses"]?.items ?? [] { try printResponse(response) }
    }

    private func printResponse(_ response: JSONValue) throws {
        print("")
        if let range = response["response_range"] {
            for pair in range["kvs"]?.items ?? [] {
                for field in ["key", "value"] {
                    try Console.output((pair[field]?.text.flatMap(Base64.decode) ?? []) + [10])
                }
            }
        } else if let deletion = response["response_delete_range"] {
            print(deletion["deleted"]?.text ?? "0")
        } else {
            print("OK")
        }
    }
}

/// etcdctl's notation of comparisons and operations.
enum TxnText {
    typealias Fields = (inout JSONWriter) -> Void

    static func compare(_ line: Substring) throws -> Fields {
        let wrong = Problem(.usage, "\"\(line)\" is no comparison, such as mod(\"KEY\") = \"0\"")
        guard let open = line.firstIndex(of: "("), let close = line.lastIndex(of: ")"), open < close else {
            throw wrong
        }
        let target = line[..<open].lowercased()
        let words = try words(of: line[line.index(after: close)...])
        let keys = try self.words(of: line[line.index(after: open)..<close])
        let relations = ["=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"]
        guard keys.count == 1, words.count == 2, let relation = relations[words[0]] else { throw wrong }
        let (key, operand) = (keys[0], words[1])
        let fields: [String: StaticString] = [
            "mod": "mod_revision", "create": "create_revision", "version": "version", "lease": "lease",
        ]
        guard target == "value" || fields[target] != nil else { throw wrong }
        let number = Int64(operand) ?? (target == "lease" ? Int64(operand, radix: 16) : nil)
        guard target == "value" || number != nil else {
            throw Problem(.usage, "\"\(line)\": \(target) is compared with a number, not with \"\(operand)\"")
        }
        let name = ["mod": "MOD", "create": "CREATE", "version": "VERSION", "lease": "LEASE"][target] ?? "VALUE"
        return { json in
            json.field("key", Array(key.utf8))
            json.field("target", name)
            json.field("result", relation)
            if let field = fields[target], let number {
                json.name(field)
                json.string(String(number))
            } else {
                json.field("value", Array(operand.utf8))
            }
        }
    }

    static func operation(_ line: Substring) throws -> Fields {
        var words = try words(of: line)
        let prefix = words.contains("--prefix")
        words.removeAll { $0 == "--prefix" }
        switch (words.first, words.count) {
        case ("put", 3):
            return { json in
                json.name("request_put")
                json.object { json in
                    json.field("key", Array(words[1].utf8))
                    json.field("value", Array(words[2].utf8))
                }
            }
        case ("get", 2), ("del", 2):
            let range = try KeyRange(argument: words[1], prefix: prefix)
            return { json in
                json.name(words[0] == "get" ? "request_range" : "request_delete_range")
                json.object { json in
                    json.field("key", range.start)
                    json.field("range_end", range.rangeEnd)
                }
            }
        default: throw Problem(.usage, "\"\(line)\" is none of put KEY VALUE, get KEY [--prefix], del KEY [--prefix]")
        }
    }

    /// Words, in quotes where they hold spaces; a backslash takes the next character as it is.
    private static func words(of text: Substring) throws -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var isEscaped = false
        for character in text {
            if isEscaped {
                word = (word ?? "") + String(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == quote {
                quote = nil
            } else if quote == nil, character == "\"" || character == "'" {
                quote = character
                word = word ?? ""
            } else if quote == nil, character == " " || character == "\t" {
                if let whole = word { words.append(whole) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        guard quote == nil, !isEscaped else { throw Problem(.usage, "\"\(text)\": a quote is not closed") }
        return words + [word].compactMap(\.self)
    }
}
