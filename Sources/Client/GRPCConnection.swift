package import NIOCore
internal import NIOPosix
internal import Sockets
package import TLS

/// A connection that carries gRPC calls, as many at once as the server takes. Only on its event loop.
///
/// Calls are made and answered by closures, so that a load tool costs the machine little beside what it measures.
package final class GRPCConnection: ChannelInboundHandler, @unchecked Sendable {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private static let writeBytesMax = 256 << 10

    private let session: GRPCSession
    private let loop: any EventLoop
    private var context: ChannelHandlerContext?
    private var isFlushDue = false
    private var isReading = false

    private init(session: GRPCSession, loop: any EventLoop) {
        self.session = session
        self.loop = loop
    }

    /// Connects.
    package static func connect(
        to endpoint: Endpoint, _ tls: TLSContext? = nil, on loop: any EventLoop
    ) -> EventLoopFuture<GRPCConnection> {
        guard let session = GRPCSession(authority: endpoint.authority, isSecure: endpoint.isSecure) else {
            return loop.makeFailedFuture(GRPCFailure(code: 8, message: "no memory for a connection"))
        }
        let connection = GRPCConnection(session: session, loop: loop)
        let bootstrap = ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 16384, maximum: 1 << 18)
            )
        return Dialer().connect(
            bootstrap, to: endpoint, timeout: .seconds(3), on: loop
        ) { channel in
            try channel.encrypt(to: endpoint, tls, protocols: ["h2"])
            try channel.pipeline.syncOperations.addHandler(connection)
        }.map { _ in connection }
    }

    package var isActive: Bool { context?.channel.isActive ?? false }

    package func close() { context?.close(promise: nil) }

    // MARK: - Calls

    /// Makes a call of one request and one answer.
    package func call(
        _ method: GRPCMethod, _ message: [UInt8], keepsAnswer: Bool = true,
        answered: @escaping (Result<[UInt8], GRPCFailure>) -> Void
    ) {
        var answer: [UInt8] = []
        let stream = GRPCStream(keepsMessages: keepsAnswer) { bytes in
            if keepsAnswer { answer = Array(bytes) }
        } onEnd: { failure in
            answered(failure.map { .failure($0) } ?? .success(answer))
        }
        stream.append(message, isLast: true)
        begin(stream, method)
    }

    /// Opens a call of many requests and many answers.
    package func open(
        _ method: GRPCMethod, onMessage: @escaping (UnsafeRawBufferPointer) -> Void,
        onEnd: @escaping (GRPCFailure?) -> Void
    ) -> GRPCStream {
        let stream = GRPCStream(keepsMessages: true, onMessage: onMessage, onEnd: onEnd)
        begin(stream, method)
        return stream
    }

    /// Sends a further request of an open call.
    package func send(_ message: [UInt8], on stream: GRPCStream) {
        stream.append(message, isLast: false)
        session.resume(stream)
        scheduleFlush()
    }

    private func begin(_ stream: GRPCStream, _ method: GRPCMethod) {
        loop.preconditionInEventLoop()
        guard isActive, session.open(stream, method) else {
            return loop.execute { [lost = NIOLoopBound(stream, eventLoop: loop)] in lost.value.lost() }
        }
        scheduleFlush()
    }

    // MARK: - Bytes

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    package func channelActive(context: ChannelHandlerContext) {
        flush()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        if !Self.unwrapInboundIn(data).withUnsafeReadableBytes(session.receive) { context.close(promise: nil) }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flush() }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        session.abandon()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// All that is submitted while the loop is busy leaves in one write.
    private func scheduleFlush() {
        if isFlushDue || isReading { return }
        isFlushDue = true
        loop.execute { self.flush() }
    }

    private func flush() {
        isFlushDue = false
        guard let context else { return }
        var hasWritten = false
        while context.channel.isWritable {
            var buffer = context.channel.allocator.buffer(capacity: 8 << 10)
            guard session.drain(into: &buffer, bytesMax: Self.writeBytesMax) else {
                return context.close(promise: nil)
            }
            if buffer.readableBytes == 0 { break }
            context.write(Self.wrapOutboundOut(buffer), promise: nil)
            hasWritten = true
        }
        if hasWritten { context.flush() }
    }
}
