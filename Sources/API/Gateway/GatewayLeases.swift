internal import JSON
internal import MVCC

// The services Lease, Lock and Election in the gateway's JSON.

extension Leases.Grant: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.integer("ID"), ttl: try request.integer("TTL"))
    }

    static func write(_ lease: Lease, _: ResponseHeader, to json: inout JSONWriter) {
        json.field("ID", lease.id)
        json.field("TTL", lease.ttl)
    }
}

extension Leases.Revoke: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.integer("ID"))
    }
}

extension Leases.TimeToLive: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.integer("ID"), withKeys: try request.bool("keys"))
    }

    static func write(_ time: Leases.Time, _: ResponseHeader, to json: inout JSONWriter) {
        json.field("ID", time.id)
        json.field("TTL", time.left)
        json.field("grantedTTL", time.granted)
        json.field("keys", time.keys) { $0.base64($1) }
    }
}

extension Leases.List: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ ids: [Int64], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("leases", ids) { json, id in json.object { $0.field("ID", id) } }
    }
}

// MARK: - Lock

extension Locks.Lock: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.bytes("name"), lease: try request.integer("lease"))
    }

    static func write(_ key: [UInt8], _: ResponseHeader, to json: inout JSONWriter) { json.field("key", key) }
}

extension Locks.Unlock: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(key: try request.bytes("key"))
    }
}

// MARK: - Election

extension Elections.Campaign: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(
            name: try request.bytes("name"), lease: try request.integer("lease"), value: try request.bytes("value"))
    }

    static func write(_ won: Elections.Won, _: ResponseHeader, to json: inout JSONWriter) {
        json.name("leader")
        json.object { json in
            json.field("name", won.name)
            json.field("key", won.claim.key)
            json.field("rev", won.claim.revision)
            json.field("lease", won.claim.lease)
        }
    }
}

extension Elections.Proclaim: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(claim: try request.claim(), value: try request.bytes("value"))
    }
}

extension Elections.Leader: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.bytes("name"))
    }

    static func write(_ pair: KeyValue, _: ResponseHeader, to json: inout JSONWriter) {
        json.name("kv")
        json.pair(pair)
    }
}

extension Elections.Resign: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(claim: try request.claim())
    }
}

extension GatewayObject {
    fileprivate func claim() throws(APIError) -> Concurrency.Claim? {
        guard let leader = try object("leader") else { return nil }
        return Concurrency.Claim(
            key: try leader.bytes("key"), revision: try leader.integer("rev"), lease: try leader.integer("lease"))
    }
}
