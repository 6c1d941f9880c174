internal import Logging
package import NIOCore
#if canImport(Glibc)
    internal import Glibc
#endif

/// The first handler of a listener: says why connections cannot be taken, and takes none for a while when there is no room, or when
/// too many wait to be turned away.
package final class AcceptWatch: ChannelDuplexHandler {
    package typealias InboundIn = any Channel
    package typealias InboundOut = any Channel
    package typealias OutboundIn = Never

    private static let rest = TimeAmount.milliseconds(20)
    private static let restWithoutRoom = TimeAmount.seconds(1)

    private let port: Port
    private var restUntil = NIODeadline.uptimeNanoseconds(0)
    private var nextRead: Scheduled<Void>?
    /// Connections in a row that were gone before they could be taken, or that the kernel keeps back.
    private var abortedCount = 0
    private static let abortedMax = 16

    package init(_ port: Port) {
        self.port = port
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        abortedCount = 0
        port.doorman.noteArrival(Self.unwrapInboundIn(data))
        context.fireChannelRead(data)
    }

    package func read(context: ChannelHandlerContext) {
        guard nextRead == nil else { return }
        let now = NIODeadline.now()
        guard port.doorman.isCrowded || restUntil > now else { return context.read() }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        nextRead = context.eventLoop.scheduleTask(deadline: max(restUntil, now + Self.rest)) {
            let (handler, context) = bound.value
            handler.nextRead = nil
            handler.read(context: context)
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        nextRead?.cancel()
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let code = (error as? IOError)?.errnoCode ?? 0
        if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) { restUntil = .now() + Self.restWithoutRoom }
        // Its own kernel told it of a client that had gone before it was taken. When nothing else comes it is no client's doing.
        abortedCount = code == ECONNABORTED ? abortedCount + 1 : 0
        let isStuck = abortedCount > Self.abortedMax
        if isStuck { restUntil = .now() + Self.restWithoutRoom }
        if code != ECONNABORTED || isStuck { port.complain("it cannot be taken", of: nil, because: error) }
    }
}
