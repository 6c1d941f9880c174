/// A JSON document as it was written: objects keep their order, numbers their text.
package indirect enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// The number's own characters.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Field])

    package struct Field: Equatable, Sendable {
        package var name: String
        package var value: JSONValue

        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// The last field of this name in an object; nil when there is none or it is null.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let fields) = self, let found = fields.last(where: { $0.name == name })?.value,
            found != .null
        else { return nil }
        return found
    }

    package var text: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    package var items: [JSONValue]? {
        if case .array(let items) = self { return items }
        return nil
    }

    /// An integer, written as a number or as a string.
    package var integer: Int64? {
        switch self {
        case .number(let text), .string(let text): Int64(text) ?? WholeNumber.digits(text).flatMap { Int64($0) }
        default: nil
        }
    }

    package var unsigned: UInt64? {
        switch self {
        case .number(let text), .string(let text): UInt64(text) ?? WholeNumber.digits(text).flatMap { UInt64($0) }
        default: nil
        }
    }

    package var boolean: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }
}

/// Why bytes are not JSON, and where.
package struct JSONFault: Error, Equatable, Sendable {
    package var offset: Int
    package var reason: String
}

/// Reads JSON (RFC 8259) strictly, to a depth of 32.
package struct JSONParser {
    private static let depthMax = 32
    private let bytes: [UInt8]
    private var place = 0

    package static func parse(_ bytes: [UInt8]) throws(JSONFault) -> JSONValue {
        var parser = JSONParser(bytes)
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.place == bytes.count else { throw parser.fault("characters after the value") }
        return value
    }

    /// Values one after the other, as streams of requests send them.
    package static func parseSequence(_ bytes: [UInt8]) throws(JSONFault) -> [JSONValue] {
        var parser = JSONParser(bytes)
        var values: [JSONValue] = []
        parser.skipSpace()
        while parser.next != nil {
            values.append(try parser.value(depth: 0))
            parser.skipSpace()
        }
        return values
    }

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func fault(_ reason: String) -> JSONFault { JSONFault(offset: place, reason: reason) }

    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { place += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        place += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONFault) -> JSONValue {
        guard depth < Self.depthMax else { throw fault("nested more than \(Self.depthMax) deep") }
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        case nil: throw fault("the text ends where a value should be")
        default: throw fault("no value begins like this")
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONFault) -> JSONValue {
        for offset in 0..<text.utf8CodeUnitCount {
            guard take(text.utf8Start[offset]) else { throw fault("not \(text)") }
        }
        return value
    }

    private mutating func object(depth: Int) throws(JSONFault) -> JSONValue {
        place += 1
        var fields: [JSONValue.Field] = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(fields) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw fault("a name in quotes is expected") }
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw fault("a colon is expected") }
            skipSpace()
            fields.append(JSONValue.Field(name, try value(depth: depth + 1)))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(fields) }
            guard take(UInt8(ascii: ",")) else { throw fault("a comma or } is expected") }
        }
    }

    private mutating func array(depth: Int) throws(JSONFault) -> JSONValue {
        place += 1
        var items: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(items) }
        while true {
            skipSpace()
            items.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(items) }
            guard take(UInt8(ascii: ",")) else { throw fault("a comma or ] is expected") }
        }
    }

    private mutating func digits() -> Int {
        let start = place
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { place += 1 }
        return place - start
    }

    private mutating func number() throws(JSONFault) -> JSONValue {
        let start = place
        _ = take(UInt8(ascii: "-"))
        let startsWithZero = next == UInt8(ascii: "0")
        let count = digits()
        guard count > 0, !startsWithZero || count == 1 else { throw fault("not a number") }
        if take(UInt8(ascii: ".")) {
            guard digits() > 0 else { throw fault("digits are expected after the point") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard digits() > 0 else { throw fault("digits are expected in the exponent") }
        }
        return .number(String(decoding: bytes[start..<place], as: UTF8.self))
    }

    private mutating func string() throws(JSONFault) -> String {
        place += 1
        let start = place
        // Most strings have no escapes: then they are taken as they are.
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { place += 1 }
        var text = Array(bytes[start..<place])
        while !take(UInt8(ascii: "\"")) {
            guard let byte = next else { throw fault("the text ends in a string") }
            guard byte >= 0x20 else { throw fault("a control character in a string") }
            place += 1
            if byte == UInt8(ascii: "\\") { try escape(into: &text) } else { text.append(byte) }
        }
        guard let valid = String(validating: text, as: UTF8.self) else { throw fault("a string is not UTF-8") }
        return valid
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONFault) {
        guard let byte = next else { throw fault("the text ends in an escape") }
        place += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try fourDigits()
            if (0xd800..<0xdc00).contains(code) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw fault("half of a surrogate pair") }
                let low = try fourDigits()
                guard (0xdc00..<0xe000).contains(low) else { throw fault("half of a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw fault("half of a surrogate pair") }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw fault("no such escape")
        }
    }

    private mutating func fourDigits() throws(JSONFault) -> UInt32 {
        guard place + 4 <= bytes.count,
            let code = UInt32(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16)
        else { throw fault("four hexadecimal digits are expected") }
        place += 4
        return code
    }
}

/// Whole numbers in other spellings, as protobuf's JSON takes them: 5.0, 0.5e1 and 50e-1 are 5.
private enum WholeNumber {
    /// More would be no 64-bit integer.
    private static let digitsMax = 20

    /// The number's digits, with its sign; nil when `text` is no whole number.
    static func digits(_ text: String) -> String? {
        var rest = Substring(text)
        let isNegative = rest.first == "-"
        if isNegative { rest = rest.dropFirst() }
        let mantissa = rest.prefix { $0 != "e" && $0 != "E" }
        var exponent = 0
        if mantissa.count < rest.count {
            guard let power = Int(rest.dropFirst(mantissa.count + 1)), abs(power) < 1000 else { return nil }
            exponent = power
        }
        let parts = mantissa.split(separator: ".", omittingEmptySubsequences: false)
        let isDigit: (Character) -> Bool = { ("0"..."9").contains($0) }
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isDigit) }) else {
            return nil
        }
        guard parts[0].count == 1 || parts[0].first != "0" else { return nil }
        var digits = String(parts.joined())
        var shift = exponent - (parts.count > 1 ? parts[1].count : 0)
        while shift < 0, digits.count > 1, digits.last == "0" {
            digits.removeLast()
            shift += 1
        }
        digits = String(digits.drop { $0 == "0" })
        if digits.isEmpty { return "0" }
        guard shift >= 0, digits.count + shift <= digitsMax else { return nil }
        return (isNegative ? "-" : "") + digits + String(repeating: "0", count: shift)
    }
}
