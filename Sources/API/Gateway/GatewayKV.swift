internal import JSON
internal import MVCC
internal import Replication
internal import Server

/// The KV service in the gateway's JSON: requests in.
extension GatewayObject {
    private static var badSort: APIError { APIError(.invalidArgument, "etcdserver: invalid sort option") }

    func keyRange() throws(APIError) -> KeyRange {
        KeyRange(key: try bytes("key"), rangeEnd: try bytes("range_end"))
    }

    func rangeRequest() throws(APIError) -> RangeRequest {
        var request = RangeRequest(range: try keyRange())
        request.limit = try integer("limit")
        request.revision = try integer("revision")
        let order = try choice("sort_order", ["NONE", "ASCEND", "DESCEND"], otherwise: Self.badSort)
        request.sortOrder = RangeRequest.SortOrder(rawValue: order) ?? .none
        let targets = ["KEY", "VERSION", "CREATE", "MOD", "VALUE"]
        let target = try choice("sort_target", targets, otherwise: Self.badSort)
        request.sortTarget = RangeRequest.SortTarget(rawValue: target) ?? .key
        request.serializable = try bool("serializable")
        request.keysOnly = try bool("keys_only")
        request.countOnly = try bool("count_only")
        request.minModRevision = try integer("min_mod_revision")
        request.maxModRevision = try integer("max_mod_revision")
        request.minCreateRevision = try integer("min_create_revision")
        request.maxCreateRevision = try integer("max_create_revision")
        return request
    }

    func putRequest() throws(APIError) -> PutRequest {
        var request = PutRequest(key: try bytes("key"), value: try bytes("value"))
        request.lease = try integer("lease")
        request.wantsPrevious = try bool("prev_kv")
        request.ignoresValue = try bool("ignore_value")
        request.ignoresLease = try bool("ignore_lease")
        return request
    }

    func deleteRangeRequest() throws(APIError) -> DeleteRangeRequest {
        var request = DeleteRangeRequest(range: try keyRange())
        request.wantsPrevious = try bool("prev_kv")
        return request
    }

    func txnRequest() throws(APIError) -> TxnRequest {
        var request = TxnRequest()
        for compare in try objects("compare") { request.compares.append(try compare.compare()) }
        for operation in try objects("success") { request.success.append(try operation.operation()) }
        for operation in try objects("failure") { request.failure.append(try operation.operation()) }
        return request
    }

    private func compare() throws(APIError) -> Compare {
        let unknown = APIError(.invalidArgument, "etcdserver: invalid compare")
        try expectOne(of: ["version", "create_revision", "mod_revision", "value", "lease"], "target_union")
        let relation = try choice("result", ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"], otherwise: unknown)
        let operand: Compare.Operand
        switch try choice("target", ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"], otherwise: unknown) {
        case 0: operand = .version(try integer("version"))
        case 1: operand = .create(try integer("create_revision"))
        case 2: operand = .mod(try integer("mod_revision"))
        case 3: operand = .value(try bytes("value"))
        default: operand = .lease(try integer("lease"))
        }
        return Compare(range: try keyRange(), relation: .init(rawValue: relation) ?? .equal, operand: operand)
    }

    private func operation() throws(APIError) -> TxnRequest.Operation {
        try expectOne(of: ["request_range", "request_put", "request_delete_range", "request_txn"], "request")
        if let request = try object("request_range") { return .range(try request.rangeRequest()) }
        if let request = try object("request_put") { return .put(try request.putRequest()) }
        if let request = try object("request_delete_range") { return .deleteRange(try request.deleteRangeRequest()) }
        if let request = try object("request_txn") { return .txn(try request.txnRequest()) }
        throw APIError(.invalidArgument, "etcdserver: key not found")
    }
}

/// The KV service in the gateway's JSON: answers out.
extension JSONWriter {
    mutating func header(_ header: ResponseHeader) {
        name("header")
        object { json in
            json.field("cluster_id", header.clusterID)
            json.field("member_id", header.memberID)
            json.field("revision", header.revision)
            json.field("raft_term", header.term)
        }
    }

    private mutating func revisionHeader(_ revision: Int64) {
        name("header")
        object { $0.field("revision", revision) }
    }

    mutating func pair(_ pair: KeyValue) {
        object { json in
            json.field("key", pair.key)
            json.field("create_revision", pair.createRevision)
            json.field("mod_revision", pair.modRevision)
            json.field("version", pair.version)
            json.field("value", pair.value)
            json.field("lease", pair.lease)
        }
    }

    fileprivate mutating func rangeFields(_ result: RangeResult) {
        field("kvs", result.pairs) { $0.pair($1) }
        field("more", result.more)
        field("count", result.count)
    }

    fileprivate mutating func putFields(_ previous: KeyValue?) {
        guard let previous else { return }
        name("prev_kv")
        pair(previous)
    }

    fileprivate mutating func deleteFields(_ deleted: Int64, _ previous: [KeyValue]) {
        field("deleted", deleted)
        field("prev_kvs", previous) { $0.pair($1) }
    }

    fileprivate mutating func txnFields(_ result: TxnResult, revision: Int64) {
        field("succeeded", result.succeeded)
        field("responses", result.responses) { json, response in
            json.object { json in
                switch response {
                case .range(let range):
                    json.name("response_range")
                    json.object { json in
                        json.revisionHeader(range.revision)
                        json.rangeFields(range)
                    }
                case .put(let previous):
                    json.name("response_put")
                    json.object { json in
                        json.revisionHeader(revision)
                        json.putFields(previous)
                    }
                case .deleteRange(let deleted, let previous):
                    json.name("response_delete_range")
                    json.object { json in
                        json.revisionHeader(revision)
                        json.deleteFields(deleted, previous)
                    }
                case .txn(let inner):
                    json.name("response_txn")
                    json.object { json in
                        json.name("header")
                        json.object { _ in }
                        json.txnFields(inner, revision: revision)
                    }
                }
            }
        }
    }
}

// MARK: - Operations

extension KV.Range: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(request: try request.rangeRequest())
    }

    static func write(_ result: RangeResult, _: ResponseHeader, to json: inout JSONWriter) { json.rangeFields(result) }
}

extension KV.Put: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(request: try request.putRequest())
    }

    static func write(_ previous: KeyValue?, _: ResponseHeader, to json: inout JSONWriter) { json.putFields(previous) }
}

extension KV.DeleteRange: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(request: try request.deleteRangeRequest())
    }

    static func write(_ deletion: KV.Deletion, _: ResponseHeader, to json: inout JSONWriter) {
        json.deleteFields(deletion.count, deletion.previous)
    }
}

extension KV.Txn: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(request: try request.txnRequest())
    }

    static func write(_ result: TxnResult, _ header: ResponseHeader, to json: inout JSONWriter) {
        json.txnFields(result, revision: header.revision)
    }
}

extension KV.Compact: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(revision: try request.integer("revision"))
    }
}
