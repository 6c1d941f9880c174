package import Logging
package import NIOCore
internal import NIOPosix
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// A port that others connect to: who may stay, and what is said of those who may not. Thread-safe.
package final class Port: Sendable {
    package let doorman: Doorman
    /// Who comes to it, for the log: "client", "peer".
    private let callers: String
    private let logger: Logger
    private let complaints = Complaints()

    package init(_ callers: String, _ limits: Doorman.Limits, _ logger: Logger) {
        self.callers = callers
        self.logger = logger
        doorman = Doorman(limits)
    }

    private struct State {
        var listeners: [any Channel] = []
        var configure: (@Sendable (any Channel, Doorman.Guest, _ isSecure: Bool) throws -> Void)?
    }

    private let state = Mutex(State())

    /// The first address that is bound; of interest after asking for port 0.
    package var localAddress: SocketAddress? { state.withLock { $0.listeners.first?.localAddress } }

    /// Takes an address. Who calls waits until the port is opened. Blocks.
    /// - Parameter isSecure: said of each connection that comes to it.
    package func bind(
        host: String, port: Int, group: any EventLoopGroup, backlog: Int32 = 1024, isSecure: Bool = false
    ) throws {
        let listener: any Channel
        do {
            listener = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: backlog)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.autoRead, value: false)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(AcceptWatch(self))
                    }
                }
                .childChannelOption(.autoRead, value: true)
                .childChannelInitializer { self.receive($0, isSecure: isSecure) }
                .bind(host: host, port: port).wait()
        } catch {
            let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            throw BindFailure(description: "cannot listen for \(callers)s at \(host):\(port): \(reason)")
        }
        state.withLock { $0.listeners.append(listener) }
    }

    /// Lets callers in.
    /// - Parameter configure: sets up a connection that was let in, on its loop.
    package func open(
        _ configure: @escaping @Sendable (any Channel, Doorman.Guest, _ isSecure: Bool) throws -> Void
    ) throws {
        let listeners = state.withLock { state in
            state.configure = configure
            return state.listeners
        }
        for listener in listeners { try listener.setOption(.autoRead, value: true).wait() }
    }

    /// Takes no new connections.
    package func close() {
        for listener in state.withLock({ $0.listeners }) { listener.close(promise: nil) }
    }

    private func receive(_ channel: any Channel, isSecure: Bool) -> EventLoopFuture<Void> {
        guard let configure = state.withLock({ $0.configure }), let guest = doorman.admit(channel) else {
            complain("there are too many", of: channel, because: nil)
            return channel.close()
        }
        do {
            try Self.setOptions(of: channel)
            try configure(channel, guest, isSecure)
            return channel.eventLoop.makeSucceededVoidFuture()
        } catch {
            complain("it cannot be set up", of: channel, because: error)
            return channel.eventLoop.makeFailedFuture(error)
        }
    }

    /// A caller whose machine is gone says nothing: after a minute it counts as gone.
    private static func setOptions(of channel: any Channel) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try options.setOption(.socketOption(.so_keepalive), value: 1)
        try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 30)
        try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
        try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
    }

    /// Says what is wrong with a connection; of each address and reason once a minute.
    package func complain(_ what: String, of channel: (any Channel)?, because error: (any Error)?) {
        let address = channel?.remoteAddress?.ipAddress
        let place = address.map { "\($0):\(channel?.remoteAddress?.port ?? 0)" }
        let reason = error.map { error in
            (error as? IOError).map { ": " + String(cString: strerror($0.errnoCode)) } ?? ": \(error)"
        }
        let kind = "\(what) \(address ?? "") \(reason ?? "")"
        let text = "a \(callers)'s connection\(place.map { " from \($0)" } ?? "") is closed: \(what)\(reason ?? "")"
        if let line = complaints.due(kind, text) { logger.warning("\(line)") }
    }
}

/// Why an address cannot be listened at.
package struct BindFailure: Error, CustomStringConvertible, Sendable {
    package let description: String
}
