internal import NIOCore
package import Raft
internal import Storage
internal import Synchronization

/// Who may talk to this member, and where the others are. Shared by all threads.
package final class PeerDirectory: Sendable {
    private struct State {
        var addresses: [NodeID: [PeerAddress]] = [:]
        /// Where members of the configuration say that they are, beside what that has.
        var announced: [NodeID: [PeerAddress]] = [:]
        /// Where other members say that members of the configuration are: one that moved is known first to those it called.
        var told: [NodeID: [PeerAddress]] = [:]
        /// Where a member was reached last.
        var reached: [NodeID: PeerAddress] = [:]
        /// Who called with a newer configuration that names them.
        var vouched: [NodeID: Caller] = [:]
        var removed: Set<NodeID> = []
        /// Who has taken part in the fabric, as far as is applied here.
        var started: Set<NodeID> = []
        /// Where the newest configuration that is known here stands in the log, and the last one that is known to be committed.
        var configurationIndex: Index = 0
        var committedIndex: Index = 0
        var version: UInt64 = 1
        /// This member began with nothing, and nobody has confirmed yet that this is right.
        var isUnconfirmed = false
        /// Who has let this member in since it began.
        var welcomed: Set<NodeID> = []
        /// Open connections by who is at the other end, oldest first.
        var inbound: [NodeID: [any Channel]] = [:]

        /// Whom to call.
        var called: Set<NodeID> { Set(addresses.keys).union(vouched.keys) }

        /// Makes room for a caller from `host`: of those of the same host, or of all, one goes that hung up, or whose time is over.
        /// Answers its connections; nil when there is no room.
        mutating func makeRoom(for host: String) -> [any Channel]? {
            let neighbours = vouched.filter { $0.value.host == host }
            let isCrowded = neighbours.count >= PeerDirectory.vouchedPerHostMax
            guard isCrowded || vouched.count >= PeerDirectory.vouchedMax else { return [] }
            let now = NIODeadline.now()
            let gone = (isCrowded ? neighbours : vouched).filter { inbound[$0.key] == nil || $0.value.until <= now }
                .min { $0.value.until < $1.value.until }
            guard let gone else { return nil }
            vouched[gone.key] = nil
            return inbound[gone.key] ?? []
        }
    }

    /// What becomes of a caller that was let in.
    enum Announcement: Equatable {
        /// It is called back from now on.
        case newcomer
        /// As before.
        case known
        /// There are too many: it could be heard, and would never be answered.
        case surplus
    }

    /// A peer that no configuration here names.
    private struct Caller {
        /// Whence it called.
        var host: String
        /// Where it says that it is.
        var addresses: [PeerAddress]
        /// Until when it is called back.
        var until: NIODeadline
    }

    /// Of one peer: for messages and for a snapshot.
    private static let inboundMax = 2
    /// Peers that no configuration here names, in all and from one host, and how long after they called they are still called back.
    /// Anybody can make such up: those of one host keep no others out.
    private static let vouchedMax = 32
    private static let vouchedPerHostMax = 4
    private static let vouchedFor = TimeAmount.minutes(10)

    package let clusterID: UInt64
    package let selfID: NodeID
    /// Versions of a fabric that this release can be part of.
    package let versions: ClosedRange<UInt64>
    /// Where this member is reached.
    package let ownURLs: [String]
    private let state = Mutex(State())

    package init(clusterID: UInt64, selfID: NodeID, versions: ClosedRange<UInt64>, ownURLs: [String] = []) {
        self.clusterID = clusterID
        self.selfID = selfID
        self.versions = versions
        self.ownURLs = ownURLs
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

    /// Notes the fabric's version, as far as is applied here.
    package func setVersion(_ version: UInt64) {
        state.withLock { $0.version = version }
    }

    package var isUnconfirmed: Bool { state.withLock { $0.isUnconfirmed } }
    var version: UInt64 { state.withLock { $0.version } }

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
            channel.writeAndFlush(FrameReader.bytes(of: .refused(.removed)))
                .whenComplete { _ in channel.close(promise: nil) }
        }
    }

    /// If a member of this id was taken out.
    package func wasRemoved(_ id: NodeID) -> Bool { state.withLock { $0.removed.contains(id) } }

    /// Keeps track of a peer's connection while it is open. Of too many the oldest is closed.
    func track(_ channel: any Channel, from id: NodeID) {
        let surplus: (any Channel)? = state.withLock { state in
            state.inbound[id, default: []].append(channel)
            return state.inbound[id, default: []].count > Self.inboundMax ? state.inbound[id]?.removeFirst() : nil
        }
        surplus?.close(promise: nil)
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                state.inbound[id]?.removeAll { $0 === channel }
                if state.inbound[id]?.isEmpty == true { state.inbound[id] = nil }
            }
        }
    }

    /// Whom to call.
    var called: Set<NodeID> { state.withLock { $0.called } }

    /// Takes up where members are, by the configuration that stands at `index`. Answers if this calls for other links than before.
    func setAddresses(_ addresses: [NodeID: [PeerAddress]], at index: Index, committed: Index) -> Bool {
        state.withLock { state in
            let before = state.called
            state.addresses = addresses
            state.configurationIndex = index
            state.committedIndex = committed
            let now = NIODeadline.now()
            for (id, caller) in state.vouched where addresses[id] != nil { state.announced[id] = caller.addresses }
            state.announced = state.announced.filter { addresses[$0.key] != nil }
            state.told = state.told.filter { addresses[$0.key] != nil }
            // Whoever hung up is forgotten when its time is over.
            state.vouched = state.vouched.filter { id, caller in
                addresses[id] == nil && (caller.until > now || state.inbound[id] != nil)
            }
            return state.called != before
        }
    }

    /// Where a member may be reached, the most likely first.
    func addresses(of id: NodeID) -> [PeerAddress] {
        state.withLock { state in
            let known = [state.reached[id]].compactMap(\.self) + (state.addresses[id] ?? [])
            let said = (state.announced[id] ?? state.vouched[id]?.addresses ?? []) + (state.told[id] ?? [])
            let all = known + said.filter { !known.contains($0) }
            // Where it is reached by TLS nobody brings this member to call it in clear text.
            let isSecure = state.addresses[id]?.contains(where: \.isSecure) ?? false
            return isSecure ? all.filter(\.isSecure) : all
        }
    }

    /// Of one member, told by others.
    private static let toldMax = 4

    /// Takes up where another member says that the others are. Who they are is proved by themselves.
    func note(told others: [PeerHint]) {
        state.withLock { state in
            for other in others where other.id != selfID && state.addresses[other.id] != nil {
                guard let address = PeerAddress(url: other.url) else { continue }
                let known = (state.told[other.id] ?? []).filter { $0 != address }
                state.told[other.id] = [address] + known.prefix(Self.toldMax - 1)
            }
        }
    }

    /// Where the others are, for a member that calls: first where they say themselves that they are.
    func whereabouts(for caller: NodeID) -> [PeerHint] {
        state.withLock { state in
            let others = state.addresses.keys.filter { $0 != caller }.sorted()
            return others.flatMap { id in
                (state.announced[id] ?? state.addresses[id] ?? []).map { PeerHint(id: id, url: $0.description) }
            }
        }
    }

    /// Notes where a member answers; nil when it does so no longer.
    func setReached(_ id: NodeID, at address: PeerAddress?) {
        state.withLock { $0.reached[id] = address }
    }

    // MARK: - Greetings

    /// How this member introduces itself.
    func hello(to peer: NodeID, for purpose: PeerHello.Purpose) -> PeerHello {
        state.withLock { state in
            PeerHello(
                versions: versions, clusterID: clusterID, from: selfID, to: peer, isUnconfirmed: state.isUnconfirmed,
                purpose: purpose, configurationIndex: state.configurationIndex, peerURLs: ownURLs)
        }
    }

    /// Why a connection that introduces itself so is refused, if it is.
    func refusal(of hello: PeerHello) -> PeerRefusal? {
        if hello.clusterID != clusterID { return .wrongCluster }
        if hello.to != selfID { return .wrongMember }
        return state.withLock { state in
            if state.version > hello.versions.upperBound { return .oldRelease }
            if state.version < hello.versions.lowerBound { return .newRelease }
            if state.removed.contains(hello.from) { return .removed }
            if hello.isUnconfirmed, state.started.contains(hello.from) { return .forgotten }
            // A newer configuration than the one here may name it: a member that was down while others joined hears nothing from
            // anybody else when one of those leads. What is not committed here may come to nothing, however far it goes.
            let mayBeNew = hello.configurationIndex > state.committedIndex && !hello.peerURLs.isEmpty
            return state.addresses[hello.from] == nil && !mayBeNew ? .unknown : nil
        }
    }

    /// Takes up where a member that was let in says that it is.
    /// - Parameter host: whence it called.
    func noteAnnouncement(_ hello: PeerHello, from host: String) -> Announcement {
        let addresses = hello.peerURLs.compactMap(PeerAddress.init(url:))
        let (announcement, displaced) = state.withLock { state -> (Announcement, [any Channel]) in
            if state.addresses[hello.from] != nil {
                state.announced[hello.from] = addresses
                return (.known, [])
            }
            let isNew = state.vouched[hello.from] == nil
            guard let displaced = isNew ? state.makeRoom(for: host) : [] else { return (.surplus, []) }
            state.vouched[hello.from] = Caller(host: host, addresses: addresses, until: .now() + Self.vouchedFor)
            return (isNew ? .newcomer : .known, displaced)
        }
        for channel in displaced { channel.close(promise: nil) }
        return announcement
    }
}

/// Host and port of a member's peer listener.
package struct PeerAddress: Equatable, CustomStringConvertible, Sendable {
    package var host: String
    package var port: Int
    /// If it is reached by TLS.
    package var isSecure: Bool

    package init(host: String, port: Int, isSecure: Bool = false) {
        self.host = host
        self.port = port
        self.isSecure = isSecure
    }

    package var description: String {
        "\(isSecure ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}
