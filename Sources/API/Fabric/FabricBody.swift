internal import Fabric
internal import JSON

/// A request of the fabric's API: an object whose fields are all known, so that a typo does not pass for a default.
struct FabricBody {
    private let value: JSONValue

    init(_ body: [UInt8], known: Set<String>) throws(APIError) {
        let document: JSONValue
        do throws(JSONFault) {
            document = body.isEmpty ? .object([]) : try JSONParser.parse(body)
        } catch {
            throw APIError(.invalidArgument, "the body is not JSON (byte \(error.offset)): \(error.reason)")
        }
        try self.init(document, "the body", known: known)
    }

    private init(_ value: JSONValue, _ what: String, known: Set<String>) throws(APIError) {
        guard case .object(let fields) = value else {
            throw APIError(.invalidArgument, "\(what) is a JSON object")
        }
        if let unknown = fields.first(where: { !known.contains($0.name) })?.name {
            throw APIError(
                .invalidArgument, "unknown field \"\(unknown)\"; known: \(known.sorted().joined(separator: ", "))")
        }
        self.value = value
    }

    private func wrong(_ name: String, _ type: String) -> APIError { APIError(.invalidArgument, "\(name) is \(type)") }

    func text(_ name: String) throws(APIError) -> String? {
        guard let found = value[name] else { return nil }
        guard let text = found.text else { throw wrong(name, "a string") }
        return text
    }

    func number(_ name: String) throws(APIError) -> Int64? {
        guard let found = value[name] else { return nil }
        guard let number = found.integer else { throw wrong(name, "a whole number") }
        return number
    }

    func flag(_ name: String) throws(APIError) -> Bool? {
        guard let found = value[name] else { return nil }
        guard let flag = found.boolean else { throw wrong(name, "true or false") }
        return flag
    }

    func labels(_ name: String) throws(APIError) -> Labels? {
        guard let found = value[name] else { return nil }
        guard case .object(let fields) = found else { throw wrong(name, "an object of strings") }
        guard fields.count <= Labels.countMax else {
            throw wrong(name, "an object of up to \(Labels.countMax) strings")
        }
        var labels = Labels()
        for field in fields {
            guard let text = field.value.text else { throw wrong("\(name).\(field.name)", "a string") }
            labels[field.name] = text
        }
        return labels
    }

    func strings(_ name: String) throws(APIError) -> [String] {
        guard let found = value[name] else { return [] }
        guard let items = found.items else { throw wrong(name, "an array of strings") }
        var strings: [String] = []
        for item in items {
            guard let text = item.text else { throw wrong(name, "an array of strings") }
            strings.append(text)
        }
        return strings
    }

    func object(_ name: String, known: Set<String>) throws(APIError) -> FabricBody? {
        guard let found = value[name] else { return nil }
        return try FabricBody(found, name, known: known)
    }

    func objects(_ name: String, known: Set<String>) throws(APIError) -> [FabricBody] {
        guard let found = value[name] else { return [] }
        guard let items = found.items else { throw wrong(name, "an array of objects") }
        var objects: [FabricBody] = []
        for item in items { objects.append(try FabricBody(item, name, known: known)) }
        return objects
    }

    func required<T>(_ name: String, _ value: T?) throws(APIError) -> T {
        guard let value else { throw APIError(.invalidArgument, "\(name) is missing") }
        return value
    }
}

extension DomainSpec {
    init(name: String, body: [UInt8]) throws(APIError) {
        let body = try FabricBody(body, known: ["name", "kind", "labels"])
        var kind: Domain.Kind?
        if let text = try body.text("kind") {
            guard let known = Domain.Kind.allCases.first(where: { "\($0)" == text }) else {
                throw APIError(.invalidArgument, "kind is data or witness, not \"\(text)\"")
            }
            kind = known
        }
        self.init(name: name, kind: kind, labels: try body.labels("labels"))
    }
}

extension NodeSpec {
    init(name: String, body: [UInt8]) throws(APIError) {
        let body = try FabricBody(
            body,
            known: ["name", "domain", "labels", "zone", "rack", "pools", "capacityBytes", "addresses", "ttlSeconds"])
        var labels = try body.labels("labels") ?? Labels()
        for place in ["zone", "rack"] {
            if let value = try body.text(place) { labels[place] = value }
        }
        var pools: [Pool] = []
        for pool in try body.objects("pools", known: ["name", "capacityBytes", "labels"]) {
            pools.append(
                Pool(
                    name: try pool.required("pools.name", pool.text("name")),
                    capacityBytes: try pool.required("pools.capacityBytes", pool.number("capacityBytes")),
                    labels: try pool.labels("labels") ?? Labels()))
        }
        if let capacity = try body.number("capacityBytes") {
            guard pools.isEmpty else {
                throw APIError(.invalidArgument, "with pools the capacity is theirs: leave capacityBytes out")
            }
            pools = [Pool(name: NodeSpec.defaultPool, capacityBytes: capacity)]
        }
        self.init(
            name: name, domain: try body.required("domain", body.text("domain")), labels: labels, pools: pools,
            addresses: try body.strings("addresses"), ttl: try body.number("ttlSeconds") ?? NodeSpec.defaultTTL)
    }
}

extension VolumeSpec {
    init(body: [UInt8]) throws(APIError) {
        let body = try FabricBody(body, known: ["name", "sizeBytes", "replication", "labels"])
        self.init(
            name: try body.required("name", body.text("name")),
            sizeBytes: try body.required("sizeBytes", body.number("sizeBytes")),
            replication: Int(clamping: try body.number("replication") ?? 1),
            labels: try body.labels("labels") ?? Labels())
    }
}

extension VolumeChange {
    init(body: [UInt8]) throws(APIError) {
        let body = try FabricBody(body, known: ["sizeBytes", "replication", "labels"])
        self.init(
            sizeBytes: try body.number("sizeBytes"),
            replication: try body.number("replication").map { Int(clamping: $0) },
            labels: try body.labels("labels"))
    }
}
