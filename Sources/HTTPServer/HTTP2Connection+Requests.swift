internal import Bytes
internal import HTTP2
internal import NIOCore
internal import NIOHTTP1
internal import Sockets

/// What nghttp2 tells of the frames that came in.
extension HTTP2Connection {
    func open(_ id: Int32) {
        let stream = HTTP2Stream(id: id, connection: self)
        if streams.isEmpty { guest.setIdle(false) }
        streams[id] = stream
        opening = stream
        stream.deadline = .now() + limits.headerTimeout
        wake(at: .now() + limits.headerTimeout)
    }

    func take(header name: String, _ value: String, _ id: Int32) {
        guard let stream = opening, stream.id == id else { return }
        stream.headerBytes += name.utf8.count + value.utf8.count + 4
        if stream.headerBytes > limits.headerBytesMax { return }
        switch name {
        case ":method": stream.method = value
        case ":path": stream.path = value
        case ":authority": stream.authority = value
        case ":scheme": break
        case "content-type":
            stream.contentType = value
            stream.headers.add(name: name, value: value)
        case "grpc-timeout": stream.timeout = value
        case "grpc-encoding": stream.encoding = value
        default: stream.headers.add(name: name, value: value)
        }
    }

    func takeHead(_ id: Int32) {
        guard let stream = opening, stream.id == id else { return }
        opening = nil
        stream.deadline = nil
        inboundBytes += stream.headerBytes
        stream.headerBytesHeld = stream.headerBytes
        if limits.budget.isUsed(share: 1), stream.headerBytes > 1024 {
            session?.reset(stream: id, .refusedStream)
            return
        }
        if tasksRunning >= limits.streamsMax {
            session?.reset(stream: id, .refusedStream)
            return
        }
        guard !stream.method.isEmpty, stream.path.hasPrefix("/") || stream.path == "*" else {
            session?.reset(stream: id, .protocolError)
            return
        }
        stream.isGRPC = GRPCWire.isGRPC(contentType: stream.contentType)
        if let authority = stream.authority, !stream.headers.contains(name: "host") {
            stream.headers.add(name: "host", value: authority)
        }
        if stream.isGRPC { begin(call: stream) } else { begin(request: stream) }
        if outboundBytes > limits.connectionBytesMax, !stream.isOver { refuseForMemory(stream) }
    }

    /// - Parameter isLastFrame: the client's last DATA frame; more of it may come.
    func take(_ data: UnsafeRawBufferPointer, _ id: Int32, isLastFrame: Bool) {
        session?.consumeConnection(data.count)
        guard let stream = streams[id] else { return }
        stream.windowHeld += data.count
        // What comes after the answer is dropped, and with the window kept not much comes.
        if stream.isOver { return }
        switch stream.kind {
        case .none: return
        case .grpc(var inbox):
            stream.kind = .none  // Gives up the array, so that it is extended in place.
            inbox.append(data)
            stream.kind = .grpc(inbox)
            inboundBytes += data.count
            receivedMessages(stream, isLastFrame: isLastFrame)
        case .plain(var body):
            stream.kind = .none
            body.append(contentsOf: data)
            let count = body.count
            stream.kind = .plain(body)
            inboundBytes += data.count
            receivedBody(stream, count: count)
        }
        let isTooMuch =
            inboundBytes > limits.connectionBytesMax
            || inboundBytes > limits.streamWindow && limits.budget.isUsed(share: MemoryBudget.requestShare)
        if isTooMuch, !stream.isOver { refuseForMemory(stream) }
    }

    func takeEnd(_ id: Int32) {
        guard let stream = streams[id] else { return }
        stream.isReceived = true
        if stream.isOver { return }
        if case .plain(let body) = stream.kind {
            respond(stream, body)
        } else if stream.awaitsRequest {
            answerWithoutTask(stream)
        } else {
            stream.changed.fire()
        }
    }

    func close(_ id: Int32, isError: Bool) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        if streams.isEmpty { guest.setIdle(true) }
        if opening === stream { opening = nil }
        let wasAnswered = stream.ending != nil
        forget(stream)
        if isError, !wasAnswered, !resets.spend(at: .now()) { showOut() }
    }

    /// Ends what is still under way for a stream that is no more.
    func forget(_ stream: HTTP2Stream) {
        stream.isClosed = true
        dropInbound(stream)
        inboundBytes -= stream.headerBytesHeld
        stream.headerBytesHeld = 0
        outboundBytes -= stream.outbox.count
        stream.outbox.removeAll()
        stream.task?.cancel()
        stream.task = nil
        stream.changed.fire()
        wakeWaitingForRoom()
    }

    func dropInbound(_ stream: HTTP2Stream) {
        inboundBytes -= stream.inboundCount
        stream.kind = .none
    }

    private func refuseForMemory(_ stream: HTTP2Stream) {
        let reason = "too many bytes wait on this connection"
        if case .grpc = stream.kind {
            fail(stream, GRPCStatus(code: 8, message: reason))
        } else {
            refuse(stream, .tooManyRequests, reason)
        }
    }
}

// MARK: - gRPC

extension HTTP2Connection {
    private func begin(call stream: HTTP2Stream) {
        if stream.headerBytes > limits.headerBytesMax {
            let reason = "headers of over \(limits.headerBytesMax) bytes"
            return fail(stream, GRPCStatus(code: 8, message: reason))
        }
        guard stream.method == "POST" else {
            let reason = "Received a HEADERS frame with :method \"\(stream.method)\" which should be POST"
            return fail(stream, GRPCStatus(code: 13, message: reason), httpStatus: 405)
        }
        // No page speaks gRPC, and none is let in by pretending to.
        if case .refused(_, let reason) = limits.callers.verdict(on: .POST, stream.headers, isGRPC: true) {
            return fail(stream, GRPCStatus(code: 7, message: reason), httpStatus: 403)
        }
        if let text = stream.timeout {
            guard let timeout = GRPCWire.timeout(text) else {
                let reason = "malformed grpc-timeout: \"\(text)\""
                return fail(stream, GRPCStatus(code: 13, message: reason), httpStatus: 400)
            }
            stream.deadline = .now() + timeout
        }
        do {
            stream.kind = .grpc(try GRPCInbox(encoding: stream.encoding, messageBytesMax: limits.bodyBytesMax))
        } catch {
            return fail(stream, error)
        }
        if let deadline = stream.deadline { wake(at: deadline) }
        // What headers ask for is the task's to see to.
        if let unary, unary.takes(stream.path), !stream.headers.contains(name: "hasleader") {
            stream.awaitsRequest = true
        } else {
            startTask(stream)
        }
    }

    private func startTask(_ stream: HTTP2Stream) {
        stream.awaitsRequest = false
        let call = GRPCCall(path: stream.path, headers: stream.headers, deadline: stream.deadline, stream: stream)
        let service = service
        tasksRunning += 1
        stream.task = Task(executorPreference: executor) {
            let status = await service.respond(to: call)
            self.tasksRunning -= 1
            stream.task = nil
            self.finish(stream, .trailers(status))
        }
    }

    /// A request that is here whole is offered to who answers without a task.
    private func answerWithoutTask(_ stream: HTTP2Stream) {
        stream.awaitsRequest = false
        let message = nextMessage(stream)
        if stream.isOver { return }
        guard let message, let unary else { return startTask(stream) }
        let call = UnaryCall(path: stream.path, message: message, stream: stream, turn: turn)
        tasksRunning += 1
        if unary.answer(call) { return }
        tasksRunning -= 1
        stream.returned = message
        startTask(stream)
    }

    /// What became of a call that was answered without a task.
    func reply(_ stream: HTTP2Stream, _ message: [UInt8]?, _ status: GRPCStatus) {
        tasksRunning -= 1
        if stream.isOver { return }
        if let message { send(stream, message: message) }
        finish(stream, .trailers(status))
    }

    private func receivedMessages(_ stream: HTTP2Stream, isLastFrame: Bool) {
        guard case .grpc(let inbox) = stream.kind else { return }
        do {
            guard try inbox.hasMessage() else { return giveBack(stream, stream.windowHeld) }
            if !stream.awaitsRequest {
                stream.changed.fire()
            } else if !isLastFrame {
                // Who sends a request and leaves the stream open may mean to send more.
                startTask(stream)
            }
        } catch {
            fail(stream, error)
        }
    }

    /// Takes a message that has come whole. When there can be none, the call fails.
    func nextMessage(_ stream: HTTP2Stream) -> [UInt8]? {
        guard case .grpc(var inbox) = stream.kind else { return nil }
        stream.kind = .none
        let before = inbox.count
        let result = Result { () throws(GRPCStatus) in
            let message = try inbox.next()
            if message == nil, stream.isReceived, before > 0 { throw GRPCStatus(code: 13, message: "unexpected EOF") }
            return (message, hasMore: message == nil ? false : try inbox.hasMessage())
        }
        stream.kind = .grpc(inbox)
        let used = before - inbox.count
        inboundBytes -= used
        switch result {
        case .success((let message, let hasMore)):
            if message != nil { giveBack(stream, hasMore ? used : stream.windowHeld) }
            return message
        case .failure(let status):
            fail(stream, status)
            return nil
        }
    }

    /// Lets the client send so many more bytes on the stream.
    private func giveBack(_ stream: HTTP2Stream, _ count: Int) {
        let count = min(count, stream.windowHeld)
        guard count > 0 else { return }
        stream.windowHeld -= count
        if stream.isReceived { return }
        session?.consume(count, stream: stream.id)
        scheduleFlush()
    }
}

// MARK: - Other requests

extension HTTP2Connection {
    private func begin(request stream: HTTP2Stream) {
        stream.kind = .plain([])
        if stream.headerBytes > limits.headerBytesMax {
            return refuse(
                stream, .requestHeaderFieldsTooLarge, "headers of over \(limits.headerBytesMax) bytes")
        }
        let announced = stream.headers.first(name: "content-length").flatMap(Int.init) ?? 0
        if announced > limits.bodyBytesMax { return refuseBody(stream) }
        stream.bodySince = .now()
        stream.deadline = stream.bodySince + limits.headerTimeout
        wake(at: stream.bodySince + limits.headerTimeout)
    }

    private func receivedBody(_ stream: HTTP2Stream, count: Int) {
        if count > limits.bodyBytesMax { return refuseBody(stream) }
        giveBack(stream, stream.windowHeld)
        let seconds = Int64(count / limits.bytesPerSecondMin)
        stream.deadline = stream.bodySince + limits.headerTimeout + .seconds(seconds)
    }

    private func refuseBody(_ stream: HTTP2Stream) {
        refuse(stream, .payloadTooLarge, "a body of over \(limits.bodyBytesMax) bytes")
    }

    private func respond(_ stream: HTTP2Stream, _ body: [UInt8]) {
        dropInbound(stream)
        stream.deadline = nil
        let method = HTTPMethod(rawValue: stream.method)
        switch limits.callers.verdict(on: method, stream.headers) {
        case .taken(let origin): stream.origin = origin
        case .refused(let status, let reason): return refuse(stream, status, reason)
        case .answered(let response): return answer(stream, response, isHead: false)
        }
        let request = HTTPRequest(
            method: method, target: stream.path, headers: stream.headers, body: body, client: client)
        let service = service
        tasksRunning += 1
        stream.task = Task(executorPreference: executor) {
            let response = await service.respond(to: request)
            if method == .HEAD || response.stream == nil {
                self.answer(stream, response, isHead: method == .HEAD)
            } else if let write = response.stream {
                self.beginAnswer(stream, response)
                await write(HTTP2BodyWriter(stream: stream))
                self.finish(stream, .body)
            }
            self.tasksRunning -= 1
            stream.task = nil
        }
    }
}
