internal import Access
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
    private typealias RangeReply = @Sendable (Result<Answered<RangeResult>, APIError>) -> Void

    private struct Read {
        let operation: KV.Range
        /// Of whoever asks.
        let desk: Desk
        let reply: RangeReply
    }

    private let desks: Desks
    private let turn: LoopTurn
    private let reader: PointReader
    /// What came in this turn.
    private var serializable: [Read] = []
    private var linearizable: [Read] = []
    private var isDue = false

    init(desks: Desks, turn: LoopTurn) {
        self.desks = desks
        self.turn = turn
        reader = desks.makePointReader()
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
        guard call.message.count <= desks.requestBytesMax else {
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
        let desk = desks.open(for: Caller(call))
        // A lane of the member gives the answer, and waits for no encoding.
        return desk.begin(operation) { outcome in call.onLoop { Self.end(call, outcome, Asked.encode) } }
    }

    private func takeRange(_ call: UnaryCall) -> Bool {
        guard let operation: KV.Range = decode(call) else { return true }
        guard operation.isOfOneKey else { return false }
        return read(operation, Caller(call)) { outcome in Self.end(call, outcome) { KV.Range.encode($0) } }
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
        defer { withExtendedLifetime(outcome) {} }
        do throws(APIError) { call.answer(try encode(try outcome.get())) } catch { call.fail(GRPCStatus(error)) }
    }

    // MARK: - etcd's gateway

    func answer(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        // What headers ask for, and whose certificates are shown, is the gateway's to see to.
        guard request.method == .POST, !request.headers.contains(name: "grpc-metadata-hasleader"),
            request.client.commonName == nil
        else { return false }
        switch request.path {
        case "/v3/kv/put":
            guard let operation: KV.Put = decode(request) else { return false }
            let desk = desks.open(for: Caller(request))
            return desk.begin(operation) { outcome in reply { .json(outcome) { KV.Put.json($0) } } }
        case "/v3/kv/range":
            guard let operation: KV.Range = decode(request), operation.isOfOneKey else { return false }
            return read(operation, Caller(request)) { outcome in reply { .json(outcome) { KV.Range.json($0) } } }
        default: return false
        }
    }

    /// Nil for what the gateway refuses.
    private func decode<Asked: GatewayOperation>(_ request: HTTPRequest) -> Asked? {
        try? Asked(try GatewayObject(body: request.body))
    }

    // MARK: - Reads

    /// Has a single key read along with what else is asked in this turn; false when that is for a task.
    private func read(_ operation: KV.Range, _ caller: Caller, _ reply: @escaping RangeReply) -> Bool {
        let desk = desks.open(for: caller)
        guard desk.mayNow(operation) else { return false }
        let read = Read(operation: operation, desk: desk, reply: reply)
        if operation.request.serializable { serializable.append(read) } else { linearizable.append(read) }
        if isDue { return true }
        isDue = true
        turn.later { self.endTurn() }
        return true
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
        for (read, result) in zip(reads, reader.ranges(reads.map(\.operation.request))) {
            // Rights may have changed since, or this member may have heard of it just now. A client asks again, then in a task.
            guard read.desk.mayNow(read.operation) else {
                read.reply(.failure(APIError(AccessRefusal.oldRevision)))
                continue
            }
            read.reply(
                result.map { found in
                    Answered(
                        header: read.desk.header(revision: found.0.revision, term: found.term), body: found.0)
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
