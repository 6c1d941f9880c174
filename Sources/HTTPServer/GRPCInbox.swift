/// The messages of one gRPC call as they arrive: each with a prefix of five bytes, in any pieces, perhaps compressed.
struct GRPCInbox {
    private static let prefixBytes = 5

    private let messageBytesMax: Int
    private let isGzip: Bool
    private var bytes: [UInt8] = []
    /// What was taken from the front of `bytes`.
    private var start = 0

    /// - Parameter encoding: the request's grpc-encoding.
    /// - Throws: when the encoding is not known here.
    init(encoding: String?, messageBytesMax: Int) throws(GRPCStatus) {
        switch encoding {
        case nil, "identity": isGzip = false
        case "gzip": isGzip = true
        case .some(let other):
            throw GRPCStatus(
                code: 12, message: "grpc: Decompressor is not installed for grpc-encoding \"\(other)\"")
        }
        self.messageBytesMax = messageBytesMax
    }

    /// Bytes that wait here.
    var count: Int { bytes.count - start }

    mutating func append(_ piece: UnsafeRawBufferPointer) {
        if start > 0, start >= bytes.count / 2 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes.append(contentsOf: piece)
    }

    /// Whether a whole message waits.
    /// - Throws: when what waits can never become a message.
    func hasMessage() throws(GRPCStatus) -> Bool {
        guard let length = try messageLength() else { return false }
        return count >= Self.prefixBytes + length
    }

    /// Takes the next message, decompressed; nil while none is whole.
    mutating func next() throws(GRPCStatus) -> [UInt8]? {
        guard let length = try messageLength(), count >= Self.prefixBytes + length else { return nil }
        let isCompressed = bytes[start] == 1
        var message: [UInt8] = []
        if start == 0, bytes.count == Self.prefixBytes + length {
            swap(&message, &bytes)
            message.removeFirst(Self.prefixBytes)
        } else {
            let from = start + Self.prefixBytes
            message = Array(bytes[from..<from + length])
            start = from + length
            if start == bytes.count {
                bytes = []
                start = 0
            }
        }
        return isCompressed ? try gunzip(message, bytesMax: messageBytesMax) : message
    }

    private func messageLength() throws(GRPCStatus) -> Int? {
        guard count >= Self.prefixBytes else { return nil }
        switch bytes[start] {
        case 0: break
        case 1 where isGzip: break
        case 1: throw GRPCStatus(code: 13, message: "grpc: compressed flag set with identity or empty encoding")
        default: throw GRPCStatus(code: 13, message: "grpc: received unexpected payload format \(bytes[start])")
        }
        let length = bytes[start + 1..<start + Self.prefixBytes].reduce(0) { $0 << 8 | Int($1) }
        guard length <= messageBytesMax else {
            throw GRPCStatus(
                code: 8, message: "grpc: received message larger than max (\(length) vs. \(messageBytesMax))")
        }
        return length
    }
}

/// What becomes of the body of a gRPC call, for those who want to see what becomes of odd ones: its messages, as far as they
/// can be read.
package func grpcMessages(in body: [UInt8], isGzip: Bool, messageBytesMax: Int) -> [[UInt8]] {
    var messages: [[UInt8]] = []
    do throws(GRPCStatus) {
        var inbox = try GRPCInbox(encoding: isGzip ? "gzip" : nil, messageBytesMax: messageBytesMax)
        // In pieces of any length, as they arrive.
        var rest = body[...]
        var size = 1
        while !rest.isEmpty {
            let piece = Array(rest.prefix(size))
            piece.withUnsafeBytes { inbox.append($0) }
            rest = rest.dropFirst(size)
            size = size * 3 % 1021
            while let message = try inbox.next() { messages.append(message) }
        }
    } catch {
        return messages
    }
    return messages
}
