package import Logging
package import NIOCore
package import NIOPosix
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

    /// Begins to listen; blocks until the address is bound.
    /// - Parameter configure: sets up a connection that was let in, on its loop.
    package func listen(
        host: String, port: Int, group: any EventLoopGroup, backlog: Int32 = 1024,
        configure: @escaping @Sendable (any Channel, Doorman.Guest) throws -> Void
    ) throws -> any Channel {
        try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptWatch(self))
                }
            }
            .childChannelInitializer { channel in
                guard let guest = self.doorman.admit(channel) else {
                    self.complain("there are too many", of: channel, because: nil)
                    return channel.close()
                }
                do {
                    try Self.setOptions(of: channel)
                    try configure(channel, guest)
                    return channel.eventLoop.makeSucceededVoidFuture()
                } catch {
                    self.complain("it cannot be set up", of: channel, because: error)
                    return channel.eventLoop.makeFailedFuture(error)
                }
            }
            .bind(host: host, port: port).wait()
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
