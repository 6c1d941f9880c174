internal import Bytes
internal import HTTP2
internal import NIOCore
internal import NIOHTTP1

/// What the service answers, and how it reaches nghttp2.
extension HTTP2Connection {
    /// What a stream has for its next DATA frame.
    func fill(_ target: UnsafeMutableRawBufferPointer, _ id: Int32) -> HTTP2Supply {
        guard let stream = streams[id] else { return .last(0) }
        let count = stream.outbox.take(into: target)
        outboundBytes -= count
        if stream.outbox.count <= limits.streamBytesMax / 2 {
            wake(waitingForRoom: stream)
            wakeWaitingForRoom()
        }
        if stream.outbox.isEmpty, let ending = stream.ending {
            switch ending {
            case .body: return .last(count)
            case .trailers(let status):
                session?.endGRPC(stream: id, status)
                return .beforeTrailers(count)
            }
        }
        if count > 0 { return .some(count) }
        stream.isStarved = true
        return .later
    }

    /// Whether a writer need not wait: a stream's outbox has a bound, and so have all of the connection together.
    /// - Parameter isForMuch: with twice as much a client that takes nothing would cost others twice as much.
    func hasRoom(_ stream: HTTP2Stream, isForMuch: Bool = false) -> Bool {
        if stream.outbox.count >= (isForMuch ? limits.streamBytesMax / 2 : limits.streamBytesMax) {
            wake(at: .now() + Self.stallTime)
            return false
        }
        let isScarce = limits.budget.isUsed(share: MemoryBudget.answerShare) && outboundBytes > 0
        if stream.outbox.isEmpty && !isScarce || outboundBytes < limits.connectionBytesMax && !isScarce { return true }
        isOutboundFull = true
        wake(at: .now() + (isScarce ? .milliseconds(100) : Self.stallTime))
        return false
    }

    func wakeWaitingForRoom() {
        // Not at the first free byte: all are woken.
        guard isOutboundFull, outboundBytes < limits.connectionBytesMax / 4 * 3 else { return }
        isOutboundFull = false
        for stream in streams.values { wake(waitingForRoom: stream) }
    }

    private func wake(waitingForRoom stream: HTTP2Stream) {
        guard stream.isRoomAwaited else { return }
        stream.isRoomAwaited = false
        stream.changed.fire()
    }

    func send(_ stream: HTTP2Stream, message: [UInt8]) {
        let before = stream.outbox.count
        stream.outbox.append(message: message)
        outboundBytes += stream.outbox.count - before
        sendHead(stream)
        offer(stream)
    }

    func send(_ stream: HTTP2Stream, _ messages: GRPCMessages) {
        stream.outbox.append(messages.bytes)
        outboundBytes += messages.count
        sendHead(stream)
        offer(stream)
    }

    private func sendHead(_ stream: HTTP2Stream) {
        if stream.isHeadSent { return }
        stream.isHeadSent = true
        session?.respondGRPC(stream: stream.id)
    }

    func write(_ stream: HTTP2Stream, _ bytes: [UInt8]) {
        stream.outbox.append(bytes)
        outboundBytes += bytes.count
        offer(stream)
    }

    /// Tells nghttp2 that a stream has something again.
    private func offer(_ stream: HTTP2Stream) {
        if stream.isStarved {
            stream.isStarved = false
            session?.resume(stream: stream.id)
        }
        scheduleFlush()
    }

    /// The answer is complete; the client has to take what is left of it in reasonable time.
    func finish(_ stream: HTTP2Stream, _ ending: HTTP2Stream.Ending, httpStatus: Int = 200) {
        if stream.isOver { return }
        stream.ending = ending
        dropInbound(stream)
        if case .trailers(let status) = ending, !stream.isHeadSent {
            stream.isHeadSent = true
            session?.refuseGRPC(stream: stream.id, httpStatus: httpStatus, status)
        }
        stream.deadline =
            stream.outbox.isEmpty
            ? nil : .now() + limits.headerTimeout + .seconds(Int64(stream.outbox.count / limits.bytesPerSecondMin))
        if let deadline = stream.deadline { wake(at: deadline) }
        offer(stream)
    }

    /// Ends a call whatever its task does.
    func fail(_ stream: HTTP2Stream, _ status: GRPCStatus, httpStatus: Int = 200) {
        if stream.isOver { return }
        finish(stream, .trailers(status), httpStatus: httpStatus)
        stream.task?.cancel()
        stream.changed.fire()
    }

    /// The answer's end has gone out. A client that still sends is told to stop: of gRPC at once, others after a while,
    /// because some (curl 7.88) take that for a failure and drop the answer.
    func noteAnswered(_ id: Int32) {
        guard let stream = streams[id], !stream.isReceived else { return }
        if stream.isGRPC {
            session?.reset(stream: id, .noError)
            return
        }
        stream.deadline = .now() + limits.headerTimeout
        wake(at: .now() + limits.headerTimeout)
    }

    /// Patience with the stream has ended.
    func expire(_ stream: HTTP2Stream) {
        stream.deadline = nil
        // Until the head is whole nothing else can come on the connection.
        if opening === stream { return showOut() }
        if stream.ending != nil {
            session?.reset(stream: stream.id, stream.outbox.isEmpty ? .noError : .cancel)
        } else if case .plain = stream.kind {
            refuse(stream, .requestTimeout, "the request's body did not come in time")
        } else {
            fail(stream, GRPCStatus(code: 4, message: "context deadline exceeded"))
        }
    }

    // MARK: - Answers other than gRPC's

    func refuse(_ stream: HTTP2Stream, _ status: HTTPResponseStatus, _ reason: String) {
        answer(stream, service.refusal(status, reason), isHead: false)
    }

    func answer(_ stream: HTTP2Stream, _ response: HTTPResponse, isHead: Bool) {
        if stream.isOver { return }
        var fields = Self.fields(response, for: stream.origin)
        if response.stream == nil, response.status != .notModified, response.status != .noContent {
            fields.append(("content-length", String(response.body.count)))
        }
        let hasBody = !response.body.isEmpty && !isHead
        stream.isHeadSent = true
        session?.respond(stream: stream.id, fields: fields, hasBody: hasBody)
        if hasBody { write(stream, response.body) }
        finish(stream, .body)
    }

    func beginAnswer(_ stream: HTTP2Stream, _ response: HTTPResponse) {
        if stream.isOver { return }
        stream.isHeadSent = true
        session?.respond(stream: stream.id, fields: Self.fields(response, for: stream.origin), hasBody: true)
        scheduleFlush()
    }

    /// Names in lower case, and without what speaks of an HTTP/1.1 connection (RFC 9113, section 8.2.2).
    private static func fields(_ response: HTTPResponse, for origin: String?) -> [(String, String)] {
        var fields = [(":status", String(response.status.code))]
        var headers = response.headers
        if let origin { headers.add(contentsOf: CallerRules.permission(for: origin, isAnswer: true)) }
        for (name, value) in headers {
            let name = name.lowercased()
            if connectionHeaders.contains(name) { continue }
            fields.append((name, value))
        }
        return fields
    }

    private static let connectionHeaders: Set<String> = [
        "connection", "content-length", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
    ]
}
