#if canImport(Glibc)
    internal import Glibc
#endif
package import Logging
internal import NIOCore
package import Sockets
package import TLS

/// Serves each connection at a port within the limits, HTTP/1.1 and HTTP/2 side by side.
package final class HTTPListener: Sendable {
    private let doors: [Port]

    /// The port in use; of interest after asking for port 0.
    package var port: Int? { doors.first?.localAddress?.port }

    /// The port that clients come to, still without an address.
    package static func makePort(_ limits: HTTPLimits, _ logger: Logger) -> Port {
        let guests = Doorman.Limits(
            guestsMax: limits.connectionsMax, guestsPerAddressMax: limits.connectionsPerAddressMax)
        return Port("client", guests, logger)
    }

    /// Begins to serve. Blocks until the ports are open.
    /// - Parameter tls: for addresses that are secure.
    package init(at doors: [Port], service: any HTTPService, limits: HTTPLimits, tls: TLSSource? = nil) throws {
        self.doors = doors
        let handshakes = TLSHandshakes()
        let turns = LoopTurns()
        // Above the higher mark a writer waits, until what is left is below the lower.
        let marks = ChannelOptions.Types.WriteBufferWaterMark(
            low: limits.streamBytesMax / 4, high: limits.streamBytesMax)
        for door in doors { try Self.open(door, service, limits, tls, handshakes, turns, marks) }
    }

    private static func open(
        _ door: Port, _ service: any HTTPService, _ limits: HTTPLimits, _ tls: TLSSource?, _ handshakes: TLSHandshakes,
        _ turns: LoopTurns, _ marks: ChannelOptions.Types.WriteBufferWaterMark
    ) throws {
        try door.open { channel, guest, entrance in
            try channel.syncOptions?.setOption(.writeBufferWaterMark, value: marks)
            if entrance == .secure {
                guard let tls else { throw TLSError("TLS is not set up") }
                let handler = try TLSHandler(from: tls.current, handshakes) { error in
                    door.complain("TLS", of: channel, because: error)
                }
                try channel.pipeline.syncOperations.addHandler(handler)
            }
            try channel.pipeline.syncOperations.addHandler(
                ProtocolDetector(
                    service: service, limits: limits.at(entrance), on: turns.pair(for: channel.eventLoop, service),
                    guest))
        }
    }

    package var connectionCount: Int { doors.reduce(0) { $0 + $1.doorman.count } }

    /// Waits until all connections are closed, or so long. Blocks.
    package func drain(milliseconds: Int) {
        let end = NIODeadline.now() + .milliseconds(Int64(milliseconds))
        while connectionCount > 0, NIODeadline.now() < end { usleep(5000) }
    }

    /// Takes no new connections, closes those without a request, and lets the others end theirs: HTTP/2 connections
    /// are told with GOAWAY, HTTP/1.1 connections are closed after their answer. Returns at once.
    package func shutDown() {
        for door in doors { door.close() }
        for channel in doors.flatMap(\.doorman.channels) {
            channel.pipeline.fireUserInboundEventTriggered(HTTPShutDown())
        }
    }
}
