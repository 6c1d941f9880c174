package import Bytes
internal import NIOCore
package import Raft

/// Messages as the bytes that travel, for those who want to see what becomes of damaged ones.
package enum MessageFrame {
    package static func bytes(of messages: [Message]) -> [UInt8] {
        Array(FrameDecoder.bytes(of: .messages(messages)).readableBytesView)
    }

    /// Takes what a frame holds, of whatever kind, once its checksum was right; answers it as bytes again.
    package static func reencoded(payload: [UInt8]) throws(DecodingFault) -> [UInt8] {
        try PeerFrame(decoding: payload).encoded()
    }

    /// What a receiver takes from `bytes`: nothing from a frame that is not whole.
    package static func messages(in bytes: [UInt8]) throws(DecodingFault) -> [Message] {
        var buffer = ByteBuffer(bytes: bytes)
        guard case .messages(let messages)? = try FrameDecoder.next(in: &buffer) else { return [] }
        return messages
    }
}

/// Frames on a connection: length, CRC-32C, payload. A frame that is too long or damaged closes the connection.
struct FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = PeerFrame

    private static let headerBytes = 8

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let frame = try Self.next(in: &buffer) else { return .needMoreData }
        context.fireChannelRead(Self.wrapInboundOut(frame))
        return .continue
    }

    /// The first frame of `buffer`; nil while it is not whole.
    static func next(in buffer: inout ByteBuffer) throws(DecodingFault) -> PeerFrame? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self),
            let checksum = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt32.self)
        else { return nil }
        guard length <= PeerFrame.bytesMax else { throw DecodingFault.invalid("frame of \(length) bytes") }
        guard buffer.readableBytes >= Self.headerBytes + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: Self.headerBytes)
        let payload = buffer.readBytes(length: Int(length)) ?? []
        guard CRC32C.of(payload) == checksum else { throw DecodingFault.invalid("frame checksum") }
        return try PeerFrame(decoding: payload)
    }

    mutating func decodeLast(
        context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool
    ) throws -> DecodingState {
        .needMoreData
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
