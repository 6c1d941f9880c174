internal import Bytes
internal import HTTP2
internal import NIOCore
internal import Sockets

/// One HTTP/2 connection: carries bytes between the channel and nghttp2, and keeps the streams' answers, windows and
/// deadlines. What comes in is in `HTTP2Connection+Requests`, what goes out in `HTTP2Connection+Answers`.
final class HTTP2Connection: HTTP2Events, ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = Never
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    let service: any HTTPService
    let limits: HTTPLimits
    let loop: any EventLoop
    let turn: LoopTurn
    let unary: (any UnaryService)?
    let guest: Doorman.Guest
    let client: HTTPClientIdentity
    var executor: EventLoopExecutor { turn.executor }

    // All below only on the loop.
    private(set) var session: HTTP2Session?
    private var context: ChannelHandlerContext?
    private var isFlushDue = false
    /// The client takes too little to be read from.
    private var isReadHeld = false
    private var isClosing = false
    private var isShownOut = false
    /// Of PING and SETTINGS, at most.
    var acknowledgementsDue = 0
    private static let acknowledgementsMax = 500

    var streams: [Int32: HTTP2Stream] = [:]
    private var texts = HeaderTexts()
    /// The stream whose head is being read.
    var opening: HTTP2Stream?
    /// Tasks of the service, of streams that are open or not.
    var tasksRunning = 0
    var inboundBytes = 0 { didSet { limits.budget.note(inboundBytes - oldValue) } }
    var outboundBytes = 0 { didSet { limits.budget.note(outboundBytes - oldValue) } }
    /// What the client took since it was looked at last.
    private var bytesSent = 0
    private var nextStallLook = NIODeadline.now() + stallTime
    static let stallTime = TimeAmount.seconds(10)
    /// Some stream waits for room although its own outbox has some.
    var isOutboundFull = false
    var resets: HTTP2ResetAllowance
    var watch: HTTP2Watch
    private var timer: Scheduled<Void>?
    private var timerDue = NIODeadline.distantFuture

    init(
        service: any HTTPService, unary: (any UnaryService)?, limits: HTTPLimits, loop: any EventLoop, turn: LoopTurn,
        guest: Doorman.Guest, client: HTTPClientIdentity
    ) {
        self.guest = guest
        self.client = client
        self.service = service
        self.unary = unary
        self.limits = limits
        self.loop = loop
        self.turn = turn
        resets = HTTP2ResetAllowance(limits, now: .now())
        watch = HTTP2Watch(limits, now: .now())
        super.init()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let grants = HTTP2Session.Grants(
            streamsMax: limits.streamsMax, headerBytesMax: limits.headerBytesMax, resetsMax: limits.resetsMax,
            resetsPerSecond: limits.resetsPerSecond)
        session = HTTP2Session(
            server: self, grants, streamWindow: limits.streamWindow, connectionWindow: limits.connectionWindow)
        if session == nil { return context.close(promise: nil) }
        flush()
        wake(at: watch.nextLook)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The connection is lost: every call learns of it.
    private func end() {
        isClosing = true
        timer?.cancel()
        timer = nil
        let open = streams
        streams = [:]
        opening = nil
        for stream in open.values { forget(stream) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - What nghttp2 tells

    override func opened(stream id: Int32) { open(id) }

    override func received(
        header name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>, stream id: Int32, isRequest: Bool
    ) {
        if isRequest { take(header: texts.text(name), texts.text(value), id) }
    }

    override func receivedHead(stream id: Int32) { takeHead(id) }

    override func received(data: UnsafeRawBufferPointer, stream id: Int32, isLastFrame: Bool) {
        take(data, id, isLastFrame: isLastFrame)
    }

    override func receivedAll(stream id: Int32) { takeEnd(id) }

    override func receivedControl() {
        watch.heardSettings()
        acknowledgementsDue += 1
    }

    override func answered(stream id: Int32) { noteAnswered(id) }
    override func closed(stream id: Int32, code: UInt32) { close(id, isError: code != HTTP2Code.noError.rawValue) }

    override func supply(stream id: Int32, into target: UnsafeMutableRawBufferPointer) -> HTTP2Supply {
        fill(target, id)
    }

    // MARK: - Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing, let session else { return }
        watch.heard(at: .now())
        var buffer = Self.unwrapInboundIn(data)
        while !isClosing, let piece = buffer.readSlice(length: min(buffer.readableBytes, HTTP2Session.pieceBytesMax)),
            piece.readableBytes > 0
        {
            if !piece.withUnsafeReadableBytes(session.receive) { return fail() }
            if acknowledgementsDue >= Self.acknowledgementsMax { flush() }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush()
    }

    /// Reads no further while the client does not take what it asked for.
    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable { context.read() } else { isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable else { return }
        flush()
        if isReadHeld, context.channel.isWritable {
            isReadHeld = false
            context.read()
        }
    }

    // MARK: - Writing

    /// Has what was submitted sent after all that is due on the loop now, in one write.
    func scheduleFlush() {
        if isFlushDue { return }
        isFlushDue = true
        loop.execute { self.flush() }
    }

    private func flush() {
        isFlushDue = false
        acknowledgementsDue = 0
        guard !isClosing, let context, let session else { return }
        var hasWritten = false
        while context.channel.isWritable, session.wantsWrite {
            var buffer = context.channel.allocator.buffer(capacity: 8 << 10)
            guard session.drain(into: &buffer, bytesMax: 64 << 10) else { return fail() }
            if buffer.readableBytes == 0 { break }
            bytesSent += buffer.readableBytes
            context.write(Self.wrapOutboundOut(buffer), promise: nil)
            hasWritten = true
        }
        if hasWritten { context.flush() }
        watch.isWritable(context.channel.isWritable, at: .now())
        if !context.channel.isWritable { wake(at: watch.nextLook) }
        if !session.wantsRead, !session.wantsWrite { closeWhenSent() }
    }

    private func closeWhenSent() {
        guard !isClosing, let context else { return }
        isClosing = true
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(channel.allocator.buffer(capacity: 0)))
            .whenComplete { _ in channel.close(promise: nil) }
        let patience = loop.scheduleTask(in: limits.headerTimeout) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in patience.cancel() }
    }

    /// The connection cannot go on; what nghttp2 has to say about it is sent.
    private func fail() {
        guard !isClosing, let context, let session else { return }
        var buffer = context.channel.allocator.buffer(capacity: 1 << 10)
        _ = session.drain(into: &buffer, bytesMax: 64 << 10)
        context.write(Self.wrapOutboundOut(buffer), promise: nil)
        closeWhenSent()
    }

    /// A client that opens streams only to reset them is shown out.
    func showOut() {
        if isShownOut { return }
        isShownOut = true
        session?.goAway(.enhanceYourCalm)
        loop.execute { self.fail() }
    }

    // MARK: - Shutting down

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is HTTPShutDown else { return context.fireUserInboundEventTriggered(event) }
        session?.goAway(.noError)
        flush()
    }

    // MARK: - Time

    /// Has `look` called at this time or soon after.
    func wake(at due: NIODeadline) {
        guard !isClosing, due < timerDue else { return }
        timer?.cancel()
        // Streams are looked at all together, so not too often.
        let due = max(due, .now() + .milliseconds(5))
        timerDue = due
        timer = loop.scheduleTask(deadline: due) { [weak self] in self?.look() }
    }

    /// Much waits to be sent that the client does not take, while memory is scarce: others need it.
    private func isStalled(at now: NIODeadline) -> Bool {
        guard outboundBytes > 0 else { return false }
        wake(at: now + Self.stallTime)
        guard now >= nextStallLook else { return false }
        nextStallLook = now + Self.stallTime
        defer { bytesSent = 0 }
        return bytesSent < limits.bytesPerSecondMin && limits.budget.isUsed(share: MemoryBudget.requestShare)
    }

    private func look() {
        timerDue = .distantFuture
        let now = NIODeadline.now()
        wakeWaitingForRoom()
        let late = streams.values.filter { $0.deadline.map { $0 <= now } ?? false }
        for stream in late { expire(stream) }
        switch watch.look(at: now, hasStreams: !streams.isEmpty) {
        case .nothing: break
        case .ping: session?.ping()
        case .goAway:
            session?.goAway(.noError)
        case .close:
            context?.close(promise: nil)
            return
        }
        if isStalled(at: now) {
            context?.close(promise: nil)
            return
        }
        flush()
        let next = streams.values.lazy.compactMap(\.deadline).min() ?? .distantFuture
        wake(at: min(next, watch.nextLook))
    }
}

/// Told to every connection when the listener shuts down.
struct HTTPShutDown {}
