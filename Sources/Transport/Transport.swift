internal import Bytes
package import Logging
package import NIOCore
package import Raft
package import Sockets
package import Storage
internal import Synchronization
internal import TLS

/// What a transport tells its member. The closures are called on the transport's threads and must not block, but for
/// `snapshotReceived`.
package struct TransportEvents: Sendable {
    package var received: @Sendable ([Message]) -> Void
    /// What was sent to this peer lately may be lost.
    package var unreachable: @Sendable (NodeID) -> Void
    /// Nobody listens at this peer's address.
    package var refused: @Sendable (NodeID) -> Void
    /// These messages certainly were not sent.
    package var undelivered: @Sendable ([Message]) -> Void
    /// A peer that this member called will not talk to it.
    package var turnedAway: @Sendable (NodeID, PeerRefusal) -> Void
    /// A peer that this member called talks to it.
    package var welcomed: @Sendable (NodeID) -> Void
    /// Bytes received of bytes in all.
    package var snapshotProgress: @Sendable (Int, Int) -> Void
    /// An image is whole; throws when it cannot be used. Runs on a thread that may block.
    package var snapshotReceived: @Sendable (SnapshotMark, _ path: String, _ from: NodeID) throws -> Void
    /// A peer, which has proved to be that, wants a certificate; nil when it gets none.
    package var signs: @Sendable (CertificateHolder, CertificateWish) async -> CertificateAnswer?

    package init(
        received: @escaping @Sendable ([Message]) -> Void, unreachable: @escaping @Sendable (NodeID) -> Void,
        refused: @escaping @Sendable (NodeID) -> Void,
        undelivered: @escaping @Sendable ([Message]) -> Void,
        turnedAway: @escaping @Sendable (NodeID, PeerRefusal) -> Void, welcomed: @escaping @Sendable (NodeID) -> Void,
        snapshotProgress: @escaping @Sendable (Int, Int) -> Void,
        snapshotReceived: @escaping @Sendable (SnapshotMark, String, NodeID) throws -> Void,
        signs: @escaping @Sendable (CertificateHolder, CertificateWish) async -> CertificateAnswer? = { _, _ in nil }
    ) {
        self.signs = signs
        self.received = received
        self.unreachable = unreachable
        self.refused = refused
        self.undelivered = undelivered
        self.turnedAway = turnedAway
        self.welcomed = welcomed
        self.snapshotProgress = snapshotProgress
        self.snapshotReceived = snapshotReceived
    }
}

/// Runs work later, away from the event loops, in the order it comes.
package typealias Background = @Sendable (_ work: @escaping @Sendable () -> Void) -> Void

/// Links between members: one connection each way for messages, and one per snapshot. Thread-safe.
package final class Transport: Sendable {
    package let directory: PeerDirectory
    private let group: any EventLoopGroup
    let store: SnapshotStore
    let events: TransportEvents
    let logger: Logger
    /// Runs what reads and writes images, in order.
    let inBackground: Background
    let port: Port
    private let dialer: PeerDialer
    private let tls: PeerTLS?
    /// For what is received of large frames, from all peers together.
    private let budget = MemoryBudget(bytesMax: 64 << 20)
    private let links = Mutex(Links())

    private struct Links {
        var byPeer: [NodeID: PeerLink] = [:]
        var isStopped = false
    }

    package init(
        directory: PeerDirectory, group: any EventLoopGroup, store: SnapshotStore, events: TransportEvents,
        port: Port, tls: PeerTLS? = nil, inBackground: @escaping Background, logger: Logger
    ) {
        self.port = port
        self.tls = tls
        dialer = PeerDialer(names: Dialer(), tls: tls, clusterID: directory.clusterID)
        self.directory = directory
        self.group = group
        self.store = store
        self.events = events
        self.inBackground = inBackground
        self.logger = logger
    }

    /// Inbound connections at once, of strangers and peers.
    private static let connectionsMax = 128

    /// The port that peers come to, still without an address.
    package static func makePort(_ logger: Logger) -> Port {
        Port("peer", Doorman.Limits(guestsMax: connectionsMax, guestsPerAddressMax: connectionsMax / 4), logger)
    }

    /// Begins to take peers.
    package func open() throws {
        try port.open { channel, guest, entrance in
            let reader = FrameReader(budget: self.budget)
            let sync = channel.pipeline.syncOperations
            if entrance == .secure {
                guard let tls = self.tls else { throw TLSError("TLS is not set up") }
                try sync.addHandler(
                    TLSHandler(from: tls.server.current, tls.handshakes) { error in
                        self.port.complain("TLS", of: channel, because: error)
                    })
            }
            try sync.addHandler(reader)
            try sync.addHandler(PeerAcceptor(self, guest, reader))
        }
    }

    /// How callers that come by TLS are judged.
    var callerCheck: CallerCheck { CallerCheck(names: dialer.names.names, identity: tls?.identity ?? .none) }

    /// Keeps a link to each of these peers, and to those who were let in though no configuration here names them.
    /// - Parameters:
    ///   - index: where the newest configuration stands in the log.
    ///   - committed: where the last one stands that is known to be committed.
    package func setPeers(_ addresses: [NodeID: [PeerAddress]], at index: Index, committed: Index) {
        let peers = addresses.filter { $0.key != directory.selfID }
        if directory.setAddresses(peers, at: index, committed: committed) { keepLinks() }
    }

    /// Keeps links to those that this member calls, and to nobody else.
    func keepLinks() {
        links.withLock { links in
            let called = links.isStopped ? [] : directory.called
            for (id, link) in links.byPeer where !called.contains(id) {
                link.stop()
                links.byPeer[id] = nil
            }
            for id in called where links.byPeer[id] == nil { links.byPeer[id] = makeLink(to: id) }
        }
    }

    private func makeLink(to peer: NodeID) -> PeerLink {
        let link = PeerLink(
            peer: peer, directory: directory, dialer: dialer, budget: budget, loop: group.next(), logger: logger,
            events: events)
        link.start()
        return link
    }

    /// The peers that are connected now.
    package var connected: Set<NodeID> {
        links.withLock { links in Set(links.byPeer.filter { $0.value.isOpen.load(ordering: .relaxed) }.keys) }
    }

    /// Sends messages to their addressees, in order; may lose them.
    package func send(_ messages: [Message]) {
        var start = 0
        while start < messages.count {
            // Neighbours to the same peer travel in one frame.
            var end = start + 1
            var cost = messages[start].cost
            while end < messages.count, messages[end].to == messages[start].to, cost < 4 << 20 {
                cost += messages[end].cost
                end += 1
            }
            let portion = Array(messages[start..<end])
            if let link = links.withLock({ $0.byPeer[messages[start].to] }) {
                link.send(portion)
            } else {
                events.undelivered(portion)
            }
            start = end
        }
    }

    /// Asks a peer for a certificate; nil when it gives none.
    package func askForCertificate(_ wish: CertificateWish, of peer: NodeID) async -> CertificateAnswer? {
        await CertificateAsker.ask(peer, for: wish, directory, dialer, budget, on: group.next())
    }

    /// Sends an image; `completion` gets whether the peer has it, verified.
    package func sendSnapshot(
        _ header: SnapshotStore.Header, at path: String, to peer: NodeID,
        completion: @escaping @Sendable (Bool) -> Void
    ) {
        SnapshotSender(
            peer: peer, header: header, path: path, directory: directory, dialer: dialer, budget: budget,
            inBackground: inBackground, completion: completion
        ).start(on: group.next())
    }

    package func stop() {
        // Somebody may be greeted at this moment.
        links.withLock { $0.isStopped = true }
        keepLinks()
        port.close()
    }
}

extension Message {
    /// About the bytes it takes on the wire.
    fileprivate var cost: Int {
        switch body {
        case .append(_, _, let entries, _, _): entries.reduce(64) { $0 + $1.cost }
        case .propose(let proposals, _): proposals.reduce(64) { $0 + $1.payload.count + 16 }
        default: 64
        }
    }
}
