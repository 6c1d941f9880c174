internal import EtcdProto
internal import MVCC
internal import Raft
internal import Replication
internal import Server
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The KV service's messages as gRPC has them, to and from what the store understands.
extension RangeRequest {
    init(_ message: Etcdserverpb_RangeRequest) throws(APIError) {
        self.init(range: KeyRange(key: Array(message.key), rangeEnd: Array(message.rangeEnd)))
        limit = message.limit
        revision = message.revision
        guard let order = SortOrder(rawValue: UInt8(clamping: message.sortOrder.rawValue)),
            let target = SortTarget(rawValue: UInt8(clamping: message.sortTarget.rawValue))
        else { throw APIError(.invalidArgument, "etcdserver: invalid sort option") }
        sortOrder = order
        sortTarget = target
        serializable = message.serializable
        keysOnly = message.keysOnly
        countOnly = message.countOnly
        minModRevision = message.minModRevision
        maxModRevision = message.maxModRevision
        minCreateRevision = message.minCreateRevision
        maxCreateRevision = message.maxCreateRevision
    }
}

extension PutRequest {
    init(_ message: Etcdserverpb_PutRequest) {
        self.init(key: Array(message.key), value: Array(message.value))
        lease = message.lease
        wantsPrevious = message.prevKv
        ignoresValue = message.ignoreValue
        ignoresLease = message.ignoreLease
    }
}

extension DeleteRangeRequest {
    init(_ message: Etcdserverpb_DeleteRangeRequest) {
        self.init(range: KeyRange(key: Array(message.key), rangeEnd: Array(message.rangeEnd)))
        wantsPrevious = message.prevKv
    }
}

extension TxnRequest {
    init(_ message: Etcdserverpb_TxnRequest) throws(APIError) {
        self.init()
        for compare in message.compare { compares.append(try Compare(compare)) }
        for operation in message.success { success.append(try Operation(operation)) }
        for operation in message.failure { failure.append(try Operation(operation)) }
    }
}

extension TxnRequest.Operation {
    init(_ message: Etcdserverpb_RequestOp) throws(APIError) {
        switch message.request {
        case .requestRange(let request): self = .range(try RangeRequest(request))
        case .requestPut(let request): self = .put(PutRequest(request))
        case .requestDeleteRange(let request): self = .deleteRange(DeleteRangeRequest(request))
        case .requestTxn(let request): self = .txn(try TxnRequest(request))
        case nil: throw APIError(.invalidArgument, "etcdserver: key not found")
        }
    }
}

extension Compare {
    init(_ message: Etcdserverpb_Compare) throws(APIError) {
        guard let relation = Relation(rawValue: UInt8(clamping: message.result.rawValue)) else {
            throw APIError(.invalidArgument, "etcdserver: invalid compare")
        }
        let operand: Operand
        switch message.target {
        case .version: operand = .version(message.version)
        case .create: operand = .create(message.createRevision)
        case .mod: operand = .mod(message.modRevision)
        case .value: operand = .value(Array(message.value))
        case .lease: operand = .lease(message.lease)
        case .UNRECOGNIZED: throw APIError(.invalidArgument, "etcdserver: invalid compare")
        }
        let range = KeyRange(key: Array(message.key), rangeEnd: Array(message.rangeEnd))
        self.init(range: range, relation: relation, operand: operand)
    }
}

// MARK: - Answers

extension Mvccpb_KeyValue {
    init(_ pair: KeyValue) {
        self.init()
        key = Data(pair.key)
        createRevision = pair.createRevision
        modRevision = pair.modRevision
        version = pair.version
        value = Data(pair.value)
        lease = pair.lease
    }
}

extension Etcdserverpb_RangeResponse {
    init(_ result: RangeResult, _ header: Etcdserverpb_ResponseHeader) {
        self.init()
        self.header = header
        kvs = result.pairs.map(Mvccpb_KeyValue.init)
        more = result.more
        count = result.count
    }
}

extension Etcdserverpb_PutResponse {
    init(_ previous: KeyValue?, _ header: Etcdserverpb_ResponseHeader) {
        self.init()
        self.header = header
        if let previous { prevKv = Mvccpb_KeyValue(previous) }
    }
}

extension Etcdserverpb_DeleteRangeResponse {
    init(_ count: Int64, _ previous: [KeyValue], _ header: Etcdserverpb_ResponseHeader) {
        self.init()
        self.header = header
        deleted = count
        prevKvs = previous.map(Mvccpb_KeyValue.init)
    }
}

extension Etcdserverpb_TxnResponse {
    init(_ result: TxnResult, revision: Int64, _ header: Etcdserverpb_ResponseHeader) {
        self.init()
        self.header = header
        succeeded = result.succeeded
        responses = result.responses.map { Etcdserverpb_ResponseOp($0, revision: revision) }
    }
}

extension Etcdserverpb_ResponseOp {
    init(_ response: TxnResult.Response, revision: Int64) {
        self.init()
        let header = Etcdserverpb_ResponseHeader(revision: revision)
        switch response {
        case .range(let result):
            self.response = .responseRange(
                Etcdserverpb_RangeResponse(result, Etcdserverpb_ResponseHeader(revision: result.revision)))
        case .put(let previous): self.response = .responsePut(Etcdserverpb_PutResponse(previous, header))
        case .deleteRange(let deleted, let previous):
            self.response = .responseDeleteRange(Etcdserverpb_DeleteRangeResponse(deleted, previous, header))
        case .txn(let inner):
            self.response = .responseTxn(
                Etcdserverpb_TxnResponse(inner, revision: revision, Etcdserverpb_ResponseHeader()))
        }
    }
}
