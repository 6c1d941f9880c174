package import NIOCore

/// Hands are shaken: told to the handlers within.
package struct TLSEstablished: Sendable {
    /// The other side's; nil when it was not asked for one, or showed none.
    package let certificate: PeerCertificate?
}

/// Encrypts one connection. The first handler of its pipeline: what is inside neither knows nor cares.
package final class TLSHandler: ChannelDuplexHandler, @unchecked Sendable {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum Stage {
        case shakingHands
        case open
        /// Nothing is sent any more.
        case ended
    }

    /// A handshake takes no longer (etcd: CVE-2026-73500).
    package static let handshakeTimeout = TimeAmount.seconds(10)

    private let session: TLSSession
    private let handshakes: TLSHandshakes?
    private let failed: (@Sendable (TLSError) -> Void)?
    private var stage = Stage.shakingHands
    private var timer: Scheduled<Void>?
    private var ticket: TLSHandshakes.Ticket?
    /// What was written before hands were shaken.
    private var waiting: [(data: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var isFlushDue = false
    /// Of the protocol's own answers since hands were shaken, what the other side has not taken yet.
    private var unsentBytes = 0
    /// Some hundred answers; whoever asks for more reads none of them.
    private static let unsentBytesMax = 16 << 10

    /// For a connection to a server.
    /// - Parameters:
    ///   - host: a name or an address. Where a fabric's own CA is trusted any of its members may be there.
    ///   - protocols: for ALPN, best first.
    package convenience init(to host: String, _ context: TLSContext, protocols: [String] = []) throws(TLSError) {
        try self.init(
            expecting: context.settings.trust == .fabric ? .member(nil) : .host(host), context, protocols: protocols)
    }

    /// - Parameter protocols: for ALPN, best first.
    package init(expecting expected: Expected, _ context: TLSContext, protocols: [String] = []) throws(TLSError) {
        session = try TLSSession(context, expecting: expected)
        if !protocols.isEmpty { session.offer(protocols) }
        handshakes = nil
        failed = nil
    }

    /// For a connection that came to a port.
    /// - Parameter failed: told why it ends, unless it ends as it should.
    package init(
        from context: TLSContext, _ handshakes: TLSHandshakes, failed: (@Sendable (TLSError) -> Void)? = nil
    ) throws(TLSError) {
        session = try TLSSession(context, expecting: nil)
        self.handshakes = handshakes
        self.failed = failed
    }

    // MARK: - Shaking hands

    package func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: Self.handshakeTimeout) { channel.close(mode: .all, promise: nil) }
        ticket = handshakes?.begin(channel)
        if channel.isActive { shakeHands(context) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) { endHandshake() }

    package func channelActive(context: ChannelHandlerContext) {
        shakeHands(context)
        context.fireChannelActive()
    }

    private func shakeHands(_ context: ChannelHandlerContext) {
        guard stage == .shakingHands else { return }
        let progress = session.shakeHands()
        send(context)
        switch progress {
        case .wantsMore: break
        case .failed(let error): fail(context, error)
        case .done:
            stage = .open
            endHandshake()
            context.fireUserInboundEventTriggered(TLSEstablished(certificate: session.peerCertificate))
            let written = waiting
            waiting = []
            for (data, promise) in written { encrypt(context, data, promise) }
            if isFlushDue { context.flush() }
        }
    }

    private func endHandshake() {
        timer?.cancel()
        timer = nil
        ticket.map { handshakes?.end($0) }
        ticket = nil
    }

    private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
        guard stage != .ended else { return }
        stage = .ended
        endHandshake()
        dropWaiting(error)
        session.end()
        send(context)
        failed?(error)
        context.fireErrorCaught(error)
        context.close(mode: .all, promise: nil)
    }

    private func dropWaiting(_ error: any Error) {
        let dropped = waiting
        waiting = []
        for (_, promise) in dropped { promise?.fail(error) }
    }

    // MARK: - Reading

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        session.take(Self.unwrapInboundIn(data))
        shakeHands(context)
        guard stage == .open else { return }
        var plain = context.channel.allocator.buffer(capacity: 0)
        let progress = session.read(into: &plain)
        // The other side may have asked for an answer of the protocol's own.
        send(context)
        guard stage == .open else { return }
        if plain.readableBytes > 0 { context.fireChannelRead(Self.wrapInboundOut(plain)) }
        switch progress {
        case .wantsMore: break
        case .done: context.close(mode: .all, promise: nil)
        case .failed(let error): fail(context, error)
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        stage = .ended
        endHandshake()
        dropWaiting(ChannelError.ioOnClosedChannel)
        context.fireChannelInactive()
    }

    // MARK: - Writing

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let data = Self.unwrapOutboundIn(data)
        switch stage {
        case .shakingHands: waiting.append((data, promise))
        case .open: encrypt(context, data, promise)
        case .ended: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    /// What fits into one record (RFC 8446, section 5.1). Larger slices cost more: their buffers are given back to the system each time,
    /// and their pages are faulted in again.
    private static let sliceBytes = 16 << 10

    private func encrypt(_ context: ChannelHandlerContext, _ data: ByteBuffer, _ promise: EventLoopPromise<Void>?) {
        // An empty write keeps its place among the others: its promise says that all before it are sent.
        guard data.readableBytes > 0 else { return context.write(Self.wrapOutboundOut(data), promise: promise) }
        var rest = data
        while rest.readableBytes > 0, let slice = rest.readSlice(length: min(Self.sliceBytes, rest.readableBytes)) {
            let progress = session.write(slice)
            guard case .done = progress, let output = session.output(context.channel.allocator) else {
                let error = progress.error ?? TLSError("bytes cannot be encrypted")
                promise?.fail(error)
                return fail(context, error)
            }
            context.write(Self.wrapOutboundOut(output), promise: rest.readableBytes == 0 ? promise : nil)
        }
    }

    package func flush(context: ChannelHandlerContext) {
        isFlushDue = stage == .shakingHands
        context.flush()
    }

    /// What the protocol itself has to say.
    private func send(_ context: ChannelHandlerContext) {
        guard let output = session.output(context.channel.allocator) else { return }
        guard stage == .open else { return context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil) }
        let count = output.readableBytes
        unsentBytes += count
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.whenComplete { _ in self.unsentBytes -= count }
        context.writeAndFlush(Self.wrapOutboundOut(output), promise: sent)
        if unsentBytes > Self.unsentBytesMax {
            fail(context, TLSError("it sends key updates and does not read the answers"))
        }
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input, stage == .open {
            stage = .ended
            session.end()
            send(context)
        }
        context.close(mode: mode, promise: promise)
    }
}
