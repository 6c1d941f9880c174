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

    func answerWatch(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        guard method == "Watch" else { return false }
        let stream = try member.makeWatchStream(requiresLeader: call.requiresLeader)
        defer { member.close(stream) }
        // Ended with this function, whatever ends it.
        async let asking = ask(call, stream)
        while true {
            let outputs: [WatchOutput]
            do throws(WatchEnd) { outputs = try await member.outputs(of: stream) } catch { throw APIError(error) }
            if outputs.isEmpty { break }
            var shared = SharedEvents(member: member)
            for output in outputs {
                let hold = try await hold(for: output, call)
                defer { withExtendedLifetime(hold) {} }
                if shared.add(output) {
                    if shared.messages.count >= Self.sentBytesMax { try await send(shared.take(), call) }
                    continue
                }
                try await send(shared.take(), call)
                for answer in try await answers(to: output) { try await send(answer, call) }
            }
            try await send(shared.take(), call)
        }
        if let failure = await asking { throw failure }
        return true
    }

    private func hold(for output: WatchOutput, _ call: GRPCCall) async throws(APIError) -> MemoryHold? {
        do throws(CancellationError) { return try await member.hold(for: output, call.awaitRoom) } catch {
            throw APIError.cancelled
        }
    }

    /// Passes on what the client asks until it has asked everything; then its watches go on. Answers what went wrong.
    private func ask(_ call: GRPCCall, _ stream: WatchStream) async -> APIError? {
        do throws(APIError) {
            while let request: Etcdserverpb_WatchRequest = try await receive(call) {
                guard let asked = request.requestUnion else { continue }
                await stream.beginRequest()
                switch asked {
                case .createRequest(let create):
                    let request = try await member.kv { member throws(ServerError) in
                        try member.held(WatchRequest(create))
                    }
                    member.watch(request, on: stream)
                case .cancelRequest(let cancel): member.cancelWatch(cancel.watchID, on: stream)
                case .progressRequest: member.askProgress(of: stream)
                }
            }
            return nil
        } catch {
            stream.close()
            return error
        }
    }

    private func answers(to output: WatchOutput) async throws(APIError) -> [Etcdserverpb_WatchResponse] {
        var answer = Etcdserverpb_WatchResponse()
        switch output {
        case .created(let id, let revision):
            answer.header = header(revision: revision)
            answer.watchID = id
            answer.created = true
        case .refused(let reason, let revision):
            answer.header = header(revision: revision)
            answer.watchID = -1
            answer.created = true
            answer.canceled = true
            answer.cancelReason = reason
        case .progress(let id, let revision):
            answer.header = header(revision: revision)
            answer.watchID = id
        case .canceled(let id, let revision, let compactRevision):
            answer.header = header(revision: revision)
            answer.watchID = id
            answer.canceled = true
            answer.compactRevision = compactRevision
        case .changes(let id, let batch, let revision, let form):
            answer.header = header(revision: revision)
            answer.watchID = id
            let parts = try await member.parts(of: batch.changes, form)
            return parts.enumerated().map { number, events in
                answer.events = events.map(Mvccpb_Event.init)
                answer.fragment = number < parts.count - 1
                return answer
            }
        }
        return [answer]
    }
}

/// Makes answers of changes that many watches hear of: all of it but their ids is put into words once.
private struct SharedEvents {
    private let member: RunningMember
    /// As a field of the answer.
    private var header: (revision: Int64, bytes: [UInt8]) = (-1, [])
    /// Made and not sent yet.
    private(set) var messages = GRPCMessages()

    init(member: RunningMember) {
        self.member = member
    }

    mutating func take() -> GRPCMessages {
        defer { messages = GRPCMessages() }
        return messages
    }

    /// Adds an etcdserverpb.WatchResponse; false for an output that says something else, or says it in several.
    mutating func add(_ output: WatchOutput) -> Bool {
        guard case .changes(let id, let batch, let revision, let form) = output, !form.wantsPrevious,
            !form.mayFragment || batch.bytes <= RunningMember.fragmentBytes
        else { return false }
        if header.revision != revision {
            var field = ProtoWriter()
            field.field(1, member.protoHeader(revision: revision, term: member.status.term))
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
                event.field(2) { $0.fields(of: change) }
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

extension Mvccpb_Event {
    fileprivate init(_ event: WatchEvent) {
        self.init()
        type = event.change.version > 0 ? .put : .delete
        kv = Mvccpb_KeyValue(event.change)
        if let previous = event.previous { prevKv = Mvccpb_KeyValue(previous) }
    }
}
