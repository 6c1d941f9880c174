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

    /// How callers come to an address.
    package enum Entrance: Sendable {
        case clear, secure
        /// By a socket in the file system. Its permissions say who may.
        case local
    }

    private struct State {
        var listeners: [any Channel] = []
        var socketFile: SocketFile.Identity?
        var configure: (@Sendable (any Channel, Doorman.Guest, Entrance) throws -> Void)?
    }

    private let state = Mutex(State())

    /// The first address that is bound; of interest after asking for port 0.
    package var localAddress: SocketAddress? { state.withLock { $0.listeners.first?.localAddress } }

    /// Takes an address. Who calls waits until the port is opened. Blocks.
    package func bind(
        host: String, port: Int, group: any EventLoopGroup, backlog: Int32 = 1024, isSecure: Bool = false
    ) throws {
        try listen(at: "\(host):\(port)", isSecure ? .secure : .clear, group, backlog) { bootstrap in
            try bootstrap.serverChannelOption(.socketOption(.so_reuseaddr), value: 1).bind(host: host, port: port)
                .wait()
        }
    }

    /// Takes a path in the file system, for the owner and the group of this process. What another process left there goes. Blocks.
    package func bind(path: String, group: any EventLoopGroup) throws {
        try SocketFile.clear(path)
        try listen(at: path, .local, group, 128) { bootstrap in
            // The mode is right from the start: nobody can put another file in its place before it is set.
            let before = umask(0o117)
            defer { umask(before) }
            return try bootstrap.bind(unixDomainSocketPath: path).wait()
        }
        let file = SocketFile.identity(of: path)
        state.withLock { $0.socketFile = file }
    }

    private func listen(
        at place: String, _ entrance: Entrance, _ group: any EventLoopGroup, _ backlog: Int32,
        _ bind: (ServerBootstrap) throws -> any Channel
    ) throws {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.autoRead, value: false)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptWatch(self))
                }
            }
            .childChannelOption(.autoRead, value: true)
            .childChannelInitializer { self.receive($0, by: entrance) }
        do {
            let listener = try bind(bootstrap)
            state.withLock { $0.listeners.append(listener) }
        } catch {
            let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            throw BindFailure(description: "cannot listen for \(callers)s at \(place): \(reason)")
        }
    }

    /// Lets callers in.
    /// - Parameter configure: sets up a connection that was let in, on its loop.
    package func open(
        _ configure: @escaping @Sendable (any Channel, Doorman.Guest, Entrance) throws -> Void
    ) throws {
        let listeners = state.withLock { state in
            state.configure = configure
            return state.listeners
        }
        for listener in listeners { try listener.setOption(.autoRead, value: true).wait() }
    }

    /// Takes no new connections.
    package func close() {
        let (listeners, file) = state.withLock { ($0.listeners, $0.socketFile) }
        for listener in listeners {
            // Another process may have its own there by now.
            if let path = listener.localAddress?.pathname, file != nil, SocketFile.identity(of: path) == file {
                unlink(path)
            }
            listener.close(promise: nil)
        }
    }

    private func receive(_ channel: any Channel, by entrance: Entrance) -> EventLoopFuture<Void> {
        guard let configure = state.withLock({ $0.configure }), let guest = doorman.admit(channel) else {
            complain("there are too many", of: channel, because: nil)
            return channel.close()
        }
        do {
            if entrance != .local { try Self.setOptions(of: channel) }
            try configure(channel, guest, entrance)
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
