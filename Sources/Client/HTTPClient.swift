#if canImport(Glibc)
    internal import Glibc
#endif
package import NIOCore
package import NIOHTTP1
internal import NIOPosix
internal import Sockets
package import TLS

/// A small HTTP/1.1 client: one request, one connection.
package struct HTTPClient: Sendable {
    package struct Response: Sendable {
        package var status: Int
        package var headers: HTTPHeaders
        package var body: [UInt8]
        /// This end's address of the connection.
        package var localHost: String?
    }

    /// Why there is no answer.
    package struct Failure: Error, CustomStringConvertible, Sendable {
        package var description: String

        package init(description: String) { self.description = description }
    }

    private static let connectTimeout = TimeAmount.seconds(3)

    private let group: any EventLoopGroup
    private let dialer = Dialer()
    /// Longest wait for the whole answer.
    package var timeout = TimeAmount.seconds(10)
    /// For endpoints that are secure.
    package var tls: TLSContext?
    /// A token of whoever asks.
    package var authorization: String?
    /// Nobody asked for the token: it goes only where nobody on the way can read it.
    var hidesAuthorization = false
    /// Longest answer taken.
    package var bodyBytesMax = 1 << 30

    package init(group: any EventLoopGroup) {
        self.group = group
    }

    /// Takes the body of an answer as it comes, in order, on the connection's thread: while it runs nothing more comes.
    /// What it throws ends the request.
    package typealias Sink = @Sendable (Response, [UInt8]) throws -> Void

    /// Sends a request to `endpoint` with `path` as it is.
    /// - Parameter sink: takes the body of an answer that is no error, however long that takes.
    package func send(
        _ method: HTTPMethod, _ endpoint: Endpoint, _ path: String, headers: HTTPHeaders = [:], body: [UInt8] = [],
        sink: Sink? = nil
    ) async throws -> Response {
        guard authorization == nil || !hidesAuthorization || endpoint.isPrivate else {
            throw Failure(
                description:
                    "cannot ask \(endpoint): who is on the way could read root's token; go to https://, or log in with --user"
            )
        }
        let loop = group.next()
        let promise = loop.makePromise(of: Response.self)
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
        head.headers.replaceOrAdd(name: "host", value: endpoint.authority)
        head.headers.replaceOrAdd(name: "content-length", value: String(body.count))
        head.headers.replaceOrAdd(name: "connection", value: "close")
        head.headers.replaceOrAdd(name: "weft-client", value: "1")
        if let authorization { head.headers.replaceOrAdd(name: "authorization", value: authorization) }
        let timer = loop.scheduleTask(in: timeout) {
            promise.fail(Failure(description: "\(endpoint) did not answer in \(timeout.nanoseconds / 1_000_000_000) s"))
        }
        let (request, tls, bodyBytesMax) = (head, tls, bodyBytesMax)
        // What comes bit by bit may take its time.
        let taken: Sink? = sink.map { sink in Self.unhurried(sink, timer) }
        dialer.connect(
            Self.bootstrap(for: endpoint, on: loop), to: endpoint, timeout: Self.connectTimeout, on: loop
        ) { channel in
            try channel.encrypt(to: endpoint, tls, protocols: ["http/1.1"])
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            try channel.pipeline.syncOperations.addHandler(
                Collector(promise: promise, endpoint: endpoint, bodyBytesMax: bodyBytesMax, sink: taken))
        }.whenComplete { result in
            switch result {
            case .failure(let error):
                promise.fail(Failure(description: "cannot connect to \(endpoint): \(error)"))
            case .success(let channel):
                promise.futureResult.whenComplete { _ in
                    timer.cancel()
                    channel.close(promise: nil)
                }
                channel.write(HTTPClientRequestPart.head(request), promise: nil)
                channel.write(
                    HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
                channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
            }
        }
        // A name that nobody resolves is given up like an address that does not answer.
        let lookup = loop.scheduleTask(in: Self.connectTimeout) {
            guard dialer.isLookingUp(endpoint.host) else { return }
            promise.fail(Failure(description: "cannot connect to \(endpoint): the look-up of its name takes too long"))
        }
        promise.futureResult.whenComplete { _ in lookup.cancel() }
        promise.futureResult.whenComplete { _ in timer.cancel() }
        return try await promise.futureResult.get()
    }

    private static func bootstrap(for endpoint: Endpoint, on loop: any EventLoop) -> ClientBootstrap {
        let bootstrap = ClientBootstrap(group: loop)
        if endpoint.isLocal { return bootstrap }
        // A machine that is gone says nothing: after half a minute it counts as gone.
        return
            bootstrap
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 10)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 5)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 4)
    }

    private static func unhurried(_ sink: @escaping Sink, _ timer: Scheduled<Void>) -> Sink {
        { response, bytes in
            timer.cancel()
            try sink(response, bytes)
        }
    }

    private final class Collector: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = HTTPClientResponsePart
        private let promise: EventLoopPromise<Response>
        private let endpoint: Endpoint
        private let bodyBytesMax: Int
        private let sink: Sink?
        private var response: Response?

        init(promise: EventLoopPromise<Response>, endpoint: Endpoint, bodyBytesMax: Int, sink: Sink?) {
            self.promise = promise
            self.endpoint = endpoint
            self.bodyBytesMax = bodyBytesMax
            self.sink = sink
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch Self.unwrapInboundIn(data) {
            case .head(let head):
                response = Response(
                    status: Int(head.status.code), headers: head.headers, body: [],
                    localHost: context.channel.localAddress?.ipAddress)
                // The body may be long in coming: that there is one says enough for now.
                pass([])
            case .body(let buffer):
                if pass(Array(buffer.readableBytesView)) { return }
                guard (response?.body.count ?? 0) + buffer.readableBytes <= bodyBytesMax else {
                    promise.fail(Failure(description: "\(endpoint) answers more than \(bodyBytesMax) bytes"))
                    return
                }
                response?.body.append(contentsOf: buffer.readableBytesView)
            case .end:
                if let response { promise.succeed(response) }
            }
        }

        /// False when there is no sink for what came.
        @discardableResult
        private func pass(_ bytes: [UInt8]) -> Bool {
            guard let sink, let response, response.status < 400 else { return false }
            do { try sink(response, bytes) } catch { promise.fail(error) }
            return true
        }

        func channelInactive(context: ChannelHandlerContext) {
            promise.fail(Failure(description: "\(endpoint) closed the connection without an answer"))
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            promise.fail(Failure(description: "\(endpoint): \(error)"))
            context.close(promise: nil)
        }
    }
}
