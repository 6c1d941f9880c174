internal import Bytes
internal import EtcdProto
internal import HTTPServer
internal import MVCC
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Answers that come in pieces.
extension GRPCService {
    // MARK: - Ranges

    /// A large answer is one message all the same: its size is found out first, and then it is sent bit by bit, as the client takes
    /// it, so that it never is in memory as a whole.
    func answerRange(_ call: GRPCCall) async throws(APIError) {
        let request = try KV.Range.decode(try await receiveOne(call)).request
        let found = try await desk.carryOut(KV.LargeRange(request: request))
        defer { withExtendedLifetime(found) {} }
        switch found {
        case .whole(let answer): try await send(KV.Range.encode(answer), call)
        case .portions(let portions): try await send(portions, call)
        }
    }

    private func send(_ portions: RangePortions, _ call: GRPCCall) async throws(APIError) {
        let keysOnly = portions.request.keysOnly
        var count: Int64 = 0
        var bytes = 0
        try await portions.forEach(withValues: false) { portion throws(APIError) in
            for (pair, valueCount) in zip(portion.pairs, portion.valueCounts) {
                let size = pair.protoSize(valueCount: keysOnly ? 0 : valueCount)
                bytes += 1 + ProtoWriter.size(ofVarint: UInt64(size)) + size
            }
            count += Int64(portion.pairs.count)
        }
        var header = ProtoWriter()
        header.field(1, portions.header.proto)
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
        try await portions.forEach(withValues: !keysOnly) { portion throws(APIError) in
            var pairs = ProtoWriter(reserving: portion.pairs.reduce(0) { $0 + $1.key.count + $1.value.count + 64 })
            for pair in portion.pairs { pairs.field(2, pair) }
            var piece = GRPCMessages()
            piece.append(pairs.bytes)
            try await send(piece, call)
        }
        var last = GRPCMessages()
        last.append(end.bytes)
        try await send(last, call)
    }

    // MARK: - Leases and elections

    func answerKeepAlive(_ call: GRPCCall) async throws(APIError) {
        while let first = try await receive(call) {
            // A client with a thousand leases sends them all at once: they share what a renewal costs.
            var ids = [try Etcdserverpb_LeaseKeepAliveRequest(grpc: first).id]
            while ids.count < Leases.KeepAlive.idsMax, let next = call.receiveNow() {
                ids.append(try Etcdserverpb_LeaseKeepAliveRequest(grpc: next).id)
            }
            for answer in try await desk.carryOut(Leases.KeepAlive(ids: ids)) {
                try await send(try Etcdserverpb_LeaseKeepAliveResponse(answer).grpcBytes(), call)
            }
        }
    }

    func answerObserve(_ call: GRPCCall) async throws(APIError) {
        guard let bytes = try await receive(call) else { return }
        let name = Array(try V3electionpb_LeaderRequest(grpc: bytes).name)
        try await desk.carryOut(Elections.Observe(name: name)).forEach { leader async throws(APIError) in
            try await send(try Elections.Leader.encode(leader), call)
        }
    }

    // MARK: - Backups and health

    func answerSnapshot(_ call: GRPCCall) async throws(APIError) {
        guard let bytes = try await receive(call) else { return }
        _ = try Etcdserverpb_SnapshotRequest(grpc: bytes)
        let backup = try await desk.carryOut(Maintenance.BackUp())
        while let (piece, left) = try await backup.next() {
            var answer = Etcdserverpb_SnapshotResponse()
            answer.blob = Data(piece)
            answer.remainingBytes = UInt64(left)
            answer.version = Version.etcdCluster
            try await send(try answer.grpcBytes(), call)
        }
    }

    func answerHealthWatch(_ call: GRPCCall) async throws(APIError) {
        guard let bytes = try await receive(call) else { return }
        _ = try Grpc_Health_V1_HealthCheckRequest(grpc: bytes)
        var said: Bool?
        while !Task.isCancelled {
            let isServing = try await desk.carryOut(HealthOperations.IsServing())
            if isServing != said { try await send(try HealthOperations.IsServing.encode(isServing), call) }
            said = isServing
            try? await Task.sleep(for: .milliseconds(500))
        }
    }
}
