extension Domain {
    /// If a domain, or anything else of the fabric, can have this name.
    package static func canBeNamed(_ name: String) -> Bool { (try? FabricLimits.checkName("domain", name)) != nil }
}

/// What records may hold: bytes from clients are checked here, at every member alike.
enum FabricLimits {
    static let nameBytesMax = 128
    static let textBytesMax = 1024
    static let labelsMax = 64
    /// Of a record's labels, together with those of its pools.
    static let labelBytesMax = 16 << 10
    static let poolsMax = 64
    static let addressesMax = 16
    static let nodesMax = 10_000
    static let volumesMax = 1_000_000
    static let domainsMax = 64
    static let ttlSecondsMax: Int64 = 86_400
    static let volumeBytesMax: Int64 = 1 << 60
    static let replicationMax = 3

    static func check(_ trace: Trace) throws(FabricRefusal) {
        try checkText("by", trace.by)
        try checkText("reason", trace.reason)
    }

    static func checkText(_ what: String, _ text: String) throws(FabricRefusal) {
        guard text.utf8.count <= textBytesMax else { throw .invalid("\(what) is over \(textBytesMax) bytes") }
    }

    /// Letters, digits, dot, dash and underscore, beginning with a letter or digit.
    static func checkName(_ what: String, _ name: String) throws(FabricRefusal) {
        func isPlain(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        let marks = Array("._-".utf8)
        guard let first = name.utf8.first, isPlain(first), name.utf8.count <= nameBytesMax,
            name.utf8.allSatisfy({ isPlain($0) || marks.contains($0) })
        else {
            throw .invalid(
                "\(what) \"\(name.prefix(nameBytesMax))\": letters, digits, dots, dashes and underscores, \(nameBytesMax) at most, a letter or digit first"
            )
        }
    }

    static func check(_ labels: Labels) throws(FabricRefusal) {
        guard labels.entries.count <= labelsMax else { throw .invalid("over \(labelsMax) labels") }
        try checkBytes(of: [labels])
        for (name, value) in labels.entries {
            guard !name.isEmpty, name.utf8.count <= 2 * nameBytesMax, value.utf8.count <= 2 * nameBytesMax else {
                throw .invalid(
                    "label \"\(name.prefix(nameBytesMax))\": name and value have up to \(2 * nameBytesMax) bytes")
            }
        }
    }

    private static func checkBytes(of sets: [Labels]) throws(FabricRefusal) {
        let bytes = sets.flatMap(\.entries).reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard bytes <= labelBytesMax else { throw .invalid("labels of over \(labelBytesMax) bytes together") }
    }

    static func check(_ spec: NodeSpec) throws(FabricRefusal) {
        try checkName("node", spec.name)
        try checkName("domain", spec.domain)
        try check(spec.labels)
        guard (1...ttlSecondsMax).contains(spec.ttl) else { throw .invalid("ttl is 1 to \(ttlSecondsMax) seconds") }
        guard spec.addresses.count <= addressesMax else { throw .invalid("over \(addressesMax) addresses") }
        for address in spec.addresses { try checkText("address", address) }
        guard spec.pools.count <= poolsMax else { throw .invalid("over \(poolsMax) pools") }
        try checkBytes(of: [spec.labels] + spec.pools.map(\.labels))
        var known: [String] = []
        var whole: Int64 = 0
        for pool in spec.pools {
            try checkName("pool", pool.name)
            try check(pool.labels)
            guard !known.contains(pool.name) else { throw .invalid("pool \"\(pool.name)\" twice") }
            known.append(pool.name)
            guard (0...volumeBytesMax).contains(pool.capacityBytes) else {
                throw .invalid("pool \"\(pool.name)\": 0 to 2^60 bytes")
            }
            whole += pool.capacityBytes
            guard whole <= volumeBytesMax else { throw .invalid("the pools of a node have up to 2^60 bytes together") }
        }
    }

    static func checkSize(_ bytes: Int64) throws(FabricRefusal) {
        guard (1...volumeBytesMax).contains(bytes) else { throw .invalid("a volume has 1 to 2^60 bytes") }
    }

    static func checkReplication(_ count: Int) throws(FabricRefusal) {
        guard (1...replicationMax).contains(count) else { throw .invalid("replication is 1 to \(replicationMax)") }
    }
}
