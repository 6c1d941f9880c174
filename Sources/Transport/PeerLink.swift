internal import Bytes
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Raft
internal import Sockets
internal import Synchronization
internal import TLS

/// The connection to one peer for Raft messages: kept open, opened again when it breaks. What cannot be sent is
/// dropped and said to be; Raft sends again.
///
/// Lives on one event loop; `send` may be called from any thread.
final class PeerLink: @unchecked Sendable {
    private enum State {
        case idle
        case connecting
        case greeting(any Channel)
        case open(any Channel)
        case stopped
    }

    /// Most bytes waiting in one connection's buffer.
    private static let pendingBytesMax = 64 << 20

    /// What was sent and is not acknowledged for so long breaks the connection: the other end is gone without a word.
    private static let silenceMax = TimeAmount.seconds(5)
    private static let silenceChecks = 5

    /// A name that is looked up for so long is spoken of.
    private static let lookupPatience = TimeAmount.seconds(2)

    private let peer: NodeID
    private let directory: PeerDirectory
    private let dialer: PeerDialer
    private let budget: MemoryBudget
    private let loop: any EventLoop
    private let logger: Logger
    private let events: TransportEvents
    /// If the peer greeted, and the connection holds.
    let isOpen = Atomic<Bool>(false)
    // Only on `loop`:
    private var state = State.idle {
        didSet { isOpen.store({ if case .open = state { true } else { false } }(), ordering: .relaxed) }
    }
    private var pendingBytes = 0
    /// How often in a row nothing was acknowledged.
    private var silentChecks = 0
    private var delay = TimeAmount.milliseconds(20)
    /// Greetings in a row that nobody answered.
    private var unanswered = 0
    private var lastComplaint: String?
    /// The address that answered last.
    private var called: PeerAddress?

    init(
        peer: NodeID, directory: PeerDirectory, dialer: PeerDialer, budget: MemoryBudget, loop: any EventLoop,
        logger: Logger,
        events: TransportEvents
    ) {
        self.peer = peer
        self.directory = directory
        self.dialer = dialer
        self.budget = budget
        self.loop = loop
        self.logger = logger
        self.events = events
    }

    func start() {
        loop.execute { self.connect() }
    }

    func stop() {
        loop.execute {
            if case .open(let channel) = self.state { channel.close(promise: nil) }
            if case .greeting(let channel) = self.state { channel.close(promise: nil) }
            self.state = .stopped
        }
    }

    func send(_ messages: [Message]) {
        let buffer = FrameReader.bytes(of: .messages(messages))
        // Only proposals are worth giving back: whatever else is lost, Raft sends again by itself.
        let proposals = messages.filter { if case .propose = $0.body { true } else { false } }
        loop.execute { self.write(buffer, giveBack: proposals) }
    }

    private func write(_ buffer: ByteBuffer, giveBack: [Message]) {
        guard case .open(let channel) = state else {
            if !giveBack.isEmpty { events.undelivered(giveBack) }
            return
        }
        let bytes = buffer.readableBytes
        guard pendingBytes + bytes <= Self.pendingBytesMax else {
            complain("it takes nothing: \(pendingBytes) bytes wait for it")
            if !giveBack.isEmpty { events.undelivered(giveBack) }
            events.unreachable(peer)
            return
        }
        pendingBytes += bytes
        channel.writeAndFlush(buffer).whenComplete { [loop] _ in
            loop.preconditionInEventLoop()
            self.pendingBytes -= bytes
        }
    }

    private func connect() {
        guard case .idle = state else { return }
        let known = directory.addresses(of: peer)
        guard !known.isEmpty else { return retry("its address is not known") }
        // One that takes connections and says nothing must not be the first for ever.
        let addresses = Array(known[(unanswered % known.count)...] + known[..<(unanswered % known.count)])
        state = .connecting
        let slow = loop.scheduleTask(in: Self.lookupPatience) {
            if let names = self.slowLookups(addresses) { self.complain(names) }
        }
        dialer.connect(
            ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1),
            to: peer, at: addresses, on: loop
        ) { channel, address in
            self.called = address
            let sync = channel.pipeline.syncOperations
            try sync.addHandler(FrameReader(budget: self.budget))
            try sync.addHandler(Handler(link: self))
        }.whenComplete { result in
            slow.cancel()
            switch result {
            case .failure(let error):
                if (error as? DialFailure)?.isRefusal == true { self.events.refused(self.peer) }
                self.retry(["\(error)", self.slowLookups(addresses)].compactMap(\.self).joined(separator: "; "))
            case .success(let channel): self.greet(channel)
            }
        }
    }

    /// Names that are still being looked up, in words.
    private func slowLookups(_ addresses: [PeerAddress]) -> String? {
        let names = addresses.map(\.host).filter(dialer.names.isLookingUp)
        return names.isEmpty ? nil : "the look-up of \(names.joined(separator: ", ")) takes long"
    }

    private func greet(_ channel: any Channel) {
        if case .stopped = state {
            channel.close(promise: nil)
            return
        }
        state = .greeting(channel)
        loop.scheduleTask(in: Self.silenceMax) {
            if case .greeting(let waiting) = self.state, waiting === channel { channel.close(promise: nil) }
        }
        let hello = PeerFrame.hello(directory.hello(to: peer, for: .messages))
        channel.writeAndFlush(FrameReader.bytes(of: hello), promise: nil)
    }

    private func retry(_ reason: String) {
        if case .stopped = state { return }
        complain(reason)
        state = .idle
        loop.scheduleTask(in: delay) { self.connect() }
        delay = min(delay * 2, .seconds(1))
    }

    /// Says what is wrong once, not at each attempt.
    fileprivate func complain(_ reason: String) {
        guard lastComplaint != reason else { return }
        lastComplaint = reason
        logger.warning("no connection to member \(hex(peer)): \(reason)")
    }

    fileprivate func received(_ frame: PeerFrame, on channel: any Channel) {
        switch frame {
        case .welcome(_, let others):
            guard case .greeting = state else { return }
            directory.note(told: others)
            state = .open(channel)
            watchForSilence(channel)
            unanswered = 0
            if let called, called.isSecure {
                // Its certificate is for the name, not for where that led.
                directory.setReached(peer, at: called)
            } else if let host = channel.remoteAddress?.ipAddress, let port = channel.remoteAddress?.port {
                directory.setReached(peer, at: PeerAddress(host: host, port: port))
            }
            directory.noteWelcome(by: peer)
            events.welcomed(peer)
            delay = .milliseconds(20)
            if lastComplaint != nil { logger.info("connected to member \(hex(peer))") }
            lastComplaint = nil
        case .refused(let refusal):
            complain(refusal.description)
            events.turnedAway(peer, refusal)
            channel.close(promise: nil)
        default: channel.close(promise: nil)
        }
    }

    /// Closes a connection whose other end acknowledges nothing of what was sent. Not left to TCP_USER_TIMEOUT: where a route
    /// swallows what is sent (`ip route add blackhole`), the kernel ends a connection with EINVAL, which SwiftNIO takes for
    /// a mistake of its own and stops the process.
    private func watchForSilence(_ channel: any Channel) {
        guard let options = channel as? any SocketOptionProvider else { return }
        let interval = TimeAmount.nanoseconds(Self.silenceMax.nanoseconds / Int64(Self.silenceChecks))
        silentChecks = 0
        loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [self] task in
            guard case .open(let current) = state, current === channel else { return task.cancel() }
            options.getTCPInfo().whenSuccess { info in
                let isSilent =
                    info.tcpi_unacked > 0 && Int64(info.tcpi_last_ack_recv) >= interval.nanoseconds / 1_000_000
                self.silentChecks = isSilent ? self.silentChecks + 1 : 0
                guard self.silentChecks >= Self.silenceChecks else { return }
                self.complain("it acknowledges nothing")
                channel.close(promise: nil)
            }
        }
    }

    fileprivate func closed() {
        let wasOpen = if case .open = state { true } else { false }
        guard wasOpen || { if case .greeting = state { true } else { false } }() else { return }
        directory.setReached(peer, at: nil)
        if wasOpen { events.unreachable(peer) } else { unanswered += 1 }
        retry(lastComplaint ?? "the connection was closed")
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = PeerFrame
        private let link: PeerLink

        init(link: PeerLink) { self.link = link }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            link.received(Self.unwrapInboundIn(data), on: context.channel)
        }

        func channelInactive(context: ChannelHandlerContext) { link.closed() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if let error = error as? TLSError { link.complain("\(error)") }
            context.close(promise: nil)
        }
    }
}

/// An id as operators see it: hexadecimal, as etcd prints it.
package func hex(_ id: UInt64) -> String {
    String(id, radix: 16)
}
