internal import Bytes
internal import NIOCore
internal import NIOHTTP1
internal import Sockets

/// One HTTP/1.1 connection: gathers a request within the limits, has it answered, writes the answer. Requests that a
/// client sends ahead wait their turn.
final class ConnectionHandler: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = Never
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Waiting for a request, or for the rest of its head.
        case idle
        case body(HTTPRequestHead, [UInt8], since: NIODeadline)
        /// The service has it.
        case answering(keepAlive: Bool)
        /// Refused; whatever else comes is dropped until the connection is closed.
        case closing
    }

    // All only on the connection's event loop.
    private let service: any HTTPService
    private let limits: HTTPLimits
    private let turn: LoopTurn
    private let unary: (any UnaryService)?
    private let guest: Doorman.Guest
    private let client: HTTPClientIdentity
    var executor: EventLoopExecutor { turn.executor }
    private var state = State.idle
    /// Parts of the next requests that came along with the one being answered.
    private var ahead: [HTTPServerRequestPart] = []
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?
    /// The service's, while it answers.
    private var task: Task<Void, Never>?
    private var isShuttingDown = false
    private var isHeadBegun = false
    private var memoryTaken = 0
    /// Of another page, which may read the answer.
    private var origin: String?
    let loop: any EventLoop
    /// Fires when a streamed answer has room again, and when the client is gone.
    let changed: LoopSignal

    init(
        service: any HTTPService, limits: HTTPLimits, loop: any EventLoop, on pair: LoopTurns.Pair,
        _ guest: Doorman.Guest, _ client: HTTPClientIdentity
    ) {
        self.guest = guest
        self.client = client
        self.service = service
        self.limits = limits
        self.loop = loop
        (turn, unary) = pair
        changed = LoopSignal(loop)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        expect(within: limits.headerTimeout, "the request's head did not come in time")
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The client is gone.
    private func end() {
        timer?.cancel()
        state = .closing
        giveMemory()
        task?.cancel()
        task = nil
        changed.fire()
    }

    private func expect(within time: TimeAmount, _ complaint: String?) {
        timer?.cancel()
        timer = context?.eventLoop.scheduleTask(in: time) { [weak self] in
            if let complaint { self?.refuse(.requestTimeout, complaint) } else { self?.context?.close(promise: nil) }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = Self.unwrapInboundIn(data)
        if case .answering = state { ahead.append(part) } else { receive(part) }
    }

    private func receive(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(let buffer): add(buffer)
        case .end: finish()
        }
    }

    /// Something came. The first of it is the beginning of a head, which has to come whole in time, on a kept connection, too.
    func noteBytes() {
        guard case .idle = state, !isHeadBegun else { return }
        isHeadBegun = true
        expect(within: limits.headerTimeout, "the request's head did not come in time")
    }

    private func begin(_ head: HTTPRequestHead) {
        guard case .idle = state else { return }
        isHeadBegun = false
        let headerBytes = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        if headerBytes > limits.headerBytesMax {
            return refuse(.requestHeaderFieldsTooLarge, "headers of over \(limits.headerBytesMax) bytes")
        }
        if let fault = headFault(head) { return refuse(.badRequest, fault) }
        let announced = head.headers.first(name: "content-length").flatMap(Int.init) ?? 0
        if announced > limits.bodyBytesMax { return refuseBody() }
        if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
            context?.writeAndFlush(
                Self.wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))), promise: nil)
        }
        state = .body(head, [], since: .now())
        guest.setIdle(false)
        expect(within: limits.headerTimeout, "the request's body did not come in time")
    }

    private func refuseBody() {
        refuse(.payloadTooLarge, "a body of over \(limits.bodyBytesMax) bytes")
    }

    private func add(_ buffer: ByteBuffer) {
        guard case .body(let head, var body, let since) = state else { return }
        state = .idle  // Gives up the array, so that it is extended in place.
        guard body.count + buffer.readableBytes <= limits.bodyBytesMax else {
            state = .body(head, [], since: since)
            return refuseBody()
        }
        guard takeMemory(buffer.readableBytes) else {
            state = .body(head, [], since: since)
            return refuse(.tooManyRequests, "requests take all the memory that they may (--memory-budget)")
        }
        body.append(contentsOf: buffer.readableBytesView)
        let seconds = Int64(body.count / limits.bytesPerSecondMin)
        let deadline = since + limits.headerTimeout + .seconds(seconds)
        state = .body(head, body, since: since)
        expect(within: max(deadline - .now(), .milliseconds(1)), "the request's body came too slowly")
    }

    /// Counts what is held of requests and answers on this connection. A small request is never refused for what others hold.
    private func takeMemory(_ bytes: Int) -> Bool {
        if memoryTaken + bytes <= MemoryBudget.smallBytes {
            limits.budget.note(bytes)
        } else {
            guard limits.budget.take(bytes, share: MemoryBudget.requestShare) else { return false }
        }
        memoryTaken += bytes
        return true
    }

    private func giveMemory() {
        limits.budget.give(memoryTaken)
        memoryTaken = 0
    }

    private func finish() {
        guard case .body(let head, let body, _) = state else { return }
        timer?.cancel()
        // Whoever asks to upgrade is answered in HTTP/1.1; the decoder reads nothing after such a request.
        let wantsUpgrade = head.headers.contains(name: "upgrade") || head.method == .CONNECT
        state = .answering(keepAlive: head.isKeepAlive && !wantsUpgrade && !isShuttingDown)
        let request = HTTPRequest(
            method: head.method, target: head.uri, headers: head.headers, body: body, client: client)
        origin = nil
        switch limits.callers.verdict(on: head.method, head.headers) {
        case .taken(let page): origin = page
        case .refused(let status, let reason): return write(service.refusal(status, reason), isHead: false)
        case .answered(let response): return write(response, isHead: false)
        }
        let bound = NIOLoopBound(self, eventLoop: loop)
        if let unary {
            let turn = turn
            let isTaken = unary.answer(request) { make in
                turn.post { bound.value.write(make(), isHead: false) }
            }
            if isTaken { return }
        }
        let service = service
        let isHead = head.method == .HEAD
        let version = head.version
        task = Task(executorPreference: executor) {
            let response = await service.respond(to: request)
            guard let write = response.stream, !isHead else { return bound.value.write(response, isHead: isHead) }
            bound.value.beginAnswer(response, version)
            await write(HTTP1BodyWriter(connection: self))
            bound.value.endAnswer()
        }
    }

    private func write(_ response: HTTPResponse, isHead: Bool) {
        guard case .answering(let keepAlive) = state else { return }
        send(response, keepAlive: keepAlive, isHead: isHead)
    }

    // MARK: - Streamed answers

    /// Over HTTP/1.0, which knows no chunks, the connection's end is the answer's.
    private func beginAnswer(_ response: HTTPResponse, _ version: HTTPVersion) {
        guard case .answering(var keepAlive) = state, let context else { return }
        var head = HTTPResponseHead(version: version, status: response.status, headers: response.headers)
        permit(&head)
        head.headers.remove(name: "content-length")
        if version.major == 1, version.minor >= 1 {
            head.headers.replaceOrAdd(name: "transfer-encoding", value: "chunked")
        } else {
            keepAlive = false
            state = .answering(keepAlive: false)
        }
        if !keepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
        context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
    }

    /// Writes one chunk of a streamed answer, when the client has taken enough of what was written before.
    func write(_ bytes: [UInt8]) async throws(CancellationError) {
        writeChunk(bytes, try await room())
    }

    /// Where there is room for more.
    func room() async throws(CancellationError) -> ChannelHandlerContext {
        loop.preconditionInEventLoop()
        while true {
            guard case .answering = state, let context, !Task.isCancelled else { throw CancellationError() }
            if context.channel.isWritable { return context }
            await changed.wait()
        }
    }

    private func writeChunk(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        // An empty chunk would be the last.
        if bytes.isEmpty { return }
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        if context.channel.isWritable { return }
        expect(within: limits.headerTimeout + .seconds(Int64(bytes.count / limits.bytesPerSecondMin)), nil)
    }

    private func endAnswer() {
        guard case .answering(let keepAlive) = state else { return }
        expect(within: limits.headerTimeout, nil)
        writeEnd(keepAlive: keepAlive)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, task != nil {
            timer?.cancel()
            changed.fire()
        }
        context.fireChannelWritabilityChanged()
    }

    /// Closes when idle, otherwise after the answer.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is HTTPShutDown else { return context.fireUserInboundEventTriggered(event) }
        isShuttingDown = true
        switch state {
        case .idle: context.close(promise: nil)
        case .answering: state = .answering(keepAlive: false)
        case .body, .closing: break
        }
    }

    /// The answer has left: the next request may be here already, in part or whole.
    private func answered() {
        guard case .answering = state else { return }
        if isShuttingDown {
            context?.close(promise: nil)
            return
        }
        task = nil
        state = .idle
        giveMemory()
        guest.setIdle(true)
        expect(within: limits.idleTimeout, nil)
        let waiting = ahead
        ahead = []
        for part in waiting {
            if case .answering = state { ahead.append(part) } else { receive(part) }
        }
        if case .answering = state { return }
        context?.read()
    }

    /// Answers without asking the service, and closes: what follows on the connection cannot be trusted.
    private func refuse(_ status: HTTPResponseStatus, _ reason: String) {
        timer?.cancel()
        if case .closing = state { return }
        // With a request under way there is nobody to tell.
        if case .answering = state { return }
        state = .closing
        send(service.refusal(status, reason), keepAlive: false, isHead: false)
    }

    private func send(_ response: HTTPResponse, keepAlive: Bool, isHead: Bool) {
        guard let context else { return }
        var head = HTTPResponseHead(version: .http1_1, status: response.status, headers: response.headers)
        permit(&head)
        if response.status != .notModified, response.status != .noContent {
            head.headers.replaceOrAdd(name: "content-length", value: String(response.body.count))
        }
        if !keepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if !response.body.isEmpty, !isHead {
            limits.budget.note(response.body.count)
            memoryTaken += response.body.count
            let buffer = context.channel.allocator.buffer(bytes: response.body)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        // A client that takes nothing is not waited for longer than the least rate allows.
        let patience = limits.headerTimeout + .seconds(Int64(response.body.count / limits.bytesPerSecondMin))
        expect(within: patience, nil)
        writeEnd(keepAlive: keepAlive)
    }

    private func permit(_ head: inout HTTPResponseHead) {
        guard let origin else { return }
        head.headers.add(contentsOf: CallerRules.permission(for: origin, isAnswer: true))
    }

    private func writeEnd(keepAlive: Bool) {
        guard let context else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { result in
            if keepAlive, case .success = result { bound.value.answered() } else { channel.close(promise: nil) }
        }
    }

    /// Reads no further while a request is being answered: a client that sends ahead waits in its own buffers.
    func read(context: ChannelHandlerContext) {
        if case .answering = state { return }
        context.read()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError { return refuse(.badRequest, "not an HTTP/1.1 request: \(error)") }
        context.close(promise: nil)
    }
}
