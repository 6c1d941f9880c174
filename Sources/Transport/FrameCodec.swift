internal import Bytes
internal import NIOCore

/// Frames on a connection: length, CRC-32C, payload. A frame that is too long or damaged closes the connection.
struct FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = PeerFrame

    private static let headerBytes = 8

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self),
            let checksum = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt32.self)
        else { return .needMoreData }
        guard length <= PeerFrame.bytesMax else { throw DecodingFault.invalid("frame of \(length) bytes") }
        guard buffer.readableBytes >= Self.headerBytes + Int(length) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: Self.headerBytes)
        let payload = buffer.readBytes(length: Int(length)) ?? []
        guard CRC32C.of(payload) == checksum else { throw DecodingFault.invalid("frame checksum") }
        context.fireChannelRead(Self.wrapInboundOut(try PeerFrame(decoding: payload)))
        return .continue
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
