package import Raft
internal import NIOCore
internal import Synchronization

/// Who may talk to this member, and where the others are. Shared by all threads.
package final class PeerDirectory: Sendable {
    private struct State {
        var addresses: [NodeID: PeerAddress] = [:]
        var removed: Set<NodeID> = []
        /// Who has taken part in the fabric, as far as is applied here.
        var started: Set<NodeID> = []
        /// This member began with nothing, and nobody has confirmed yet that this is right.
        var isUnconfirmed = false
        /// Who has let this member in since it began.
        var welcomed: Set<NodeID> = []
        /// Open connections by who is at the other end.
        var inbound: [NodeID: [any Channel]] = [:]
    }

    package let clusterID: UInt64
    package let selfID: NodeID
    private let state = Mutex(State())

    package init(clusterID: UInt64, selfID: NodeID) {
        self.clusterID = clusterID
        self.selfID = selfID
    }

    /// A founder with an empty log is either new or has lost its disk, and with it its votes and what it acknowledged.
    /// Those who know that it took part before refuse it; until somebody lets it in it hears nothing from them.
    package func setUnconfirmed() {
        state.withLock { $0.isUnconfirmed = true }
    }

    /// This member has applied, and so has on disk, what others sent it.
    package func confirm() {
        state.withLock { $0.isUnconfirmed = false }
    }

    /// Notes who takes part.
    package func setStarted(_ ids: [NodeID]) {
        state.withLock { $0.started = Set(ids) }
    }

    package var isUnconfirmed: Bool { state.withLock { $0.isUnconfirmed } }

    func noteWelcome(by id: NodeID) {
        _ = state.withLock { $0.welcomed.insert(id) }
    }

    func mayHear(_ id: NodeID) -> Bool {
        state.withLock { !$0.isUnconfirmed || $0.welcomed.contains(id) }
    }

    /// Notes who was removed, and tells those who are connected: nobody else would.
    package func setRemoved(_ ids: [NodeID]) {
        let channels = state.withLock { state in
            let fresh = ids.filter { !state.removed.contains($0) }
            state.removed = Set(ids)
            return fresh.flatMap { state.inbound[$0] ?? [] }
        }
        for channel in channels {
            channel.writeAndFlush(FrameDecoder.bytes(of: .refused(.removed)))
                .whenComplete { _ in channel.close(promise: nil) }
        }
    }

    /// Keeps track of a peer's connection while it is open.
    func track(_ channel: any Channel, from id: NodeID) {
        state.withLock { $0.inbound[id, default: []].append(channel) }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { $0.inbound[id]?.removeAll { $0 === channel } }
        }
    }

    /// Answers if anything changed.
    func setAddresses(_ addresses: [NodeID: PeerAddress]) -> Bool {
        state.withLock { state in
            defer { state.addresses = addresses }
            return state.addresses != addresses
        }
    }

    func address(of id: NodeID) -> PeerAddress? {
        state.withLock { $0.addresses[id] }
    }

    /// Why a connection that introduces itself so is refused, if it is.
    func refusal(clusterID: UInt64, from: NodeID, to: NodeID, isUnconfirmed: Bool) -> PeerRefusal? {
        if clusterID != self.clusterID { return .wrongCluster }
        if to != selfID { return .wrongMember }
        return state.withLock { state in
            if state.removed.contains(from) { return .removed }
            if isUnconfirmed, state.started.contains(from) { return .forgotten }
            return state.addresses[from] == nil ? .unknown : nil
        }
    }
}

/// Host and port of a member's peer listener.
package struct PeerAddress: Equatable, Sendable {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }
}
