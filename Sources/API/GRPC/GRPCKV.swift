internal import Bytes
internal import EtcdProto
internal import MVCC

// The KV service over gRPC. What makes up nearly all load is read and written by hand (`ProtoFast`).

extension KV.Range: GRPCOperation {
    static func decode(_ message: [UInt8]) throws(APIError) -> KV.Range {
        if let request = RangeRequest(proto: message) { return KV.Range(request: request) }
        return KV.Range(request: try RangeRequest(try Etcdserverpb_RangeRequest(grpc: message)))
    }

    static func encode(_ answer: Answered<RangeResult>) -> [UInt8] { answer.body.proto(header: answer.header.proto) }
}

extension KV.Put: GRPCOperation {
    static func decode(_ message: [UInt8]) throws(APIError) -> KV.Put {
        if let request = PutRequest(proto: message) { return KV.Put(request: request) }
        return KV.Put(request: PutRequest(try Etcdserverpb_PutRequest(grpc: message)))
    }

    static func encode(_ answer: Answered<KeyValue?>) -> [UInt8] {
        var message = ProtoWriter(reserving: 48 + (answer.body?.protoSize ?? 0))
        message.field(1, answer.header.proto)
        if let previous = answer.body { message.field(2, previous) }
        return message.bytes
    }
}

extension KV.DeleteRange: GeneratedOperation {
    init(_ request: Etcdserverpb_DeleteRangeRequest) {
        self.init(request: DeleteRangeRequest(request))
    }

    static func response(_ answer: Answered<KV.Deletion>) -> Etcdserverpb_DeleteRangeResponse {
        Etcdserverpb_DeleteRangeResponse(
            answer.body.count, answer.body.previous, Etcdserverpb_ResponseHeader(answer.header))
    }
}

extension KV.Txn: GeneratedOperation {
    init(_ request: Etcdserverpb_TxnRequest) throws(APIError) {
        self.init(request: try TxnRequest(request))
    }

    static func response(_ answer: Answered<TxnResult>) -> Etcdserverpb_TxnResponse {
        Etcdserverpb_TxnResponse(
            answer.body, revision: answer.header.revision, Etcdserverpb_ResponseHeader(answer.header))
    }
}

extension KV.Compact: GeneratedOperation {
    typealias Response = Etcdserverpb_CompactionResponse

    init(_ request: Etcdserverpb_CompactionRequest) {
        self.init(revision: request.revision)
    }
}
