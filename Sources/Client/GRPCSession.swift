internal import HTTP2
internal import NIOCore

/// The client's side of one connection for gRPC. Only on the connection's event loop.
final class GRPCSession {
    private static let streamWindow = 8 << 20
    private static let connectionWindow = 64 << 20

    private let session: HTTP2Session
    private let open = OpenStreams()
    private let authority: HTTP2Text
    private let constants: ConstantFields

    init?(authority: String, isSecure: Bool) {
        self.authority = HTTP2Text(authority)
        constants = isSecure ? secureConstants : plainConstants
        guard
            let session = HTTP2Session(
                client: open, streamWindow: Self.streamWindow, connectionWindow: Self.connectionWindow)
        else { return nil }
        self.session = session
    }

    /// See `HTTP2Session.receive`.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool { session.receive(bytes) }

    /// See `HTTP2Session.drain`.
    func drain(into buffer: inout ByteBuffer, bytesMax: Int) -> Bool {
        session.drain(into: &buffer, bytesMax: bytesMax)
    }

    /// Opens `stream`. False when the connection takes no more.
    func open(_ stream: GRPCStream, _ method: GRPCMethod) -> Bool {
        let fields: [6 of HTTP2Field] = [
            constants.method, constants.scheme, HTTP2Field(constants.path, method.path),
            HTTP2Field(constants.authority, authority), constants.contentType, constants.trailers,
        ]
        guard let id = fields.span.withUnsafeBufferPointer(session.request) else { return false }
        stream.id = id
        open.streams[id] = stream
        return true
    }

    /// Has what was added to the stream's outbox sent.
    func resume(_ stream: GRPCStream) { session.resume(stream: stream.id) }

    func cancel(_ stream: GRPCStream) { session.reset(stream: stream.id, .cancel) }

    /// The connection is lost: every call learns of it.
    func abandon() {
        let lost = open.streams
        open.streams = [:]
        for stream in lost.values { stream.lost() }
    }
}

/// The calls under way on a connection.
private final class OpenStreams: HTTP2Events {
    var streams: [Int32: GRPCStream] = [:]

    override func received(
        header name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>, stream: Int32, isRequest: Bool
    ) {
        // Of all that comes only grpc-status and grpc-message matter.
        guard name.count > 5, name.first == UInt8(ascii: "g") else { return }
        streams[stream]?.received(trailer: name, value)
    }

    override func received(data: UnsafeRawBufferPointer, stream: Int32, isLastFrame: Bool) {
        streams[stream]?.received(data)
    }

    override func closed(stream: Int32, code: UInt32) { streams.removeValue(forKey: stream)?.closed(code: code) }

    override func supply(stream id: Int32, into target: UnsafeMutableRawBufferPointer) -> HTTP2Supply {
        guard let stream = streams[id] else { return .failure }
        let filled = stream.supply(into: target)
        if stream.isAllSupplied { return .last(filled) }
        return filled > 0 ? .some(filled) : .later
    }
}

/// The path of a gRPC method, ready to be sent.
package struct GRPCMethod: Sendable {
    let path: HTTP2Text

    /// - Parameter path: `/package.Service/Method`
    package init(_ path: String) { self.path = HTTP2Text(path) }
}

/// Fields that every request has.
private struct ConstantFields: Sendable {
    let method: HTTP2Field
    let scheme: HTTP2Field
    let contentType: HTTP2Field
    let trailers: HTTP2Field
    let path = HTTP2Text(":path")
    let authority = HTTP2Text(":authority")
    private let kept: [HTTP2Text]

    init(scheme: String) {
        let texts = [
            ":method", "POST", ":scheme", scheme, "content-type", "application/grpc", "te", "trailers",
        ].map(HTTP2Text.init)
        method = HTTP2Field(texts[0], texts[1])
        self.scheme = HTTP2Field(texts[2], texts[3])
        contentType = HTTP2Field(texts[4], texts[5])
        trailers = HTTP2Field(texts[6], texts[7])
        kept = texts
    }
}

private let plainConstants = ConstantFields(scheme: "http")
private let secureConstants = ConstantFields(scheme: "https")
