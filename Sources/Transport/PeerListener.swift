internal import Logging
internal import NIOCore
internal import Raft
internal import Sockets
internal import Storage
internal import TLS

/// The receiving end of a peer's connection, whatever its purpose.
final class PeerAcceptor: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = PeerFrame

    private enum State {
        case strange
        /// It said who it is, and is not let in yet.
        case greeting
        case messages(from: NodeID)
        case snapshot(from: NodeID, SnapshotStore.Header?)
        case certificates(from: NodeID)
        /// It got its answer, and nothing more.
        case answered
    }

    private let transport: Transport
    private let guest: Doorman.Guest
    private let reader: FrameReader
    private var state = State.strange
    private var deadline: Scheduled<Void>?
    /// If its certificate may be a member's; nil where nothing is encrypted.
    private var certificateCheck: EventLoopFuture<Void>?
    private var certificate: PeerCertificate?
    private var directory: PeerDirectory { transport.directory }
    private var store: SnapshotStore { transport.store }
    private var events: TransportEvents { transport.events }
    private var logger: Logger { transport.logger }

    init(_ transport: Transport, _ guest: Doorman.Guest, _ reader: FrameReader) {
        self.transport = transport
        self.guest = guest
        self.reader = reader
    }

    /// A member that asks for a certificate waits no longer for its answer.
    private static let certificateTimeout = TimeAmount.seconds(20)

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: .seconds(5)) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { deadline?.cancel() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let established = event as? TLSEstablished else { return context.fireUserInboundEventTriggered(event) }
        let channel = context.channel
        certificate = established.certificate
        let check = transport.callerCheck.check(certificate, from: guest.address, on: context.eventLoop)
        certificateCheck = check
        check.whenFailure { error in
            self.transport.port.complain("TLS", of: channel, because: error)
            channel.close(promise: nil)
        }
    }

    /// Nothing of what a caller says counts before it is known to come from the right place.
    private func receive(_ hello: PeerHello, on channel: any Channel) {
        guard let certificateCheck else { return greet(hello, on: channel) }
        certificateCheck.whenSuccess {
            guard self.transport.callerCheck.allows(self.certificate, hello) else {
                let reason = TLSError("it says to be member \(hex(hello.from)), and its certificate is another's")
                self.transport.port.complain("TLS", of: channel, because: reason)
                return channel.close(promise: nil)
            }
            self.greet(hello, on: channel)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What is wrong with TLS was written down where it was found.
        if !(error is TLSError) {
            transport.port.complain("what it sends cannot be taken", of: context.channel, because: error)
        }
        context.close(promise: nil)
    }

    private func greet(_ hello: PeerHello, on channel: any Channel) {
        deadline?.cancel()
        if let refusal = directory.refusal(of: hello) { return refuse(hello, refusal, on: channel) }
        switch directory.noteAnnouncement(hello, from: channel.remoteAddress?.ipAddress ?? "") {
        case .surplus: return refuse(hello, .unknown, on: channel)
        case .newcomer: transport.keepLinks()
        case .known: break
        }
        if hello.purpose == .certificates, !transport.callerCheck.proves(certificate, hello) {
            return channel.close(promise: nil)
        }
        guest.setIdle(false)
        // One for certificates comes and goes.
        if hello.purpose != .certificates { directory.track(channel, from: hello.from) }
        switch hello.purpose {
        case .messages:
            reader.bytesMax = PeerFrame.bytesMax
            state = .messages(from: hello.from)
        case .snapshot:
            reader.bytesMax = PeerFrame.chunkBytesMax
            state = .snapshot(from: hello.from, nil)
        case .certificates:
            reader.bytesMax = PeerFrame.certificateBytesMax
            state = .certificates(from: hello.from)
            deadline = channel.eventLoop.scheduleTask(in: Self.certificateTimeout) { channel.close(promise: nil) }
        }
        channel.writeAndFlush(
            FrameReader.bytes(of: .welcome(version: directory.version, others: directory.whereabouts(for: hello.from))),
            promise: nil)
    }

    private func refuse(_ hello: PeerHello, _ refusal: PeerRefusal, on channel: any Channel) {
        transport.port.complain(
            "member \(hex(hello.from)) of fabric \(hex(hello.clusterID)) is refused", of: channel, because: refusal)
        channel.writeAndFlush(FrameReader.bytes(of: .refused(refusal)))
            .whenComplete { _ in channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        let channel = context.channel
        switch (state, frame) {
        case (.strange, .hello(let hello)):
            state = .greeting
            receive(hello, on: channel)
        case (.messages(let from), .messages(let messages)):
            guard directory.mayHear(from) else { return }
            events.received(messages.filter { $0.from == from && $0.to == directory.selfID })
        case (.certificates(let from), .certificateWish(let wish)):
            state = .answered
            let holder = CertificateHolder(id: from, certificate: certificate?.der ?? [])
            Task(priority: .background) { [events] in
                guard let answer = await events.signs(holder, wish) else { return channel.close(promise: nil) }
                channel.writeAndFlush(FrameReader.bytes(of: .certificates(answer)))
                    .whenComplete { _ in channel.close(promise: nil) }
            }
        case (.snapshot(let from, nil), .snapshotHeader(let header)):
            state = .snapshot(from: from, header)
            logger.info("receiving a snapshot of index \(header.mark.index), \(header.bytes) bytes")
            onDisk(channel) {
                .snapshotHave(try self.store.received(header))
            } then: { frame in
                // All of it may be here from an earlier connection.
                if case .snapshotHave(header.bytes) = frame { self.finish(header, from, channel) }
            }
        case (.snapshot(let from, .some(let header)), .snapshotChunk(let offset, let bytes)):
            guard offset + bytes.count <= header.bytes, bytes.count <= SnapshotStore.chunkBytes else {
                return context.close(promise: nil)
            }
            events.snapshotProgress(offset + bytes.count, header.bytes)
            onDisk(channel) {
                try self.store.write(bytes, at: offset, of: header)
                return .snapshotHave(offset + bytes.count)
            } then: { _ in
                if offset + bytes.count == header.bytes { self.finish(header, from, channel) }
            }
        default: context.close(promise: nil)
        }
    }

    /// Does disk work in the background and sends the frame it answers.
    private func onDisk(
        _ channel: any Channel, _ work: @escaping @Sendable () throws -> PeerFrame,
        then: @escaping @Sendable (PeerFrame) -> Void
    ) {
        transport.inBackground { [logger] in
            do {
                let frame = try work()
                channel.writeAndFlush(FrameReader.bytes(of: frame), promise: nil)
                then(frame)
            } catch {
                logger.error("a snapshot cannot be received: \(error)")
                channel.close(promise: nil)
            }
        }
    }

    private func finish(_ header: SnapshotStore.Header, _ from: NodeID, _ channel: any Channel) {
        transport.inBackground { [events, store, logger] in
            do {
                try events.snapshotReceived(header.mark, try store.finish(header), from)
                channel.writeAndFlush(FrameReader.bytes(of: .snapshotDone(true)), promise: nil)
            } catch {
                logger.error("the received snapshot is of no use: \(error)")
                channel.writeAndFlush(FrameReader.bytes(of: .snapshotDone(false)), promise: nil)
            }
        }
    }
}
