internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Raft
internal import Storage

/// The receiving end of a peer's connection, whatever its purpose.
final class PeerAcceptor: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = PeerFrame

    private enum State {
        case strange
        case messages(from: NodeID)
        case snapshot(from: NodeID, SnapshotStore.Header?)
    }

    private let directory: PeerDirectory
    private let events: TransportEvents
    private let store: SnapshotStore
    private let inBackground: Background
    private let logger: Logger
    private var state = State.strange
    private var deadline: Scheduled<Void>?

    init(
        directory: PeerDirectory, events: TransportEvents, store: SnapshotStore, inBackground: @escaping Background,
        logger: Logger
    ) {
        self.directory = directory
        self.events = events
        self.store = store
        self.inBackground = inBackground
        self.logger = logger
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: .seconds(5)) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { deadline?.cancel() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.warning("a peer's connection is closed: \(error)")
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        let channel = context.channel
        switch (state, frame) {
        case (.strange, .hello(let clusterID, let from, let to, let isUnconfirmed, let purpose)):
            deadline?.cancel()
            if let refusal = directory.refusal(
                clusterID: clusterID, from: from, to: to, isUnconfirmed: isUnconfirmed)
            {
                if refusal == .wrongCluster {
                    logger.warning("refused a member of another fabric, \(hex(clusterID))", metadata: nil)
                }
                channel.writeAndFlush(FrameDecoder.bytes(of: .refused(refusal)))
                    .whenComplete { _ in channel.close(promise: nil) }
                return
            }
            directory.track(channel, from: from)
            state = purpose == .messages ? .messages(from: from) : .snapshot(from: from, nil)
            channel.writeAndFlush(FrameDecoder.bytes(of: .welcome), promise: nil)
        case (.messages(let from), .messages(let messages)):
            guard directory.mayHear(from) else { return }
            events.received(messages.filter { $0.from == from && $0.to == directory.selfID })
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
        inBackground { [logger] in
            do {
                let frame = try work()
                channel.writeAndFlush(FrameDecoder.bytes(of: frame), promise: nil)
                then(frame)
            } catch {
                logger.error("a snapshot cannot be received: \(error)")
                channel.close(promise: nil)
            }
        }
    }

    private func finish(_ header: SnapshotStore.Header, _ from: NodeID, _ channel: any Channel) {
        inBackground { [events, store, logger] in
            do {
                try events.snapshotReceived(header.mark, try store.finish(header), from)
                channel.writeAndFlush(FrameDecoder.bytes(of: .snapshotDone(true)), promise: nil)
            } catch {
                logger.error("the received snapshot is of no use: \(error)")
                channel.writeAndFlush(FrameDecoder.bytes(of: .snapshotDone(false)), promise: nil)
            }
        }
    }
}
