internal import CNGHTTP2
internal import NIOCore

/// libnghttp2's client side of one connection. All handling of its pointers is in this file. Only on the connection's event
/// loop.
final class GRPCSession {
    private static let streamWindow: Int32 = 8 << 20
    private static let connectionWindow: Int32 = 64 << 20

    private let session: OpaquePointer
    private let authority: FieldText
    private let open = OpenStreams()
    private let constants: ConstantFields

    init?(authority: String, isSecure: Bool) {
        self.authority = FieldText(authority)
        constants = isSecure ? secureConstants : plainConstants
        var session: OpaquePointer?
        let user = Unmanaged.passUnretained(open).toOpaque()
        guard nghttp2_session_client_new(&session, callbacks.pointer, user) == 0, let session else { return nil }
        self.session = session
        let settings = [
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(Self.streamWindow)),
        ]
        guard nghttp2_submit_settings(session, noFlags, settings, settings.count) == 0,
            nghttp2_session_set_local_window_size(session, noFlags, 0, Self.connectionWindow) == 0
        else { return nil }
    }

    deinit {
        nghttp2_session_del(session)
    }

    /// Reads what the server sent. False when the connection cannot go on.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return nghttp2_session_mem_recv(session, start, bytes.count) >= 0
    }

    /// Moves what waits to be sent into `buffer` until it holds about `bytesMax` bytes. False when the connection cannot
    /// go on.
    func drain(into buffer: inout ByteBuffer, bytesMax: Int) -> Bool {
        while buffer.readableBytes < bytesMax {
            var start: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &start)
            guard count > 0, let start else { return count == 0 }
            buffer.writeBytes(UnsafeRawBufferPointer(start: start, count: count))
        }
        return true
    }

    /// Opens `stream`. False when the connection takes no more.
    func open(_ stream: GRPCStream, _ method: GRPCMethod) -> Bool {
        let fields: [6 of nghttp2_nv] = [
            constants.method, constants.scheme, nghttp2_nv(constants.path, method.path),
            nghttp2_nv(constants.authority, authority), constants.contentType, constants.trailers,
        ]
        let id = fields.span.withUnsafeBufferPointer { fields in
            var provider = supply
            return nghttp2_submit_request(session, nil, fields.baseAddress, fields.count, &provider, nil)
        }
        guard id >= 0 else { return false }
        stream.id = id
        open.streams[id] = stream
        return true
    }

    /// Has what was added to the stream's outbox sent.
    func resume(_ stream: GRPCStream) {
        nghttp2_session_resume_data(session, stream.id)
    }

    func cancel(_ stream: GRPCStream) {
        nghttp2_submit_rst_stream(session, noFlags, stream.id, NGHTTP2_CANCEL.rawValue)
    }

    /// The connection is lost: every call learns of it.
    func abandon() {
        let lost = open.streams
        open.streams = [:]
        for stream in lost.values { stream.lost() }
    }
}

/// The calls under way on a connection; what nghttp2's callbacks are given.
private final class OpenStreams {
    var streams: [Int32: GRPCStream] = [:]
}

/// The path of a gRPC method, ready to be sent.
package struct GRPCMethod: Sendable {
    let path: FieldText

    /// - Parameter path: `/package.Service/Method`
    package init(_ path: String) { self.path = FieldText(path) }
}

/// Bytes of a header field that live as long as this.
final class FieldText: @unchecked Sendable {
    // Never written after it was made.
    fileprivate let bytes: UnsafeMutableBufferPointer<UInt8>

    init(_ text: String) {
        bytes = .allocate(capacity: max(text.utf8.count, 1))
        _ = bytes.initialize(from: text.utf8)
        count = text.utf8.count
    }

    fileprivate let count: Int

    deinit { bytes.deallocate() }
}

private let noFlags = UInt8(NGHTTP2_FLAG_NONE.rawValue)

extension nghttp2_nv {
    fileprivate init(_ name: FieldText, _ value: FieldText) {
        self.init(
            name: name.bytes.baseAddress, value: value.bytes.baseAddress, namelen: name.count, valuelen: value.count,
            flags: noFlags)
    }
}

/// Fields that every request has.
private struct ConstantFields: @unchecked Sendable {
    private static func make(_ name: String, _ value: String) -> (texts: [FieldText], field: nghttp2_nv) {
        let texts = [FieldText(name), FieldText(value)]
        return (texts, nghttp2_nv(texts[0], texts[1]))
    }

    let method: nghttp2_nv
    let scheme: nghttp2_nv
    let contentType: nghttp2_nv
    let trailers: nghttp2_nv
    let path = FieldText(":path")
    let authority = FieldText(":authority")
    private let kept: [FieldText]

    init(scheme: String) {
        let fields = [
            Self.make(":method", "POST"), Self.make(":scheme", scheme), Self.make("content-type", "application/grpc"),
            Self.make("te", "trailers"),
        ]
        (method, self.scheme, contentType, trailers) = (
            fields[0].field, fields[1].field, fields[2].field, fields[3].field
        )
        kept = fields.flatMap(\.texts)
    }
}

private let plainConstants = ConstantFields(scheme: "http")
private let secureConstants = ConstantFields(scheme: "https")

// MARK: - Callbacks

/// nghttp2's table of callbacks, made once and never freed.
private struct Constant: @unchecked Sendable {
    let pointer: OpaquePointer
}

private let callbacks: Constant = {
    var table: OpaquePointer?
    guard nghttp2_session_callbacks_new(&table) == 0, let table else {
        preconditionFailure("no memory for nghttp2's callbacks")
    }
    nghttp2_session_callbacks_set_on_header_callback(table) { _, frame, name, nameCount, value, valueCount, _, user in
        guard let frame, let stream = open(user).streams[frame.pointee.hd.stream_id] else { return 0 }
        // Of all that comes only grpc-status and grpc-message matter.
        guard nameCount > 5, name?.pointee == UInt8(ascii: "g") else { return 0 }
        stream.received(
            trailer: UnsafeBufferPointer(start: name, count: nameCount),
            UnsafeBufferPointer(start: value, count: valueCount))
        return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, _, id, data, count, user in
        open(user).streams[id]?.received(UnsafeRawBufferPointer(start: data, count: count))
        return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, id, code, user in
        open(user).streams.removeValue(forKey: id)?.closed(code: code)
        return 0
    }
    return Constant(pointer: table)
}()

private func open(_ user: UnsafeMutableRawPointer?) -> OpenStreams {
    guard let user else { preconditionFailure("nghttp2 lost the connection it works for") }
    return Unmanaged<OpenStreams>.fromOpaque(user).takeUnretainedValue()
}

private let supply = nghttp2_data_provider(
    source: nghttp2_data_source(),
    read_callback: { _, id, buffer, count, flags, _, user in
        guard let stream = open(user).streams[id] else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
        let filled = stream.supply(into: UnsafeMutableRawBufferPointer(start: buffer, count: count))
        if stream.isAllSupplied { flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
        return filled > 0 || stream.isAllSupplied ? filled : Int(NGHTTP2_ERR_DEFERRED.rawValue)
    })
