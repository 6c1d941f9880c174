#if canImport(Glibc)
    internal import Glibc
#endif
package import Logging
package import NIOCore
internal import Sockets

/// Listens for clients on one address and serves each connection within the limits, HTTP/1.1 and HTTP/2 side by side.
package final class HTTPListener: Sendable {
    private let channel: any Channel
    private let door: Port

    /// The port in use; of interest after asking for port 0.
    package var port: Int? { channel.localAddress?.port }

    /// Begins to listen. Blocks until the address is bound.
    package init(
        host: String, port: Int, service: any HTTPService, limits: HTTPLimits, group: any EventLoopGroup,
        logger: Logger = Logger(label: "http")
    ) throws {
        let turns = LoopTurns()
        // Above the higher mark a writer waits, until what is left is below the lower.
        let marks = ChannelOptions.Types.WriteBufferWaterMark(
            low: limits.streamBytesMax / 4, high: limits.streamBytesMax)
        let guests = Doorman.Limits(
            guestsMax: limits.connectionsMax, guestsPerAddressMax: limits.connectionsPerAddressMax)
        door = Port("client", guests, logger)
        channel = try door.listen(host: host, port: port, group: group) { channel, guest in
            try channel.syncOptions?.setOption(.writeBufferWaterMark, value: marks)
            try channel.pipeline.syncOperations.addHandler(
                ProtocolDetector(
                    service: service, limits: limits, on: turns.pair(for: channel.eventLoop, service), guest))
        }
    }

    package var connectionCount: Int { door.doorman.count }

    /// Takes no new connections.
    package func close() {
        channel.close(promise: nil)
    }

    /// Waits until all connections are closed, or so long. Blocks.
    package func drain(milliseconds: Int) {
        let end = NIODeadline.now() + .milliseconds(Int64(milliseconds))
        while connectionCount > 0, NIODeadline.now() < end { usleep(5000) }
    }

    /// Takes no new connections, closes those without a request, and lets the others end theirs: HTTP/2 connections
    /// are told with GOAWAY, HTTP/1.1 connections are closed after their answer. Returns at once.
    package func shutDown() {
        close()
        for channel in door.doorman.channels { channel.pipeline.fireUserInboundEventTriggered(HTTPShutDown()) }
    }
}
