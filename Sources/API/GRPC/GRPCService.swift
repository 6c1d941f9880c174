internal import HTTPServer
internal import NIOHTTP1
internal import Replication
internal import Server

/// etcd's services over gRPC: a codec around operations.
struct GRPCService: Sendable {
    let desk: Desk

    func respond(to call: GRPCCall) async -> GRPCStatus {
        do throws(APIError) {
            let route = try GRPCRoute.find(call.path)
            try await call.requiresLeader ? answerWhileLed(call, route) : route.answer(self, call)
            return .ok
        } catch {
            return GRPCStatus(error)
        }
    }

    /// Answers a call that is worth nothing without a leader (`hasleader`, as etcd's clients send it): one answer is refused while
    /// there is none, a stream ends when there is none for a while.
    private func answerWhileLed(_ call: GRPCCall, _ route: GRPCRoute) async throws(APIError) {
        guard route.isStream else {
            try desk.expectLeader()
            return try await route.answer(self, call)
        }
        guard desk.hasLeaderLately else { throw APIError(ServerError.noLeader) }
        let outcome = await withTaskGroup(of: Result<Void, APIError>?.self) { group in
            group.addTask {
                do throws(APIError) {
                    return .success(try await route.answer(self, call))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                while desk.hasLeaderLately {
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

    // MARK: - Messages

    /// Answers one request with one answer.
    func unary<Asked: GRPCOperation>(_: Asked.Type, _ call: GRPCCall) async throws(APIError) {
        let answer = try await desk.carryOut(try Asked.decode(try await receiveOne(call)))
        defer { withExtendedLifetime(answer) {} }
        try await send(try Asked.encode(answer), call)
    }

    /// The only request of a call.
    func receiveOne(_ call: GRPCCall) async throws(APIError) -> [UInt8] {
        guard let bytes = try await receive(call) else { throw APIError(.internal, "the call holds no request") }
        return bytes
    }

    /// The next request of a stream.
    func receive(_ call: GRPCCall) async throws(APIError) -> [UInt8]? {
        let bytes: [UInt8]?
        do throws(CancellationError) { bytes = try await call.receive() } catch { throw APIError.cancelled }
        if let bytes, bytes.count > desk.requestBytesMax { throw APIError(ServerError.requestTooLarge) }
        return bytes
    }

    func send(_ answer: [UInt8], _ call: GRPCCall) async throws(APIError) {
        do throws(CancellationError) { try await call.send(answer) } catch { throw APIError.cancelled }
    }

    func send(_ answers: GRPCMessages, _ call: GRPCCall) async throws(APIError) {
        if answers.count == 0 { return }
        do throws(CancellationError) { try await call.send(answers) } catch { throw APIError.cancelled }
    }
}

extension GRPCCall {
    /// The client wants no answer from a member without a leader.
    var requiresLeader: Bool { headers.first(name: "hasleader") == "true" }
}

extension GRPCStatus {
    init(_ error: APIError) { self.init(code: error.code.rawValue, message: error.message) }
}
