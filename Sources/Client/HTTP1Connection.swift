package import NIOCore
package import NIOHTTP1
internal import NIOPosix
internal import Sockets
package import TLS

/// A connection that carries one HTTP/1.1 request after the other. Only on its event loop.
package final class HTTP1Connection: ChannelInboundHandler, @unchecked Sendable {
    package typealias InboundIn = HTTPClientResponsePart
    package typealias OutboundOut = HTTPClientRequestPart

    package typealias Answer = Result<(status: Int, body: [UInt8]), HTTPClient.Failure>

    private struct Request {
        var path: String
        var body: [UInt8]
        var keepsAnswer: Bool
        var answered: (Answer) -> Void
    }

    private let authority: String
    private let loop: any EventLoop
    private var context: ChannelHandlerContext?
    /// The first is under way.
    private var requests = CircularBuffer<Request>()
    private var status = 0
    private var body: [UInt8] = []

    private init(authority: String, loop: any EventLoop) {
        self.authority = authority
        self.loop = loop
    }

    /// Connects.
    package static func connect(
        to endpoint: Endpoint, _ tls: TLSContext? = nil, on loop: any EventLoop
    ) -> EventLoopFuture<HTTP1Connection> {
        let connection = HTTP1Connection(authority: endpoint.authority, loop: loop)
        let bootstrap = ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1)
        return Dialer().connect(
            bootstrap, to: endpoint, timeout: .seconds(3), on: loop
        ) { channel in
            try channel.encrypt(to: endpoint, tls, protocols: ["http/1.1"])
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            try channel.pipeline.syncOperations.addHandler(connection)
        }.map { _ in connection }
    }

    package var isActive: Bool { context?.channel.isActive ?? false }

    package func close() { context?.close(promise: nil) }

    /// POSTs JSON, after the requests that wait already.
    /// - Parameter keepsAnswer: if not, the answer is read and dropped.
    package func post(
        _ path: String, _ body: [UInt8], keepsAnswer: Bool = true, answered: @escaping (Answer) -> Void
    ) {
        loop.preconditionInEventLoop()
        let request = Request(path: path, body: body, keepsAnswer: keepsAnswer, answered: answered)
        guard isActive else {
            let box = NIOLoopBound(request, eventLoop: loop)
            return loop.execute { Self.lose(box.value) }
        }
        requests.append(request)
        if requests.count == 1 { begin(request) }
    }

    private func begin(_ request: Request) {
        guard let context else { return }
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: request.path)
        head.headers.add(name: "host", value: authority)
        head.headers.add(name: "content-type", value: "application/json")
        head.headers.add(name: "content-length", value: String(request.body.count))
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        let bytes = context.channel.allocator.buffer(bytes: request.body)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    // MARK: - Answers

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            body.removeAll(keepingCapacity: true)
        case .body(let bytes):
            if requests.first?.keepsAnswer ?? false || status >= 400 { body += bytes.readableBytesView }
        case .end:
            guard let request = requests.popFirst() else { return context.close(promise: nil) }
            if let next = requests.first { begin(next) }
            request.answered(.success((status, body)))
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        let lost = requests
        requests = []
        for request in lost { Self.lose(request) }
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private static func lose(_ request: Request) {
        request.answered(.failure(HTTPClient.Failure(description: "the connection was lost")))
    }
}
