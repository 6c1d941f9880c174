internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// Calls over gRPC and requests to the gateway on one event loop, for those that make up nearly all load: what is one command, and
/// reads of single keys. Everything else goes the way of `GRPCService` and `Gateway`: the same operations and codecs, in a task.
///
/// Reads that come in one turn of the loop share one question to the leader and one snapshot of the file, and are carried
/// out here: no other thread is woken for them. Only on the loop.
final class LoopService: UnaryService, @unchecked Sendable {
    private typealias Read = (request: RangeRequest, reply: @Sendable (Result<Answered<RangeResult>, APIError>) -> Void)

    private let desk: Desk
    private let turn: LoopTurn
    private let reader: PointReader
    /// What came in this turn.
    private var serializable: [Read] = []
    private var linearizable: [Read] = []
    private var isDue = false

    init(desk: Desk, turn: LoopTurn) {
        self.desk = desk
        self.turn = turn
        reader = desk.makePointReader()
    }

    // MARK: - gRPC

    private enum Method: String {
        case range = "/etcdserverpb.KV/Range"
        case put = "/etcdserverpb.KV/Put"
        case txn = "/etcdserverpb.KV/Txn"
        case deleteRange = "/etcdserverpb.KV/DeleteRange"
        case grant = "/etcdserverpb.Lease/LeaseGrant"
    }

    func takes(_ path: String) -> Bool { Method(rawValue: path) != nil }

    func answer(_ call: UnaryCall) -> Bool {
        guard let method = Method(rawValue: call.path) else { return false }
        // Before anything is looked at: what is too large may be costly to look at.
        guard call.message.count <= desk.requestBytesMax else {
            call.fail(GRPCStatus(APIError(ServerError.requestTooLarge)))
            return true
        }
        return switch method {
        case .range: takeRange(call)
        case .put: take(KV.Put.self, call)
        case .txn: take(KV.Txn.self, call)
        case .deleteRange: take(KV.DeleteRange.self, call)
        case .grant: take(Leases.Grant.self, call)
        }
    }

    private func take<Asked: LoopOperation & GRPCOperation>(_: Asked.Type, _ call: UnaryCall) -> Bool {
        guard let operation: Asked = decode(call) else { return true }
        // A lane of the member gives the answer, and waits for no encoding.
        return desk.begin(operation) { outcome in call.onLoop { Self.end(call, outcome, Asked.encode) } }
    }

    private func takeRange(_ call: UnaryCall) -> Bool {
        guard let operation: KV.Range = decode(call) else { return true }
        guard operation.isOfOneKey else { return false }
        read(operation) { outcome in Self.end(call, outcome) { KV.Range.encode($0) } }
        return true
    }

    /// Nil when it cannot be read: the call is ended then.
    private func decode<Asked: GRPCOperation>(_ call: UnaryCall) -> Asked? {
        do throws(APIError) {
            return try Asked.decode(call.message)
        } catch {
            call.fail(GRPCStatus(error))
            return nil
        }
    }

    private static func end<Answer>(
        _ call: UnaryCall, _ outcome: Result<Answer, APIError>, _ encode: (Answer) throws(APIError) -> [UInt8]
    ) {
        do throws(APIError) { call.answer(try encode(try outcome.get())) } catch { call.fail(GRPCStatus(error)) }
    }

    // MARK: - etcd's gateway

    func answer(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        // What headers ask for is the gateway's to see to.
        guard request.method == .POST, !request.headers.contains(name: "grpc-metadata-hasleader") else { return false }
        switch request.path {
        case "/v3/kv/put":
            guard let operation: KV.Put = decode(request) else { return false }
            return desk.begin(operation) { outcome in reply { .json(outcome) { KV.Put.json($0) } } }
        case "/v3/kv/range":
            guard let operation: KV.Range = decode(request), operation.isOfOneKey else { return false }
            read(operation) { outcome in reply { .json(outcome) { KV.Range.json($0) } } }
            return true
        default: return false
        }
    }

    /// Nil for what the gateway refuses.
    private func decode<Asked: GatewayOperation>(_ request: HTTPRequest) -> Asked? {
        try? Asked(try GatewayObject(body: request.body))
    }

    // MARK: - Reads

    /// Has a single key read along with what else is asked in this turn.
    private func read(
        _ operation: KV.Range, _ reply: @escaping @Sendable (Result<Answered<RangeResult>, APIError>) -> Void
    ) {
        let request = operation.request
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
                for read in asked { read.reply(.failure(APIError(failure))) }
            }
        }
    }

    private func read(_ reads: [Read]) {
        for (read, result) in zip(reads, reader.ranges(reads.map(\.request))) {
            read.reply(
                result.map { found in
                    Answered(
                        header: desk.header(revision: found.0.revision, term: found.term), body: found.0)
                }.mapError(APIError.init))
        }
    }
}

extension KV.Range {
    fileprivate var isOfOneKey: Bool { request.range.end == .single && !request.range.start.isEmpty }
}

extension HTTPResponse {
    fileprivate static func json<Answer>(
        _ outcome: Result<Answer, APIError>, _ answer: (Answer) -> JSONWriter
    ) -> HTTPResponse {
        switch outcome {
        case .success(let value): .json(.ok, answer(value))
        case .failure(let error): .error(error)
        }
    }
}
