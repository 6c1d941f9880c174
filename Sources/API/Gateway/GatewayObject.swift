internal import JSON
internal import MVCC

/// A request of the JSON gateway: fields go by their name in the .proto or in camel case, and 64-bit integers may be
/// numbers or strings. Unknown fields are ignored, null is absent.
struct GatewayObject {
    private let fields: [JSONValue.Field]
    /// The names of `fields` as the .proto has them, where they came in camel case.
    private let protoNames: [String?]

    init(_ value: JSONValue) throws(APIError) {
        switch value {
        case .object(let fields): self.fields = fields
        case .null: fields = []
        default: throw APIError(.invalidArgument, "proto: syntax error: an object is expected")
        }
        protoNames = fields.map { Self.protoName($0.name) }
    }

    init(body: [UInt8]) throws(APIError) {
        let document: JSONValue
        do throws(JSONFault) {
            document = body.isEmpty ? .null : try JSONParser.parse(body)
        } catch {
            throw APIError(.invalidArgument, "proto: syntax error (byte \(error.offset)): \(error.reason)")
        }
        try self.init(document)
    }

    /// The requests of a stream, one after the other in the body.
    static func sequence(_ body: [UInt8]) throws(APIError) -> [GatewayObject] {
        let values: [JSONValue]
        do throws(JSONFault) {
            values = try JSONParser.parseSequence(body)
        } catch {
            throw APIError(.invalidArgument, "proto: syntax error (byte \(error.offset)): \(error.reason)")
        }
        var objects: [GatewayObject] = []
        for value in values { objects.append(try GatewayObject(value)) }
        return objects
    }

    private func value(_ name: String) throws(APIError) -> JSONValue? {
        var found: JSONValue?
        for place in fields.indices where fields[place].name == name || protoNames[place] == name {
            if found != nil { throw APIError(.invalidArgument, "proto: duplicate field \"\(fields[place].name)\"") }
            found = fields[place].value
        }
        return found == .null ? nil : found
    }

    func has(_ name: String) throws(APIError) -> Bool { try value(name) != nil }

    /// Fails when more than one of the members of a oneof is there.
    func expectOne(of names: [String], _ oneof: String) throws(APIError) {
        var known = false
        for name in names where try has(name) {
            if known {
                throw APIError(.invalidArgument, "proto: error parsing \"\(name)\", oneof \(oneof) is already set")
            }
            known = true
        }
    }

    /// "rangeEnd" is "range_end"; nil for what has no upper case.
    private static func protoName(_ name: String) -> String? {
        let isUpper: (UInt8) -> Bool = { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
        guard name.utf8.contains(where: isUpper) else { return nil }
        let bytes = name.utf8.flatMap { isUpper($0) ? [UInt8(ascii: "_"), $0 | 0x20] : [$0] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func invalid(_ type: String, _ name: String) -> APIError {
        APIError(.invalidArgument, "proto: invalid value for \(type) field \(name)")
    }

    func bytes(_ name: String) throws(APIError) -> [UInt8] {
        guard let value = try value(name) else { return [] }
        guard let text = value.text, let bytes = Base64.decode(text) else { throw invalid("bytes", name) }
        return bytes
    }

    func integer(_ name: String) throws(APIError) -> Int64 {
        guard let value = try value(name) else { return 0 }
        guard let number = value.integer else { throw invalid("int64", name) }
        return number
    }

    func unsigned(_ name: String) throws(APIError) -> UInt64 {
        guard let value = try value(name) else { return 0 }
        guard let number = value.unsigned else { throw invalid("uint64", name) }
        return number
    }

    func bool(_ name: String) throws(APIError) -> Bool {
        guard let value = try value(name) else { return false }
        guard let flag = value.boolean else { throw invalid("bool", name) }
        return flag
    }

    func text(_ name: String) throws(APIError) -> String? {
        guard let value = try value(name) else { return nil }
        guard let text = value.text else { throw invalid("string", name) }
        return text
    }

    func strings(_ name: String) throws(APIError) -> [String] {
        guard let value = try value(name) else { return [] }
        guard let items = value.items else { throw invalid("string", name) }
        var strings: [String] = []
        for item in items {
            guard let text = item.text else { throw invalid("string", name) }
            strings.append(text)
        }
        return strings
    }

    func objects(_ name: String) throws(APIError) -> [GatewayObject] {
        guard let value = try value(name) else { return [] }
        guard let items = value.items else { throw invalid("repeated message", name) }
        var objects: [GatewayObject] = []
        for item in items { objects.append(try GatewayObject(item)) }
        return objects
    }

    func object(_ name: String) throws(APIError) -> GatewayObject? {
        guard let value = try value(name) else { return nil }
        return try GatewayObject(value)
    }

    /// An enum by name or number; `names` are by number.
    func choice(_ name: String, _ names: [String], otherwise: APIError) throws(APIError) -> UInt8 {
        guard let value = try value(name) else { return 0 }
        return try choice(value, name, names, otherwise)
    }

    /// An enum of which numbers without a name are kept.
    func openChoice(_ name: String, _ names: [String]) throws(APIError) -> Int32 {
        guard let value = try value(name) else { return 0 }
        if let text = value.text, let number = names.firstIndex(of: text) { return Int32(number) }
        guard case .number = value, let number = value.integer.flatMap(Int32.init(exactly:)) else {
            throw invalid("enum", name)
        }
        return number
    }

    func choices(_ name: String, _ names: [String], otherwise: APIError) throws(APIError) -> [UInt8] {
        guard let value = try value(name) else { return [] }
        guard let items = value.items else { throw invalid("repeated enum", name) }
        var found: [UInt8] = []
        for item in items { found.append(try choice(item, name, names, otherwise)) }
        return found
    }

    private func choice(
        _ value: JSONValue, _ name: String, _ names: [String], _ otherwise: APIError
    ) throws(APIError) -> UInt8 {
        if let text = value.text, let number = names.firstIndex(of: text) { return UInt8(number) }
        guard case .number = value, let number = value.integer else { throw invalid("enum", name) }
        guard names.indices.contains(Int(clamping: number)) else { throw otherwise }
        return UInt8(number)
    }
}
