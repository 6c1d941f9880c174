package import Bytes
internal import NIOCore
package import Raft

/// Messages as the bytes that travel, for those who want to see what becomes of damaged ones.
package enum MessageFrame {
    package static func bytes(of messages: [Message]) -> [UInt8] {
        Array(FrameReader.bytes(of: .messages(messages)).readableBytesView)
    }

    /// Takes what a frame holds, of whatever kind, once its checksum was right; answers it as bytes again.
    package static func reencoded(payload: [UInt8]) throws(DecodingFault) -> [UInt8] {
        try PeerFrame(decoding: payload).encoded()
    }

    /// What a receiver takes from `bytes`: nothing from a frame that is not whole.
    package static func messages(in bytes: [UInt8]) throws(DecodingFault) -> [Message] {
        var buffer = ByteBuffer(bytes: bytes)
        guard case .messages(let messages)? = try FrameReader.next(in: &buffer, bytesMax: PeerFrame.bytesMax) else {
            return []
        }
        return messages
    }
}

/// Takes frames from a connection: length, CRC-32C, payload. A frame that is too long, damaged or not whole in time closes it.
/// Only on the connection's event loop.
final class FrameReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = PeerFrame

    private static let headerBytes = 8
    /// How long a frame that has begun to come may take, and again each time this much of it came meanwhile.
    private static let patience = TimeAmount.seconds(30)
    private static let progressBytes = 256 << 10
    /// What is held of a frame beyond that counts in the budget.
    private static let freeBytes = 64 << 10

    /// Longest frame that is accepted now.
    var bytesMax = PeerFrame.greetingBytesMax
    private let budget: MemoryBudget
    private var pending = ByteBuffer()
    private var counted = 0
    private var timer: Scheduled<Void>?

    /// - Parameter budget: for what is received of large frames.
    init(budget: MemoryBudget) {
        self.budget = budget
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        if pending.readableBytes == 0 { pending = bytes } else { pending.writeBuffer(&bytes) }
        do {
            while let frame = try Self.next(in: &pending, bytesMax: bytesMax) {
                timer?.cancel()
                timer = nil
                context.fireChannelRead(Self.wrapInboundOut(frame))
            }
        } catch {
            return context.fireErrorCaught(error)
        }
        if pending.readableBytes == 0 { pending = ByteBuffer() }
        guard count(max(pending.readableBytes - Self.freeBytes, 0)) else {
            return context.fireErrorCaught(FrameFault.noMemory)
        }
        if pending.readableBytes > 0, timer == nil { expectMore(context) }
    }

    private func expectMore(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let before = pending.readableBytes
        timer = context.eventLoop.scheduleTask(in: Self.patience) {
            let (reader, context) = bound.value
            guard reader.pending.readableBytes >= before + Self.progressBytes else {
                context.fireErrorCaught(FrameFault.tooSlow)
                return
            }
            reader.expectMore(context)
        }
    }

    private func count(_ bytes: Int) -> Bool {
        if bytes > counted, !budget.take(bytes - counted) { return false }
        if bytes < counted { budget.give(counted - bytes) }
        counted = bytes
        return true
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        timer?.cancel()
        timer = nil
        pending = ByteBuffer()
        _ = count(0)
    }

    /// The first frame of `buffer`; nil while it is not whole.
    static func next(in buffer: inout ByteBuffer, bytesMax: Int) throws(DecodingFault) -> PeerFrame? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        guard length <= bytesMax else { throw DecodingFault.invalid("frame of \(length) bytes") }
        guard let checksum = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt32.self),
            buffer.readableBytes >= headerBytes + Int(length)
        else { return nil }
        buffer.moveReaderIndex(forwardBy: headerBytes)
        let payload = buffer.readBytes(length: Int(length)) ?? []
        guard CRC32C.of(payload) == checksum else { throw DecodingFault.invalid("frame checksum") }
        return try PeerFrame(decoding: payload)
    }

    /// A frame as the bytes to write.
    static func bytes(of frame: PeerFrame) -> ByteBuffer {
        let payload = frame.encoded()
        var buffer = ByteBufferAllocator().buffer(capacity: headerBytes + payload.count)
        buffer.writeInteger(UInt32(payload.count))
        buffer.writeInteger(CRC32C.of(payload))
        buffer.writeBytes(payload)
        return buffer
    }
}

/// Why a connection is closed whose bytes may be all right.
enum FrameFault: Error, CustomStringConvertible {
    case noMemory
    case tooSlow

    var description: String {
        switch self {
        case .noMemory: "too much of large frames is being received at once"
        case .tooSlow: "a frame did not come whole in time"
        }
    }
}
