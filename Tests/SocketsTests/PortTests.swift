import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import Sockets

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct PortTests {
    private final class Reads: ChannelOutboundHandler {
        typealias OutboundIn = Never
        var count = 0

        func read(context: ChannelHandlerContext) { count += 1 }
    }

    @Test("A listener that gets nothing but aborted connections takes a rest, one that gets some among others does not")
    func abortedConnections() throws {
        let port = Port(
            "test", Doorman.Limits(guestsMax: 9, guestsPerAddressMax: 9),
            Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let reads = Reads()
        let listener = EmbeddedChannel(handlers: [reads, AcceptWatch(port)])
        for number in 0..<100 {
            if number % 10 == 0 { try listener.writeInbound(EmbeddedChannel() as any Channel) }
            listener.pipeline.fireErrorCaught(IOError(errnoCode: ECONNABORTED, reason: "accept"))
        }
        listener.read()
        #expect(reads.count == 1)
        for _ in 0..<20 { listener.pipeline.fireErrorCaught(IOError(errnoCode: ECONNABORTED, reason: "accept")) }
        listener.read()
        #expect(reads.count == 1)
    }

    @Test("This machine has its reserve also when it comes to a socket for both versions of IP")
    func mappedLoopback() throws {
        var limits = Doorman.Limits(guestsMax: 1, guestsPerAddressMax: 9)
        limits.loopbackReserve = 1
        let doorman = Doorman(limits)
        func admit(_ address: String) throws -> Doorman.Guest? {
            let channel = EmbeddedChannel()
            try channel.connect(to: SocketAddress(ipAddress: address, port: 9)).wait()
            let guest = doorman.admit(channel)
            guest?.setIdle(false)
            return guest
        }
        #expect(try admit("::ffff:10.0.0.1") != nil)
        #expect(try admit("10.0.0.2") == nil)
        #expect(try admit("::ffff:127.0.0.1") != nil)
        #expect(try admit("127.0.0.1") == nil)
    }
}
