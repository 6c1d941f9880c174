internal import Client
internal import NIOCore
internal import NIOPosix
internal import TLS

/// Asks a member's own secure port if it answers: as far as TLS, for what it asks of its clients' certificates is not this member's
/// to have.
enum SecureKnock {
    /// Returns when the one who answers there speaks TLS.
    static func knock(at door: Endpoint, group: any EventLoopGroup) async throws {
        var settings = TLSSettings()
        settings.trustsAnybody = true
        let context = try TLSContext(settings, .client)
        let answer = group.next().makePromise(of: Void.self)
        ClientBootstrap(group: group).connectTimeout(.seconds(1)).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers([
                    try TLSHandler(to: door.host, context, protocols: ["h2"]), Ear(answer),
                ])
            }
        }.connect(host: door.host, port: door.port).cascadeFailure(to: answer)
        try await answer.futureResult.get()
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
