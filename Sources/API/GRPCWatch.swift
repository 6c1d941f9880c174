internal import EtcdProto
internal import HTTPServer
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server

/// The Watch service over gRPC: requests and answers of many watches on one stream.
extension GRPCService {
    func answerWatch(_ method: Substring, _ call: GRPCCall) async throws(APIError) -> Bool {
        guard method == "Watch" else { return false }
        let stream = try member.makeWatchStream(requiresLeader: call.headers.first(name: "hasleader") == "true")
        defer { member.close(stream) }
        // Ended with this function, whatever ends it.
        async let asking = ask(call, stream)
        while true {
            let outputs: [WatchOutput]
            do throws(WatchEnd) { outputs = try await member.outputs(of: stream) } catch { throw APIError(error) }
            if outputs.isEmpty { break }
            for output in outputs {
                for answer in try await answers(to: output) { try await send(answer, call) }
            }
        }
        if let failure = await asking { throw failure }
        return true
    }

    /// Passes on what the client asks until it has asked everything; then its watches go on. Answers what went wrong.
    private func ask(_ call: GRPCCall, _ stream: WatchStream) async -> APIError? {
        do throws(APIError) {
            while let request: Etcdserverpb_WatchRequest = try await receive(call) {
                guard let asked = request.requestUnion else { continue }
                await stream.beginRequest()
                switch asked {
                case .createRequest(let create): member.watch(WatchRequest(create), on: stream)
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
        case .changes(let id, let changes, let revision, let request):
            answer.header = header(revision: revision)
            answer.watchID = id
            let parts = try await member.parts(of: changes, request)
            return parts.enumerated().map { number, events in
                answer.events = events.map(Mvccpb_Event.init)
                answer.fragment = number < parts.count - 1
                return answer
            }
        }
        return [answer]
    }
}

extension WatchRequest {
    init(_ message: Etcdserverpb_WatchCreateRequest) {
        self.init(range: KeyRange(watched: Array(message.key), rangeEnd: Array(message.rangeEnd)))
        startRevision = max(message.startRevision, 0)
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
