internal import NIOCore
internal import NIOHTTP1
internal import Sockets
internal import TLS

/// Reads a connection's first bytes, and gives it to HTTP/2 when they are its preface (RFC 9113, section 3.4),
/// otherwise to HTTP/1.1.
final class ProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private let service: any HTTPService
    private let limits: HTTPLimits
    private let pair: LoopTurns.Pair
    private let guest: Doorman.Guest
    private var client = HTTPClientIdentity()
    private var received = ByteBuffer()
    private var timer: Scheduled<Void>?

    init(service: any HTTPService, limits: HTTPLimits, on pair: LoopTurns.Pair, _ guest: Doorman.Guest) {
        self.service = service
        self.limits = limits
        self.pair = pair
        self.guest = guest
        client.address = guest.address
        client.isLocal = limits.callers.entrance == .local
        client.isPrivate = limits.callers.entrance != .clear
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: limits.headerTimeout) { channel.close(promise: nil) }
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is HTTPShutDown: context.close(promise: nil)
        case let established as TLSEstablished:
            client.commonName = established.certificate?.commonName
            client.fabricName = established.certificate?.fabricName
            client.foreignIssuer = established.certificate?.foreignIssuer
            client.certificateUntil = established.certificate?.until ?? .max
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = Self.unwrapInboundIn(data)
        received.writeBuffer(&buffer)
        let bytes = received.readableBytesView.prefix(Self.preface.count)
        let isHTTP2 = Self.preface.starts(with: bytes)
        if isHTTP2, bytes.count < Self.preface.count { return }
        do {
            try isHTTP2 ? addHTTP2(context) : addHTTP1(context)
        } catch {
            return context.close(promise: nil)
        }
        context.fireChannelRead(Self.wrapInboundOut(received))
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    private func addHTTP2(_ context: ChannelHandlerContext) throws {
        let connection = HTTP2Connection(
            service: service, unary: pair.service, limits: limits, loop: context.eventLoop, turn: pair.turn,
            guest: guest, client: client)
        try context.pipeline.syncOperations.addHandler(connection, position: .after(self))
    }

    private func addHTTP1(_ context: ChannelHandlerContext) throws {
        let connection = ConnectionHandler(
            service: service, limits: limits, loop: context.eventLoop, on: pair, guest, client)
        let handlers: [any ChannelHandler] = [
            HTTPResponseEncoder(), HeadClock(connection),
            ByteToMessageHandler(
                HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes),
                maximumBufferSize: limits.bodyBytesMax + limits.headerBytesMax),
            connection,
        ]
        try context.pipeline.syncOperations.addHandlers(handlers, position: .after(self))
    }
}

/// Tells an HTTP/1.1 connection that something came, before it is known to be a request.
private final class HeadClock: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let connection: ConnectionHandler

    init(_ connection: ConnectionHandler) {
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        connection.noteBytes()
        context.fireChannelRead(data)
    }
}
