internal import Bytes
internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import Replication
internal import Server

/// Ranges over gRPC. A large answer is one message all the same: its size is found out first, and then it is sent bit by
/// bit, as the client takes it, so that it never is in memory as a whole.
extension GRPCService {
    /// Larger answers are sent bit by bit.
    private static let wholeBytesMax = 8 << 20

    func answerRange(_ call: GRPCCall) async throws(APIError) -> Bool {
        guard let message: Etcdserverpb_RangeRequest = try await receive(call) else {
            throw APIError(.internal, "the call holds no request")
        }
        let request = try RangeRequest(message)
        let whole: (result: RangeResult, term: UInt64)? = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            guard request.isPlain else { return try await member.range(request) }
            do throws(ServerError) {
                return try await member.range(request, bytesMax: Self.wholeBytesMax)
            } catch .refused(.answerTooLarge) {
                return nil
            }
        }
        guard let whole else {
            try await stream(request, call)
            return true
        }
        let header = member.protoHeader(revision: whole.result.revision, term: whole.term)
        var answer = GRPCMessages()
        answer.add(whole.result.proto(header: header))
        try await send(answer, call)
        return true
    }

    private func stream(_ request: RangeRequest, _ call: GRPCCall) async throws(APIError) {
        let now = try await member.kv { member throws(ServerError) in
            try await member.current(serializable: request.serializable)
        }
        let revision = request.revision > 0 ? request.revision : now.revision
        var count: Int64 = 0
        var bytes = 0
        try await forEachPortion(of: request, at: revision, withValues: false) { portion throws(APIError) in
            for (pair, valueCount) in zip(portion.pairs, portion.valueCounts) {
                let size = pair.protoSize(valueCount: request.keysOnly ? 0 : valueCount)
                bytes += 1 + ProtoWriter.size(ofVarint: UInt64(size)) + size
            }
            count += Int64(portion.pairs.count)
        }
        var header = ProtoWriter()
        header.field(1, member.protoHeader(revision: now.revision, term: now.term))
        var end = ProtoWriter()
        end.field(4, count)
        let size = header.bytes.count + bytes + end.bytes.count
        guard size <= Int(UInt32.max) else {
            throw APIError(.resourceExhausted, "the answer would be over 4 GiB; ask for less with limit or keys_only")
        }
        var messages = GRPCMessages()
        messages.begin(count: size)
        messages.append(header.bytes)
        try await send(messages, call)
        try await forEachPortion(of: request, at: revision, withValues: !request.keysOnly) { portion throws(APIError) in
            var pairs = ProtoWriter(reserving: portion.pairs.reduce(0) { $0 + $1.key.count + $1.value.count + 64 })
            for pair in portion.pairs { pairs.field(2) { $0.fields(of: pair) } }
            var piece = GRPCMessages()
            piece.append(pairs.bytes)
            try await send(piece, call)
        }
        var last = GRPCMessages()
        last.append(end.bytes)
        try await send(last, call)
    }

    private func forEachPortion(
        of request: RangeRequest, at revision: Int64, withValues: Bool,
        _ body: (View.Portion) async throws(APIError) -> Void
    ) async throws(APIError) {
        var range = request.range
        while true {
            let asked = range
            let portion = try await member.kv { member throws(ServerError) in
                try await member.portion(of: asked, at: revision, withValues: withValues)
            }
            try await body(portion)
            guard let next = portion.next else { return }
            range.start = next
        }
    }
}

extension RangeRequest {
    /// If its answer is all keys of a range in their own order.
    fileprivate var isPlain: Bool {
        limit <= 0 && !countOnly && sortTarget == .key && sortOrder != .descend && minModRevision == 0
            && maxModRevision == 0 && minCreateRevision == 0 && maxCreateRevision == 0
    }
}
