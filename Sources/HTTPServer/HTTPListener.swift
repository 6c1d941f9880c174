#if canImport(Glibc)
    internal import Glibc
#endif
package import NIOCore
internal import NIOPosix
internal import Synchronization

/// Listens for clients on one address and serves each connection within the limits, HTTP/1.1 and HTTP/2 side by side.
package final class HTTPListener: Sendable {
    private let channel: any Channel
    private let connections: OpenConnections

    /// The port in use; of interest after asking for port 0.
    package var port: Int? { channel.localAddress?.port }

    /// Begins to listen. Blocks until the address is bound.
    package init(
        host: String, port: Int, service: any HTTPService, limits: HTTPLimits, group: any EventLoopGroup
    ) throws {
        let connections = OpenConnections()
        let turns = LoopTurns()
        self.connections = connections
        // Above the higher mark a writer waits, until what is left is below the lower.
        let marks = ChannelOptions.Types.WriteBufferWaterMark(
            low: limits.streamBytesMax / 4, high: limits.streamBytesMax)
        channel = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            // A client whose machine is gone says nothing: after a minute it counts as gone.
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 30)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
            .childChannelOption(.writeBufferWaterMark, value: marks)
            .childChannelInitializer { channel in
                let count = connections.enter(channel)
                channel.closeFuture.whenComplete { _ in connections.leave(channel) }
                guard count <= limits.connectionsMax else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ProtocolDetector(
                            service: service, limits: limits, on: turns.pair(for: channel.eventLoop, service)))
                }
            }
            .bind(host: host, port: port).wait()
    }

    package var connectionCount: Int { connections.count }

    /// Takes no new connections.
    package func close() {
        channel.close(promise: nil)
    }

    /// Waits until all connections are closed, or so long. Blocks.
    package func drain(milliseconds: Int) {
        let end = NIODeadline.now() + .milliseconds(Int64(milliseconds))
        while connections.count > 0, NIODeadline.now() < end { usleep(5000) }
    }

    /// Takes no new connections, closes those without a request, and lets the others end theirs: HTTP/2 connections
    /// are told with GOAWAY, HTTP/1.1 connections are closed after their answer. Returns at once.
    package func shutDown() {
        close()
        for channel in connections.all { channel.pipeline.fireUserInboundEventTriggered(HTTPShutDown()) }
    }
}

private final class OpenConnections: Sendable {
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    /// Returns how many there are with this one.
    func enter(_ channel: any Channel) -> Int {
        channels.withLock {
            $0[ObjectIdentifier(channel)] = channel
            return $0.count
        }
    }

    func leave(_ channel: any Channel) {
        channels.withLock { $0[ObjectIdentifier(channel)] = nil }
    }

    var count: Int { channels.withLock { $0.count } }
    var all: [any Channel] { channels.withLock { Array($0.values) } }
}
