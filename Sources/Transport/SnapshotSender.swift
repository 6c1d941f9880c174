internal import Bytes
internal import NIOCore
internal import NIOPosix
internal import Raft
internal import Sockets
internal import Storage

/// Sends one image to one peer over a connection of its own, a window of chunks ahead of the answers. A new connection
/// goes on where the last one broke.
final class SnapshotSender: @unchecked Sendable {
    private static let windowChunks = 16
    private static let silenceMax = TimeAmount.seconds(30)

    private let peer: NodeID
    private let header: SnapshotStore.Header
    private let path: String
    private let directory: PeerDirectory
    private let dialer: PeerDialer
    private let budget: MemoryBudget
    private let completion: @Sendable (Bool) -> Void
    private let inBackground: Background
    // On the connection's event loop:
    private var sent = 0
    private var acknowledged = 0
    private var isReading = false
    private var isFinished = false
    private var silence: Scheduled<Void>?

    init(
        peer: NodeID, header: SnapshotStore.Header, path: String, directory: PeerDirectory,
        dialer: PeerDialer, budget: MemoryBudget, inBackground: @escaping Background,
        completion: @escaping @Sendable (Bool) -> Void
    ) {
        self.peer = peer
        self.header = header
        self.path = path
        self.directory = directory
        self.dialer = dialer
        self.budget = budget
        self.inBackground = inBackground
        self.completion = completion
    }

    func start(on loop: any EventLoop) {
        let addresses = directory.addresses(of: peer)
        dialer.connect(
            ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1), to: peer, at: addresses,
            on: loop
        ) { channel, _ in
            let sync = channel.pipeline.syncOperations
            try sync.addHandler(FrameReader(budget: self.budget))
            try sync.addHandler(Handler(sender: self))
        }.whenComplete { result in
            switch result {
            case .failure: self.completion(false)
            case .success(let channel):
                self.expectAnswer(channel)
                let hello = PeerFrame.hello(self.directory.hello(to: self.peer, for: .snapshot))
                channel.writeAndFlush(FrameReader.bytes(of: hello), promise: nil)
            }
        }
    }

    private func expectAnswer(_ channel: any Channel) {
        silence?.cancel()
        silence = channel.eventLoop.scheduleTask(in: Self.silenceMax) { channel.close(promise: nil) }
    }

    fileprivate func received(_ frame: PeerFrame, on channel: any Channel) {
        expectAnswer(channel)
        switch frame {
        case .welcome: channel.writeAndFlush(FrameReader.bytes(of: .snapshotHeader(header)), promise: nil)
        case .snapshotHave(let offset):
            acknowledged = offset
            sent = max(sent, offset)
            sendMore(channel)
        case .snapshotDone(let succeeded):
            finish(succeeded)
            channel.close(promise: nil)
        default: channel.close(promise: nil)
        }
    }

    private func sendMore(_ channel: any Channel) {
        guard !isReading, sent < header.bytes,
            sent - acknowledged < Self.windowChunks * SnapshotStore.chunkBytes
        else { return }
        isReading = true
        let offset = sent
        inBackground { [path] in
            let chunk = try? File(path, .read).read(at: offset, count: SnapshotStore.chunkBytes)
            channel.eventLoop.execute {
                self.isReading = false
                guard let chunk, !chunk.isEmpty else {
                    channel.close(promise: nil)
                    return
                }
                self.sent = offset + chunk.count
                let frame = PeerFrame.snapshotChunk(offset: offset, bytes: chunk)
                channel.writeAndFlush(FrameReader.bytes(of: frame), promise: nil)
                self.sendMore(channel)
            }
        }
    }

    fileprivate func finish(_ succeeded: Bool) {
        silence?.cancel()
        guard !isFinished else { return }
        isFinished = true
        completion(succeeded)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = PeerFrame
        private let sender: SnapshotSender

        init(sender: SnapshotSender) { self.sender = sender }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            sender.received(Self.unwrapInboundIn(data), on: context.channel)
        }

        func channelInactive(context: ChannelHandlerContext) { sender.finish(false) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
