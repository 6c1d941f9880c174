internal import CNGHTTP2
internal import NIOCore

/// Why a stream or a connection ends (RFC 9113, section 7).
enum HTTP2Code: UInt32 {
    case noError = 0
    case protocolError = 1
    case refusedStream = 7
    case cancel = 8
    case enhanceYourCalm = 11
}

/// What a stream has for a DATA frame.
enum HTTP2Supply {
    /// Nothing for now; `resume` when there is.
    case later
    case some(Int)
    /// So many bytes and then the end of the stream.
    case last(Int)
    /// So many bytes and then these trailers.
    case trailers(Int, GRPCStatus)
}

/// libnghttp2's state of one connection: what came in is read to it and becomes calls of `owner`'s functions, what is
/// to go out is submitted to it and drained. All handling of its pointers is in this file. Only on the connection's event
/// loop.
final class HTTP2Session {
    /// More than fit into a piece that is received at once.
    private static let acknowledgementsMax = 4_000
    /// What to receive at once, with what it asks for drained before the next piece.
    static let pieceBytesMax = 16 << 10

    private let session: OpaquePointer

    /// - Parameter owner: must outlive the session.
    init?(owner: HTTP2Connection, limits: HTTPLimits) {
        var options: OpaquePointer?
        guard nghttp2_option_new(&options) == 0 else { return nil }
        defer { nghttp2_option_del(options) }
        // Windows are given back as the bytes are used.
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_no_closed_streams(options, 1)
        // etcdctl 3.4 sends a scheme within :authority, which nghttp2's own checks of messages do not let through.
        nghttp2_option_set_no_http_messaging(options, 1)
        nghttp2_option_set_max_outbound_ack(options, Self.acknowledgementsMax)
        nghttp2_option_set_stream_reset_rate_limit(
            options, UInt64(clamping: limits.resetsMax), UInt64(clamping: limits.resetsPerSecond))
        var session: OpaquePointer?
        let user = Unmanaged.passUnretained(owner).toOpaque()
        guard nghttp2_session_server_new2(&session, callbacks.pointer, user, options) == 0, let session else {
            return nil
        }
        self.session = session
        let settings = [
            (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streamsMax),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerBytesMax),
        ].map { nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: UInt32(clamping: $0.1)) }
        let window = Int32(clamping: limits.connectionWindow)
        guard nghttp2_submit_settings(session, noFlags, settings, settings.count) == 0,
            nghttp2_session_set_local_window_size(session, noFlags, 0, window) == 0
        else { return nil }
    }

    deinit {
        nghttp2_session_del(session)
    }

    var wantsRead: Bool { nghttp2_session_want_read(session) != 0 }
    var wantsWrite: Bool { nghttp2_session_want_write(session) != 0 }

    /// Reads what the client sent. False when the connection cannot go on.
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

    /// Gives the connection's window back.
    func consumeConnection(_ count: Int) {
        nghttp2_session_consume_connection(session, count)
    }

    /// Gives a stream's window back.
    func consume(_ count: Int, stream: Int32) {
        nghttp2_session_consume_stream(session, stream, count)
    }

    /// Begins a gRPC answer whose messages `owner` supplies.
    func respondGRPC(stream: Int32) {
        var provider = supply
        nghttp2_submit_response(session, stream, GRPCFields.head.start, GRPCFields.head.count, &provider)
    }

    /// Answers a gRPC call with a status only.
    func refuseGRPC(stream: Int32, httpStatus: Int, _ status: GRPCStatus) {
        let head = [
            (":status", String(httpStatus)), ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "identity,gzip"),
        ]
        withFields(head + GRPCFields.trailers(status)) { fields in
            nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, nil)
        }
    }

    /// Begins an answer; with a body, `owner` supplies it.
    func respond(stream: Int32, fields: [(String, String)], hasBody: Bool) {
        withFields(fields) { fields in
            var provider = supply
            return hasBody
                ? nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, &provider)
                : nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, nil)
        }
    }

    func resume(stream: Int32) {
        nghttp2_session_resume_data(session, stream)
    }

    func reset(stream: Int32, _ code: HTTP2Code) {
        nghttp2_submit_rst_stream(session, noFlags, stream, code.rawValue)
    }

    func ping() {
        nghttp2_submit_ping(session, noFlags, nil)
    }

    /// Takes no further streams; those that are open go on.
    func goAway(_ code: HTTP2Code) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        nghttp2_submit_goaway(session, noFlags, last, code.rawValue, nil, 0)
    }
}

extension HTTP2Session {
    fileprivate func submitTrailers(_ stream: Int32, _ status: GRPCStatus) {
        if status == .ok {
            nghttp2_submit_trailer(session, stream, GRPCFields.okTrailers.start, GRPCFields.okTrailers.count)
        } else {
            withFields(GRPCFields.trailers(status)) { fields in
                nghttp2_submit_trailer(session, stream, fields.baseAddress, fields.count)
            }
        }
    }
}

private let noFlags = UInt8(NGHTTP2_FLAG_NONE.rawValue)

// MARK: - Header fields

private enum GRPCFields {
    static let head = ConstantFields([
        (":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip"),
    ])
    static let okTrailers = ConstantFields([("grpc-status", "0")])

    static func trailers(_ status: GRPCStatus) -> [(String, String)] {
        let code = ("grpc-status", String(status.code))
        return status.message.isEmpty ? [code] : [code, ("grpc-message", GRPCWire.percentEncoded(status.message))]
    }
}

/// Fields that live as long as the process, so that nghttp2 copies none of them.
private struct ConstantFields: @unchecked Sendable {
    let start: UnsafePointer<nghttp2_nv>
    let count: Int

    init(_ fields: [(String, String)]) {
        let flags = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue
        func constant(_ text: String) -> UnsafeMutablePointer<UInt8> {
            let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, text.utf8.count))
            _ = bytes.initialize(from: text.utf8)
            return bytes.baseAddress!
        }
        let pairs = fields.map { name, value in
            nghttp2_nv(
                name: constant(name), value: constant(value), namelen: name.utf8.count, valuelen: value.utf8.count,
                flags: UInt8(flags))
        }
        let memory = UnsafeMutableBufferPointer<nghttp2_nv>.allocate(capacity: pairs.count)
        _ = memory.initialize(from: pairs)
        start = UnsafePointer(memory.baseAddress!)
        count = pairs.count
    }
}

/// Lends fields in nghttp2's form, which it copies.
private func withFields(_ fields: [(String, String)], _ body: (UnsafeBufferPointer<nghttp2_nv>) -> Int32) {
    var bytes: [UInt8] = []
    for (name, value) in fields {
        bytes += name.utf8
        bytes += value.utf8
    }
    bytes.withUnsafeMutableBufferPointer { memory in
        var place = memory.baseAddress
        let pairs = fields.map { name, value in
            let valueStart = place.map { $0 + name.utf8.count }
            defer { place = valueStart.map { $0 + value.utf8.count } }
            return nghttp2_nv(
                name: place, value: valueStart, namelen: name.utf8.count, valuelen: value.utf8.count, flags: noFlags)
        }
        _ = pairs.withUnsafeBufferPointer(body)
    }
}

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
    nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
        if let frame, isRequest(frame) { owner(user).opened(stream: frame.pointee.hd.stream_id) }
        return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(table) { _, frame, name, nameCount, value, valueCount, _, user in
        if let frame, isRequest(frame) {
            let owner = owner(user)
            let name = owner.texts.text(UnsafeBufferPointer(start: name, count: nameCount))
            let value = owner.texts.text(UnsafeBufferPointer(start: value, count: valueCount))
            owner.received(header: name, value, stream: frame.pointee.hd.stream_id)
        }
        return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
        if let frame { received(frame, owner(user)) }
        return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, flags, stream, data, count, user in
        let bytes = UnsafeRawBufferPointer(start: data, count: count)
        owner(user).received(data: bytes, stream: stream, isLastFrame: flags & endStream != 0)
        return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
        guard let head = frame?.pointee.hd, head.flags & endStream != 0 else { return 0 }
        if head.type == headersType || head.type == dataType { owner(user).answered(stream: head.stream_id) }
        return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, stream, code, user in
        owner(user).closed(stream: stream, isError: code != HTTP2Code.noError.rawValue)
        return 0
    }
    return Constant(pointer: table)
}()

private let supply = nghttp2_data_provider(
    source: nghttp2_data_source(),
    read_callback: { _, stream, buffer, count, flags, _, user in
        let owner = owner(user)
        let target = UnsafeMutableRawBufferPointer(start: buffer, count: count)
        switch owner.supply(stream: stream, into: target) {
        case .later: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        case .some(let count): return count
        case .last(let count):
            flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            return count
        case .trailers(let count, let status):
            flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            owner.session?.submitTrailers(stream, status)
            return count
        }
    })

private let headersType = UInt8(NGHTTP2_HEADERS.rawValue)
private let dataType = UInt8(NGHTTP2_DATA.rawValue)
private let endStream = UInt8(NGHTTP2_FLAG_END_STREAM.rawValue)

private func owner(_ user: UnsafeMutableRawPointer?) -> HTTP2Connection {
    guard let user else { preconditionFailure("nghttp2 lost the connection it works for") }
    return Unmanaged<HTTP2Connection>.fromOpaque(user).takeUnretainedValue()
}

/// Whether it opens a stream; trailers do not.
private func isRequest(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
    frame.pointee.hd.type == headersType && frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
}

private func received(_ frame: UnsafePointer<nghttp2_frame>, _ owner: HTTP2Connection) {
    let head = frame.pointee.hd
    let isLast = head.flags & endStream != 0
    switch head.type {
    case headersType:
        if isRequest(frame) { owner.receivedHead(stream: head.stream_id) }
        if isLast { owner.receivedAll(stream: head.stream_id) }
    case dataType:
        if isLast { owner.receivedAll(stream: head.stream_id) }
    default:
        owner.receivedControl()
    }
}
