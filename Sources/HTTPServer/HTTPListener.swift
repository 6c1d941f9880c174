package import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization

/// Listens for clients on one address and serves each connection within the limits.
package final class HTTPListener: Sendable {
    private let channel: any Channel
    private let connections: ConnectionCount

    /// The port in use; of interest after asking for port 0.
    package var port: Int? { channel.localAddress?.port }

    /// Begins to listen. Blocks until the address is bound.
    package init(
        host: String, port: Int, service: any HTTPService, limits: HTTPLimits, group: any EventLoopGroup
    ) throws {
        let connections = ConnectionCount()
        self.connections = connections
        channel = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                let count = connections.enter()
                channel.closeFuture.whenComplete { _ in connections.leave() }
                guard count <= limits.connectionsMax else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture {
                    let handlers = channel.pipeline.syncOperations
                    try handlers.addHandler(HTTPResponseEncoder())
                    try handlers.addHandler(
                        ByteToMessageHandler(
                            HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes),
                            maximumBufferSize: limits.bodyBytesMax + limits.headerBytesMax))
                    try handlers.addHandler(
                        ConnectionHandler(
                            service: service, limits: limits, executor: EventLoopExecutor(channel.eventLoop)))
                }
            }
            .bind(host: host, port: port).wait()
    }

    package var connectionCount: Int { connections.value }

    /// Takes no new connections.
    package func close() {
        channel.close(promise: nil)
    }
}

private final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)

    func enter() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
    func leave() { count.wrappingSubtract(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
}
