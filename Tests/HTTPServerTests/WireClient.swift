import CNGHTTP2
import Glibc

/// A socket to a listener of this process that speaks whatever bytes a test wants.
final class WireClient {
    struct Frame: Equatable {
        var type: UInt8
        var flags: UInt8
        var stream: Int32
        var payload: [UInt8]

        var isEnd: Bool { (type == 0 || type == 1) && flags & 1 != 0 }
    }

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private let descriptor: Int32
    private var received: [UInt8] = []
    private var inflater: OpaquePointer?
    private(set) var isClosed = false

    init(port: Int, receiveBuffer: Int32? = nil) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        isClosed = status != 0
        nghttp2_hd_inflate_new(&inflater)
    }

    deinit {
        nghttp2_hd_inflate_del(inflater)
        close()
    }

    func close() {
        if !isClosed { Glibc.close(descriptor) }
        isClosed = true
    }

    /// False when the server does not take it.
    @discardableResult func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Some more bytes; nil at the end of the connection or of patience.
    private func more() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// What comes until `end` was seen, or until the connection's end.
    func text(until end: String? = nil) -> String {
        while end.map({ !String(decoding: received, as: UTF8.self).contains($0) }) ?? true, let bytes = more() {
            received += bytes
        }
        defer { received = [] }
        return String(decoding: received, as: UTF8.self)
    }

    // MARK: - HTTP/2

    func startHTTP2(streamWindow: UInt32? = nil) {
        var settings: [UInt8] = []
        if let streamWindow { settings = [0, 4] + Self.bigEndian(streamWindow, 4) }
        // The server's own settings come first, so that they can be acknowledged at once.
        send(Self.preface + Self.frame(4, 0, 0, settings) + Self.frame(4, 1, 0))
    }

    static func bigEndian(_ value: UInt32, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32(count - 1 - $0))) }
    }

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: Int32, _ payload: [UInt8] = []) -> [UInt8] {
        bigEndian(UInt32(payload.count), 3) + [type, flags] + bigEndian(UInt32(stream), 4) + payload
    }

    /// A request's head, its fields literal.
    static func head(
        _ stream: Int32, _ path: String, method: String = "POST", grpc: Bool = true, end: Bool = false,
        _ more: [(String, String)] = []
    ) -> [UInt8] {
        var fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "here")]
        if grpc { fields += [("content-type", "application/grpc"), ("te", "trailers")] }
        let block = (fields + more).flatMap { name, value in
            [0, UInt8(name.utf8.count)] + name.utf8 + [UInt8(value.utf8.count)] + value.utf8
        }
        return frame(1, end ? 5 : 4, stream, block)
    }

    static func message(_ stream: Int32, _ bytes: [UInt8], end: Bool = false) -> [UInt8] {
        frame(0, end ? 1 : 0, stream, [0] + bigEndian(UInt32(bytes.count), 4) + bytes)
    }

    /// The next frame; nil at the end of the connection or of patience.
    func frame() -> Frame? {
        while true {
            if received.count >= 9 {
                let size = received[0..<3].reduce(0) { $0 << 8 | Int($1) }
                if received.count >= 9 + size {
                    let stream = received[5..<9].reduce(0) { $0 << 8 | Int32($1) }
                    let frame = Frame(
                        type: received[3], flags: received[4], stream: stream, payload: Array(received[9..<9 + size]))
                    received.removeFirst(9 + size)
                    return frame
                }
            }
            guard let bytes = more() else { return nil }
            received += bytes
        }
    }

    /// The next frame that `isWanted`; others are dropped.
    func frame(where isWanted: (Frame) -> Bool) -> Frame? {
        while let frame = frame() {
            if isWanted(frame) { return frame }
            if frame.type == 1 { _ = fields(frame) }
        }
        return nil
    }

    /// Everything of one stream until its end: the bytes of its DATA and the fields of its HEADERS.
    func answer(_ stream: Int32) -> (fields: [String: String], data: [UInt8])? {
        var all: [String: String] = [:]
        var data: [UInt8] = []
        while let frame = frame() {
            if frame.type == 1 {
                let fields = fields(frame)
                if frame.stream == stream { all.merge(fields) { _, new in new } }
            }
            guard frame.stream == stream else { continue }
            if frame.type == 0 { data += frame.payload }
            if frame.type == 3 || frame.isEnd { return (all, data) }
        }
        return nil
    }

    /// Each block must be decoded, in order.
    func fields(_ frame: Frame) -> [String: String] {
        var result: [String: String] = [:]
        var rest = frame.payload[...]
        while true {
            var field = nghttp2_nv()
            var flags: Int32 = 0
            let count = rest.withUnsafeBufferPointer {
                nghttp2_hd_inflate_hd2(inflater, &field, &flags, $0.baseAddress, $0.count, 1)
            }
            guard count >= 0 else { return result }
            rest = rest.dropFirst(count)
            if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                let name = String(decoding: UnsafeBufferPointer(start: field.name, count: field.namelen), as: UTF8.self)
                let value = UnsafeBufferPointer(start: field.value, count: field.valuelen)
                result[name] = String(decoding: value, as: UTF8.self)
            }
            if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
                nghttp2_hd_inflate_end_headers(inflater)
                return result
            }
        }
    }
}
