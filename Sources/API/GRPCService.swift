internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server
internal import SwiftProtobuf

/// etcd's services over gRPC: the same handlers as the gateway's, another encoding.
struct GRPCService: Sendable {
    let member: RunningMember

    func respond(to call: GRPCCall) async -> GRPCStatus {
        do throws(APIError) {
            try await call.requiresLeader ? answerWhileLed(call) : answer(call)
            return .ok
        } catch {
            return GRPCStatus(code: error.code.rawValue, message: error.message)
        }
    }

    /// Calls of one answer; the others are streams, which outlast an election.
    private static let streams: Set<String> = [
        "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive", "/v3electionpb.Election/Observe",
        "/etcdserverpb.Maintenance/Snapshot", "/grpc.health.v1.Health/Watch",
    ]

    /// Answers a call that is worth nothing without a leader (`hasleader`, as etcd's clients send it): one answer is refused while
    /// there is none, a stream ends when there is none for a while.
    private func answerWhileLed(_ call: GRPCCall) async throws(APIError) {
        guard Self.streams.contains(call.path) else {
            guard member.status.leader != nil else { throw APIError(ServerError.noLeader) }
            return try await answer(call)
        }
        guard member.hasLeaderLately else { throw APIError(ServerError.noLeader) }
        let outcome = await withTaskGroup(of: Result<Void, APIError>?.self) { group in
            group.addTask {
                do throws(APIError) { return .success(try await answer(call)) } catch { return .failure(error) }
            }
            group.addTask {
                while member.hasLeaderLately {
                    do { try await Task.sleep(for: .milliseconds(100)) } catch { return nil }
                }
                return .failure(APIError(ServerError.noLeader))
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            call.wake()
            return first ?? .success(())
        }
        try outcome.get()
    }

    private func answer(_ call: GRPCCall) async throws(APIError) {
        // "/SERVICE/METHOD", and nothing like it.
        let parts = call.path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard call.path.hasPrefix("/"), parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
            throw APIError(.unimplemented, "malformed method name: \(call.path)")
        }
        let method = parts[1]
        let isKnown =
            switch parts[0] {
            case "etcdserverpb.KV": try await answerKV(method, call)
            case "etcdserverpb.Lease": try await answerLease(method, call)
            case "etcdserverpb.Watch": try await answerWatch(method, call)
            case "etcdserverpb.Cluster": try await answerCluster(method, call)
            case "etcdserverpb.Maintenance": try await answerMaintenance(method, call)
            case "etcdserverpb.Auth": try await answerAuth(method, call)
            case "v3lockpb.Lock":
                try await APIError.unknown { () async throws(APIError) in try await answerLock(method, call) }
            case "v3electionpb.Election":
                try await APIError.unknown { () async throws(APIError) in try await answerElection(method, call) }
            case "grpc.health.v1.Health": try await answerHealth(method, call)
            default: throw APIError(.unimplemented, "unknown service \(parts[0])")
            }
        if !isKnown { throw APIError(.unimplemented, "unknown method \(method) for service \(parts[0])") }
    }

    // MARK: - Calls

    /// Answers one request with one answer.
    func unary<Request: SwiftProtobuf.Message, Answer: SwiftProtobuf.Message>(
        _ call: GRPCCall, _ body: (Request) async throws(APIError) -> Answer
    ) async throws(APIError) -> Bool {
        guard let request: Request = try await receive(call) else {
            throw APIError(.internal, "the call holds no request")
        }
        try await send(try await body(request), call)
        return true
    }

    /// The next request of a stream.
    func receive<Request: SwiftProtobuf.Message>(_ call: GRPCCall) async throws(APIError) -> Request? {
        let bytes: [UInt8]?
        do throws(CancellationError) { bytes = try await call.receive() } catch { throw APIError.cancelled }
        if let bytes, bytes.count > member.settings.requestBytesMax {
            throw APIError(ServerError.requestTooLarge)
        }
        return try bytes.map(Self.decode)
    }

    /// The next request of a stream if it is here already.
    func receiveNow<Request: SwiftProtobuf.Message>(_ call: GRPCCall) throws(APIError) -> Request? {
        try call.receiveNow().map(Self.decode)
    }

    private static func decode<Request: SwiftProtobuf.Message>(_ bytes: [UInt8]) throws(APIError) -> Request {
        do {
            return try Request(serializedBytes: bytes)
        } catch {
            throw APIError(.internal, "grpc: error unmarshalling request: \(error)")
        }
    }

    func send(_ answer: some SwiftProtobuf.Message, _ call: GRPCCall) async throws(APIError) {
        let bytes: [UInt8]
        do {
            bytes = try answer.serializedBytes()
        } catch {
            throw APIError(.internal, "the answer cannot be encoded: \(error)")
        }
        do throws(CancellationError) { try await call.send(bytes) } catch { throw APIError.cancelled }
    }

    func send(_ answers: GRPCMessages, _ call: GRPCCall) async throws(APIError) {
        if answers.count == 0 { return }
        do throws(CancellationError) { try await call.send(answers) } catch { throw APIError.cancelled }
    }

    // MARK: - Headers

    func header(revision: Int64? = nil, term: Term? = nil) -> Etcdserverpb_ResponseHeader {
        Etcdserverpb_ResponseHeader(
            ResponseHeader(
                clusterID: member.clusterID, memberID: member.id, revision: revision ?? member.revision,
                term: term ?? member.status.term))
    }

    func header(_ applied: Applied) -> Etcdserverpb_ResponseHeader {
        header(revision: applied.revision, term: applied.term)
    }
}

// MARK: - KV

extension GRPCService {
    fileprivate func answerKV(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        switch method {
        case "Range": try await answerRange(call)
        case "Put": try await unary(call, put)
        case "DeleteRange": try await unary(call, deleteRange)
        case "Txn": try await unary(call, txn)
        case "Compact": try await unary(call, compact)
        default: false
        }
    }

    private func put(_ message: Etcdserverpb_PutRequest) async throws(APIError) -> Etcdserverpb_PutResponse {
        let request = PutRequest(message)
        let applied = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            member.metrics.puts.add()
            return try await member.propose(.put(request))
        }
        guard case .put(let previous) = applied.result else { preconditionFailure("a put without its result") }
        return Etcdserverpb_PutResponse(previous, header(applied))
    }

    private func deleteRange(
        _ message: Etcdserverpb_DeleteRangeRequest
    ) async throws(APIError) -> Etcdserverpb_DeleteRangeResponse {
        let request = DeleteRangeRequest(message)
        let applied = try await member.kv { member throws(ServerError) in
            try member.check { limits throws(MVCCError) in try limits.check(request) }
            member.metrics.deletes.add()
            return try await member.propose(.deleteRange(request))
        }
        guard case .deleteRange(let deleted, let previous) = applied.result else {
            preconditionFailure("a deletion without its result")
        }
        return Etcdserverpb_DeleteRangeResponse(deleted, previous, header(applied))
    }

    private func txn(_ message: Etcdserverpb_TxnRequest) async throws(APIError) -> Etcdserverpb_TxnResponse {
        let request = try TxnRequest(message)
        let applied = try await member.kv { member throws(ServerError) in try await member.txn(request) }
        guard case .txn(let result) = applied.result else { preconditionFailure("a txn without its result") }
        return Etcdserverpb_TxnResponse(result, revision: applied.revision, header(applied))
    }

    private func compact(
        _ message: Etcdserverpb_CompactionRequest
    ) async throws(APIError) -> Etcdserverpb_CompactionResponse {
        let applied = try await member.kv { member throws(ServerError) in
            try await member.propose(.compact(revision: message.revision))
        }
        var answer = Etcdserverpb_CompactionResponse()
        answer.header = header(applied)
        return answer
    }
}

extension GRPCCall {
    /// The client wants no answer from a member without a leader.
    var requiresLeader: Bool { headers.first(name: "hasleader") == "true" }
}
