internal import Bytes
internal import EtcdProto
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server
internal import SwiftProtobuf

/// Calls over gRPC and requests to the gateway on one event loop, for those that make up nearly all load: puts, reads of single
/// keys, and over gRPC what else is one command. Everything else goes the way of `GRPCService` and `Gateway`, with the same
/// answers.
///
/// Reads that come in one turn of the loop share one question to the leader and one snapshot of the file, and are carried
/// out here: no other thread is woken for them. Only on the loop.
final class LoopKV: UnaryService, @unchecked Sendable {
    private typealias Read = (
        request: RangeRequest, reply: @Sendable (Result<(RangeResult, term: UInt64), ServerError>) -> Void
    )

    private let member: RunningMember
    private let turn: LoopTurn
    private let reader: PointReader
    private let gateway: Gateway
    /// What came in this turn.
    private var serializable: [Read] = []
    private var linearizable: [Read] = []
    private var isDue = false

    init(member: RunningMember, turn: LoopTurn) {
        self.member = member
        self.turn = turn
        reader = member.makePointReader()
        gateway = Gateway(member: member)
    }

    func takes(_ path: String) -> Bool {
        switch path {
        case Self.range, Self.put, Self.txn, Self.deleteRange, Self.leaseGrant: true
        default: false
        }
    }

    private static let range = "/etcdserverpb.KV/Range"
    private static let put = "/etcdserverpb.KV/Put"
    private static let txn = "/etcdserverpb.KV/Txn"
    private static let deleteRange = "/etcdserverpb.KV/DeleteRange"
    private static let leaseGrant = "/etcdserverpb.Lease/LeaseGrant"

    func answer(_ call: UnaryCall) -> Bool {
        // Before anything is looked at: what is too large may be costly to look at.
        if call.message.count > member.settings.requestBytesMax { return fail(call, .requestTooLarge) }
        return switch call.path {
        case Self.range: takeRange(call)
        case Self.put: takePut(call)
        case Self.txn: takeTxn(call)
        case Self.deleteRange: takeDeleteRange(call)
        case Self.leaseGrant: takeLeaseGrant(call)
        default: false
        }
    }

    // MARK: - Writes

    private func takePut(_ call: UnaryCall) -> Bool {
        guard let request = PutRequest(proto: call.message) else { return false }
        do throws(MVCCError) { try member.limits.check(request) } catch { return fail(call, .refused(error)) }
        return propose(.put(request), call, counted: member.metrics.puts) { result, header in
            var answer = ProtoWriter(reserving: 48)
            answer.field(1, header)
            if case .put(let previous?) = result { answer.field(2) { $0.fields(of: previous) } }
            return answer.bytes
        }
    }

    private func takeTxn(_ call: UnaryCall) -> Bool {
        guard let message = try? Etcdserverpb_TxnRequest(serializedBytes: call.message),
            let request = try? TxnRequest(message), !request.isReadOnly
        else { return false }
        do throws(MVCCError) { try member.limits.check(request) } catch { return fail(call, .refused(error)) }
        return proposeAndEncode(.txn(request), call, counted: member.metrics.txns) { result, header, revision in
            guard case .txn(let result) = result else { preconditionFailure("a txn without its result") }
            return Etcdserverpb_TxnResponse(result, revision: revision, header)
        }
    }

    private func takeDeleteRange(_ call: UnaryCall) -> Bool {
        guard let message = try? Etcdserverpb_DeleteRangeRequest(serializedBytes: call.message) else { return false }
        let request = DeleteRangeRequest(message)
        do throws(MVCCError) { try member.limits.check(request) } catch { return fail(call, .refused(error)) }
        return proposeAndEncode(.deleteRange(request), call, counted: member.metrics.deletes) { result, header, _ in
            guard case .deleteRange(let deleted, let previous) = result else {
                preconditionFailure("a deletion without its result")
            }
            return Etcdserverpb_DeleteRangeResponse(deleted, previous, header)
        }
    }

    private func takeLeaseGrant(_ call: UnaryCall) -> Bool {
        guard let message = try? Etcdserverpb_LeaseGrantRequest(serializedBytes: call.message) else { return false }
        return member.grantLease(id: message.id, ttl: message.ttl) { [self] outcome in
            endOnLoop(call, outcome) { [member] (lease, applied) in
                var answer = ProtoWriter(reserving: 56)
                answer.field(1, member.protoHeader(revision: applied.revision, term: applied.term))
                answer.field(2, lease.id)
                answer.field(3, lease.ttl)
                return answer.bytes
            }
        }
    }

    private func proposeAndEncode<Answer: SwiftProtobuf.Message>(
        _ command: Command, _ call: UnaryCall, counted counter: Counter,
        _ answer: @escaping @Sendable (CommandResult, Etcdserverpb_ResponseHeader, Int64) -> Answer
    ) -> Bool {
        propose(command, call, counted: counter) { [member] (result, applied) -> [UInt8]? in
            let header = ResponseHeader(
                clusterID: member.clusterID, memberID: member.id, revision: applied.revision, term: applied.term)
            return try? answer(result, Etcdserverpb_ResponseHeader(header), applied.revision).serializedBytes()
        }
    }

    private func propose(
        _ command: Command, _ call: UnaryCall, counted counter: Counter,
        _ answer: @escaping @Sendable (CommandResult, [UInt8]) -> [UInt8]
    ) -> Bool {
        propose(command, call, counted: counter) { [member] (result, applied) -> [UInt8]? in
            answer(result, member.protoHeader(revision: applied.revision, term: applied.term))
        }
    }

    private func propose(
        _ command: Command, _ call: UnaryCall, counted counter: Counter,
        _ answer: @escaping @Sendable (CommandResult, Applied) -> [UInt8]?
    ) -> Bool {
        let isTaken = member.propose(command) { [self] outcome in
            endOnLoop(call, outcome) { answer($0.result, $0) }
        }
        // What is left to a task is counted there.
        if isTaken { counter.add() }
        return isTaken
    }

    /// A lane of the member gives this, and waits for no encoding.
    private func endOnLoop<Value: Sendable>(
        _ call: UnaryCall, _ outcome: Result<Value, ServerError>, _ answer: @escaping @Sendable (Value) -> [UInt8]?
    ) {
        call.onLoop { [self] in end(call, outcome, answer) }
    }

    private func end<Value>(_ call: UnaryCall, _ outcome: Result<Value, ServerError>, _ answer: (Value) -> [UInt8]?) {
        switch outcome {
        case .success(let value):
            if let bytes = answer(value) { return call.answer(bytes) }
            call.fail(GRPCStatus(code: APIError.Code.internal.rawValue, message: "the answer cannot be encoded"))
        case .failure(let error): call.fail(GRPCStatus(APIError(error)))
        }
    }

    @discardableResult
    private func fail(_ call: UnaryCall, _ error: ServerError) -> Bool {
        call.fail(GRPCStatus(APIError(error)))
        return true
    }

    // MARK: - etcd's gateway

    func answer(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        // What headers ask for is the gateway's to see to.
        guard request.method == .POST, !request.headers.contains(name: "grpc-metadata-hasleader") else { return false }
        return switch request.path {
        case "/v3/kv/range": takeRange(request, reply)
        case "/v3/kv/put": takePut(request, reply)
        default: false
        }
    }

    private func takePut(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        guard let put = try? GatewayObject(body: request.body).putRequest() else { return false }
        do throws(MVCCError) {
            try member.limits.check(put)
        } catch {
            reply { .error(APIError(error)) }
            return true
        }
        let isTaken = member.propose(.put(put)) { [gateway] outcome in
            reply { .json(outcome) { gateway.answer(to: $0) } }
        }
        if isTaken { member.metrics.puts.add() }
        return isTaken
    }

    private func takeRange(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        guard let range = try? GatewayObject(body: request.body).rangeRequest(), range.range.end == .single,
            !range.range.start.isEmpty
        else { return false }
        read(range) { [gateway] outcome in reply { .json(outcome) { gateway.answer(to: $0.0, term: $0.term) } } }
        return true
    }

    // MARK: - Reads

    private func takeRange(_ call: UnaryCall) -> Bool {
        guard let request = RangeRequest(proto: call.message), request.range.end == .single,
            !request.range.start.isEmpty
        else { return false }
        read(request) { [self] outcome in
            end(call, outcome) { (result, term) in
                result.proto(header: member.protoHeader(revision: result.revision, term: term))
            }
        }
        return true
    }

    /// Has a single key read along with what else is asked in this turn.
    private func read(
        _ request: RangeRequest, _ reply: @escaping @Sendable (Result<(RangeResult, term: UInt64), ServerError>) -> Void
    ) {
        if request.serializable { serializable.append((request, reply)) } else { linearizable.append((request, reply)) }
        if isDue { return }
        isDue = true
        turn.later { self.endTurn() }
    }

    private func endTurn() {
        isDue = false
        let (own, asked) = (serializable, linearizable)
        serializable = []
        linearizable = []
        if !own.isEmpty { read(own) }
        if asked.isEmpty { return }
        reader.awaitCurrent { [self] failure in
            turn.later { [self] in
                guard let failure else { return read(asked) }
                for read in asked { read.reply(.failure(failure)) }
            }
        }
    }

    private func read(_ reads: [Read]) {
        for (read, result) in zip(reads, reader.ranges(reads.map(\.request))) {
            read.reply(result)
        }
    }
}

extension HTTPResponse {
    fileprivate static func json<Value>(
        _ outcome: Result<Value, ServerError>, _ answer: (Value) -> JSONWriter
    ) -> HTTPResponse {
        switch outcome {
        case .success(let value): .json(.ok, answer(value))
        case .failure(let error): .error(APIError(error))
        }
    }
}

extension GRPCStatus {
    init(_ error: APIError) { self.init(code: error.code.rawValue, message: error.message) }
}
