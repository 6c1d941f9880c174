internal import Bytes
internal import Client
internal import JSON

/// A request of etcd's API that the load tool makes, in either encoding.
enum EtcdRequest {
    /// What a range asks for beside its keys.
    struct Range {
        var key: [UInt8]
        var end: [UInt8] = []
        var limit: Int64 = 0
        var revision: Int64 = 0
        var isSerializable = false
        var isCountOnly = false
        var isKeysOnly = false
    }

    case put(key: [UInt8], value: [UInt8], lease: Int64)
    case range(Range)
    /// A txn of puts.
    case putAll([[UInt8]], value: [UInt8])
    /// A txn: put if the key was changed last at `revision`, else read it.
    case replace(key: [UInt8], value: [UInt8], revision: Int64, lease: Int64)
    case deleteAll(from: [UInt8], end: [UInt8])
    case grant(ttl: Int64)
    case revoke(lease: Int64)
    case keepAlive(lease: Int64)

    // MARK: - gRPC

    var method: GRPCMethod {
        switch self {
        case .put: Self.put
        case .range: Self.range
        case .putAll, .replace: Self.txn
        case .deleteAll: Self.deleteRange
        case .grant: Self.grant
        case .revoke: Self.revoke
        case .keepAlive: Self.keepAlive
        }
    }

    private static let put = GRPCMethod("/etcdserverpb.KV/Put")
    private static let range = GRPCMethod("/etcdserverpb.KV/Range")
    private static let txn = GRPCMethod("/etcdserverpb.KV/Txn")
    private static let deleteRange = GRPCMethod("/etcdserverpb.KV/DeleteRange")
    private static let grant = GRPCMethod("/etcdserverpb.Lease/LeaseGrant")
    private static let revoke = GRPCMethod("/etcdserverpb.Lease/LeaseRevoke")
    static let keepAlive = GRPCMethod("/etcdserverpb.Lease/LeaseKeepAlive")

    /// As rpc.proto has it.
    var proto: [UInt8] {
        var message = ProtoWriter(reserving: 384)
        switch self {
        case .put(let key, let value, let lease): Self.write(&message, key, value, lease)
        case .range(let range): Self.write(&message, range)
        case .putAll(let keys, let value):
            for key in keys { Self.writePut(&message, field: 2, key, value, 0) }
        case .replace(let key, let value, let revision, let lease):
            message.field(1) { compare in
                compare.field(2, 2)
                compare.field(3, key)
                compare.field(6, revision)
            }
            Self.writePut(&message, field: 2, key, value, lease)
            message.field(3) { operation in operation.field(1) { Self.write(&$0, Range(key: key)) } }
        case .deleteAll(let start, let end):
            message.field(1, start)
            message.field(2, end)
        case .grant(let ttl): message.field(1, ttl)
        case .revoke(let lease), .keepAlive(let lease): message.field(1, lease)
        }
        return message.bytes
    }

    private static func write(_ message: inout ProtoWriter, _ key: [UInt8], _ value: [UInt8], _ lease: Int64) {
        message.field(1, key)
        message.field(2, value)
        message.field(3, lease)
    }

    private static func writePut(
        _ txn: inout ProtoWriter, field: UInt64, _ key: [UInt8], _ value: [UInt8], _ lease: Int64
    ) {
        txn.field(field) { operation in operation.field(2) { write(&$0, key, value, lease) } }
    }

    private static func write(_ message: inout ProtoWriter, _ range: Range) {
        message.field(1, range.key)
        message.field(2, range.end)
        message.field(3, range.limit)
        message.field(4, range.revision)
        message.field(7, range.isSerializable)
        message.field(8, range.isKeysOnly)
        message.field(9, range.isCountOnly)
    }

    // MARK: - JSON

    var path: String {
        switch self {
        case .put: "/v3/kv/put"
        case .range: "/v3/kv/range"
        case .putAll, .replace: "/v3/kv/txn"
        case .deleteAll: "/v3/kv/deleterange"
        case .grant: "/v3/lease/grant"
        case .revoke: "/v3/lease/revoke"
        case .keepAlive: "/v3/lease/keepalive"
        }
    }

    var json: [UInt8] {
        var json = JSONWriter()
        json.object { json in
            switch self {
            case .put(let key, let value, let lease): Self.write(&json, key, value, lease)
            case .range(let range): Self.write(&json, range)
            case .putAll(let keys, let value):
                json.name("success")
                json.array(keys) { json, key in Self.writePut(&json, key, value, 0) }
            case .replace(let key, let value, let revision, let lease):
                Self.writeReplace(&json, key, value, revision, lease)
            case .deleteAll(let start, let end):
                json.field("key", start)
                json.field("range_end", end)
            case .grant(let ttl): json.field("TTL", ttl)
            case .revoke(let lease), .keepAlive(let lease): json.field("ID", lease)
            }
        }
        return json.bytes
    }

    private static func write(_ json: inout JSONWriter, _ key: [UInt8], _ value: [UInt8], _ lease: Int64) {
        json.field("key", key)
        json.field("value", value)
        json.field("lease", lease)
    }

    private static func writePut(_ json: inout JSONWriter, _ key: [UInt8], _ value: [UInt8], _ lease: Int64) {
        json.object { json in
            json.name("request_put")
            json.object { write(&$0, key, value, lease) }
        }
    }

    private static func writeReplace(
        _ json: inout JSONWriter, _ key: [UInt8], _ value: [UInt8], _ revision: Int64, _ lease: Int64
    ) {
        json.name("compare")
        json.array([key]) { json, key in
            json.object { json in
                json.field("key", key)
                json.name("target")
                json.string("MOD")
                json.name("mod_revision")
                json.string(String(revision))
            }
        }
        json.name("success")
        json.array([key]) { json, key in writePut(&json, key, value, lease) }
        json.name("failure")
        json.array([key]) { json, key in
            json.object { json in
                json.name("request_range")
                json.object { write(&$0, Range(key: key)) }
            }
        }
    }

    private static func write(_ json: inout JSONWriter, _ range: Range) {
        json.field("key", range.key)
        json.field("range_end", range.end)
        json.field("limit", range.limit)
        json.field("revision", range.revision)
        json.field("serializable", range.isSerializable)
        json.field("keys_only", range.isKeysOnly)
        json.field("count_only", range.isCountOnly)
    }
}

/// What was answered; looked into only when somebody wants to know.
struct EtcdAnswer {
    enum Encoding {
        case proto
        case json
    }

    var bytes: [UInt8]
    var encoding: Encoding

    private func number(_ name: String, _ field: UInt64) -> Int64 {
        switch encoding {
        case .proto: bytes.withUnsafeBytes { ProtoReader.number(field, in: $0) }
        case .json: parsed?[name]?.integer ?? 0
        }
    }

    fileprivate var parsed: JSONValue? {
        guard let value = try? JSONParser.parse(bytes) else { return nil }
        return value["result"] ?? value
    }

    /// The lease's id that a grant answers.
    var leaseID: Int64 { number("ID", 2) }

    /// What is left of a lease that was renewed.
    var leaseTTL: Int64 { number("TTL", 3) }

    /// How many keys a range has.
    var count: Int64 { number("count", 4) }

    /// The store's revision.
    var revision: Int64 {
        switch encoding {
        case .proto:
            bytes.withUnsafeBytes { bytes in
                ProtoReader.bytes(1, in: bytes).map { ProtoReader.number(3, in: $0) } ?? 0
            }
        case .json: parsed?["header"]?["revision"]?.integer ?? 0
        }
    }

    /// If the compares of a txn held.
    var isSucceeded: Bool {
        switch encoding {
        case .proto: bytes.withUnsafeBytes { ProtoReader.number(2, in: $0) } == 1
        case .json: parsed?["succeeded"]?.boolean ?? false
        }
    }

    /// The revision of the key that a txn read because its compares did not hold; 0 when it is not there.
    var revisionFound: Int64 {
        switch encoding {
        case .proto:
            bytes.withUnsafeBytes { bytes in
                // TxnResponse.responses → ResponseOp.response_range → RangeResponse.kvs → KeyValue.mod_revision
                guard let response = ProtoReader.bytes(3, in: bytes), let range = ProtoReader.bytes(1, in: response),
                    let pair = ProtoReader.bytes(2, in: range)
                else { return 0 }
                return ProtoReader.number(3, in: pair)
            }
        case .json:
            parsed?["responses"]?.items?.first?["response_range"]?["kvs"]?.items?.first?["mod_revision"]?.integer ?? 0
        }
    }
}

extension EtcdAnswer {
    /// What an error of the gateway says.
    func reason(status: Int) -> String {
        parsed?["message"]?.text ?? parsed?["error"]?.text ?? "HTTP status \(status)"
    }
}
