internal import NIOCore
internal import NIOPosix
internal import Replication
internal import Server
internal import TLS

/// Asks a member's own secure port if it answers: as far as TLS, for what it asks of its clients' certificates is not this member's
/// to have.
enum SecureKnock {
    /// Returns when somebody there speaks TLS. Blocks.
    static func await(_ host: String, _ port: Int, group: any EventLoopGroup, _ nanoseconds: UInt64) throws {
        var settings = TLSSettings()
        settings.trustsAnybody = true
        let context: TLSContext
        do throws(TLSError) { context = try TLSContext(settings, .client) } catch {
            throw Problem(.failed, error.description)
        }
        let end = monotonicNanoseconds() + nanoseconds
        while true {
            let answer = group.next().makePromise(of: Void.self)
            ClientBootstrap(group: group).connectTimeout(.seconds(1)).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        try TLSHandler(to: host, context, protocols: ["h2"]), Ear(answer),
                    ])
                }
            }.connect(host: host, port: port).cascadeFailure(to: answer)
            do { return try answer.futureResult.wait() } catch {
                guard monotonicNanoseconds() < end else {
                    throw Problem(.failed, "this member does not answer at its own port: \(error)")
                }
            }
        }
    }

    /// Hears that hands were shaken, or that they were refused: either comes from who is meant.
    private final class Ear: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        private let answer: EventLoopPromise<Void>

        init(_ answer: EventLoopPromise<Void>) {
            self.answer = answer
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard event is TLSEstablished else { return }
            answer.succeed()
            context.close(promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if error is TLSError { answer.succeed() } else { answer.fail(error) }
            context.close(promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            answer.fail(ChannelError.ioOnClosedChannel)
        }
    }
}
