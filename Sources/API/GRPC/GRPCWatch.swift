internal import Bytes
internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// The Watch service over gRPC: requests and answers of many watches on one stream.
extension GRPCService {
    /// What is sent together.
    private static let sentBytesMax = 64 << 10

    func answerWatch(_ call: GRPCCall) async throws(APIError) {
        let session = try await desk.carryOut(Watches.Open(requiresLeader: call.requiresLeader))
        // Ended with this function, whatever ends it.
        async let asking = ask(call, session)
        while true {
            let outputs = try await session.outputs()
            if outputs.isEmpty { break }
            var shared = SharedEvents(session: session)
            for output in outputs {
                let hold = try await session.hold(for: output, call.awaitRoom)
                defer { withExtendedLifetime(hold) {} }
                if shared.add(output) {
                    if shared.messages.count >= Self.sentBytesMax { try await send(shared.take(), call) }
                    continue
                }
                try await send(shared.take(), call)
                for answer in try await session.answers(to: output) {
                    try await send(try Etcdserverpb_WatchResponse(answer).grpcBytes(), call)
                }
            }
            try await send(shared.take(), call)
        }
        if let failure = await asking { throw failure }
    }

    /// Passes on what the client asks until it has asked everything; then its watches go on. Answers what went wrong.
    private func ask(_ call: GRPCCall, _ session: WatchSession) async -> APIError? {
        do throws(APIError) {
            while let first = try await receive(call) {
                // A client that resumes a thousand watches asks for them at once: they share what it takes to be current.
                var requests = [try Etcdserverpb_WatchRequest(grpc: first)]
                var bytes = first.count
                while bytes < Self.bytesAtOnce, let next = call.receiveNow() {
                    requests.append(try Etcdserverpb_WatchRequest(grpc: next))
                    bytes += next.count
                }
                let asked = requests.compactMap(\.requestUnion)
                if asked.contains(where: Self.isCreation) { try await session.hear() }
                for each in asked { try await carryOut(each, session) }
            }
            return nil
        } catch {
            session.close()
            return error
        }
    }

    /// So much is read at once; the loop has others to serve.
    private static let bytesAtOnce = 64 << 10

    private static func isCreation(_ asked: Etcdserverpb_WatchRequest.OneOf_RequestUnion) -> Bool {
        if case .createRequest = asked { true } else { false }
    }

    private func carryOut(
        _ asked: Etcdserverpb_WatchRequest.OneOf_RequestUnion, _ session: WatchSession
    ) async throws(APIError) {
        await session.awaitTurn()
        switch asked {
        case .createRequest(let create): try await session.create(WatchRequest(create))
        case .cancelRequest(let cancel): session.cancel(cancel.watchID)
        case .progressRequest: session.askProgress()
        }
    }
}

/// Makes answers of changes that many watches hear of: all of it but their ids is put into words once.
private struct SharedEvents {
    private let session: WatchSession
    /// As a field of the answer.
    private var header: (revision: Int64, bytes: [UInt8]) = (-1, [])
    /// Made and not sent yet.
    private(set) var messages = GRPCMessages()

    init(session: WatchSession) {
        self.session = session
    }

    mutating func take() -> GRPCMessages {
        defer { messages = GRPCMessages() }
        return messages
    }

    /// Adds an etcdserverpb.WatchResponse; false for an output that says something else, or says it in several.
    mutating func add(_ output: WatchOutput) -> Bool {
        guard case .changes(let id, let batch, let revision, let form) = output, !form.wantsPrevious,
            !form.mayFragment || batch.bytes <= WatchSession.fragmentBytes
        else { return false }
        if header.revision != revision {
            var field = ProtoWriter()
            field.field(1, session.header(revision: revision).proto)
            header = (revision, field.bytes)
        }
        let events = batch.encoded(Self.events)
        var name = ProtoWriter(reserving: 16)
        name.field(2, id)
        messages.begin(count: header.bytes.count + name.bytes.count + events.count)
        messages.append(header.bytes)
        messages.append(name.bytes)
        messages.append(events)
        return true
    }

    private static func events(_ changes: [KeyValue]) -> [UInt8] {
        var events = ProtoWriter()
        for change in changes {
            events.field(11) { event in
                // mvccpb.Event: a deletion is 1.
                event.field(1, change.version == 0)
                event.field(2, change)
            }
        }
        return events.bytes
    }
}

extension WatchRequest {
    init(_ message: Etcdserverpb_WatchCreateRequest) {
        self.init(range: KeyRange(watched: Array(message.key), rangeEnd: Array(message.rangeEnd)))
        startRevision = message.startRevision
        id = message.watchID
        wantsPrevious = message.prevKv
        wantsProgress = message.progressNotify
        mayFragment = message.fragment
        for filter in message.filters {
            switch filter {
            case .noput: withoutPuts = true
            case .nodelete: withoutDeletes = true
            case .UNRECOGNIZED: break
            }
        }
    }
}

extension Etcdserverpb_WatchResponse {
    fileprivate init(_ answer: WatchAnswer) {
        self.init(answer.header)
        watchID = answer.id
        created = answer.isCreated
        canceled = answer.isCanceled
        cancelReason = answer.cancelReason
        compactRevision = answer.compactRevision
        fragment = answer.isFragment
        events = answer.events.map(Mvccpb_Event.init)
    }
}

extension Mvccpb_Event {
    fileprivate init(_ event: WatchEvent) {
        self.init()
        type = event.change.version > 0 ? .put : .delete
        kv = Mvccpb_KeyValue(event.change)
        if let previous = event.previous { prevKv = Mvccpb_KeyValue(previous) }
    }
}
