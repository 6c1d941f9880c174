internal import Client
internal import NIOCore
internal import NIOPosix
internal import TLS

/// Asks a member's own secure port if it answers. It stops after the server's first record: this member may lack the client certificate
/// that a whole handshake needs, and the port would log the failure.
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
                    Ear(answer), try TLSHandler(to: door.host, context, protocols: ["h2"]),
                ])
            }
        }.connect(host: door.host, port: door.port).cascadeFailure(to: answer)
        try await answer.futureResult.get()
    }

    /// Hears what comes before it is read.
    private final class Ear: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        private let answer: EventLoopPromise<Void>
        /// A record of TLS begins with its kind: of a handshake, or of an alert (RFC 8446, section 5.1).
        private static let kinds: Set<UInt8> = [22, 21]

        init(_ answer: EventLoopPromise<Void>) {
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let first = Self.unwrapInboundIn(data).readableBytesView.first
            if first.map(Self.kinds.contains) == true {
                answer.succeed()
            } else {
                answer.fail(ChannelError.inappropriateOperationForState)
            }
            context.close(promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            answer.fail(error)
            context.close(promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            answer.fail(ChannelError.ioOnClosedChannel)
        }
    }
}
