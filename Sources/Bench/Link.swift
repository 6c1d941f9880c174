internal import Client
internal import NIOCore
internal import TLS

/// A connection to one of the members, made again when it is lost, to the next member then. Only on its event loop.
final class Link: @unchecked Sendable {
    private static let patience = TimeAmount.milliseconds(20)

    private let encoding: Encoding
    private let endpoints: [Endpoint]
    private let tls: TLSContext?
    private let loop: any EventLoop
    private var place: Int
    private var isConnecting = false
    private(set) var caller: Caller

    private init(
        _ caller: Caller, _ encoding: Encoding, _ endpoints: [Endpoint], _ tls: TLSContext?, place: Int,
        loop: any EventLoop
    ) {
        self.caller = caller
        self.encoding = encoding
        self.endpoints = endpoints
        self.tls = tls
        self.place = place
        self.loop = loop
    }

    static func connect(
        _ encoding: Encoding, to endpoints: [Endpoint], _ tls: TLSContext?, place: Int, on loop: any EventLoop
    ) -> EventLoopFuture<Link> {
        Caller.connect(encoding, to: endpoints[place % endpoints.count], tls, on: loop).map { caller in
            Link(caller.value, encoding, endpoints, tls, place: place, loop: loop)
        }
    }

    /// Whether requests can be made; when not, sees to it that they can be again.
    func isUsable() -> Bool {
        if caller.isActive { return true }
        reconnect()
        return false
    }

    private func reconnect() {
        if isConnecting { return }
        isConnecting = true
        place += 1
        Caller.connect(encoding, to: endpoints[place % endpoints.count], tls, on: loop).whenComplete { result in
            switch result {
            case .success(let caller):
                self.caller = caller.value
                self.isConnecting = false
            case .failure:
                self.loop.scheduleTask(in: Self.patience) {
                    self.isConnecting = false
                    self.reconnect()
                }
            }
        }
    }
}
