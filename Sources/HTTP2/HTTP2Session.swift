internal import CNGHTTP2
package import NIOCore

/// Why a stream or a connection ends (RFC 9113, section 7).
package enum HTTP2Code: UInt32, Sendable {
    case noError = 0
    case protocolError = 1
    case refusedStream = 7
    case cancel = 8
    case enhanceYourCalm = 11
}

/// libnghttp2's state of one connection, at either end of it: what came in is read to it and becomes calls of its events, what is
/// to go out is submitted to it and drained. All handling of nghttp2's pointers is in this room. Only on the connection's event loop.
package final class HTTP2Session {
    /// What a server grants its clients.
    package struct Grants {
        package var streamsMax: Int
        package var headerBytesMax: Int
        /// Resets before the answer that are taken at once, and in a second from then on.
        package var resetsMax: Int
        package var resetsPerSecond: Int

        package init(streamsMax: Int, headerBytesMax: Int, resetsMax: Int, resetsPerSecond: Int) {
            self.streamsMax = streamsMax
            self.headerBytesMax = headerBytesMax
            self.resetsMax = resetsMax
            self.resetsPerSecond = resetsPerSecond
        }
    }

    /// More than fit into a piece that is received at once.
    private static let acknowledgementsMax = 4_000
    /// What to receive at once, with what it asks for drained before the next piece.
    package static let pieceBytesMax = 16 << 10

    private let session: OpaquePointer

    /// The server's end. Windows are given back by `consume`.
    /// - Parameter events: must outlive the session.
    package init?(server events: HTTP2Events, _ grants: Grants, streamWindow: Int, connectionWindow: Int) {
        var options: OpaquePointer?
        guard nghttp2_option_new(&options) == 0 else { return nil }
        defer { nghttp2_option_del(options) }
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_no_closed_streams(options, 1)
        // etcdctl 3.4 sends a scheme within :authority, which nghttp2's own checks of messages do not let through.
        nghttp2_option_set_no_http_messaging(options, 1)
        nghttp2_option_set_max_outbound_ack(options, Self.acknowledgementsMax)
        nghttp2_option_set_stream_reset_rate_limit(
            options, UInt64(clamping: grants.resetsMax), UInt64(clamping: grants.resetsPerSecond))
        var session: OpaquePointer?
        guard nghttp2_session_server_new2(&session, callbacks.pointer, events.pointer, options) == 0, let session else {
            return nil
        }
        self.session = session
        let settings = [
            (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, grants.streamsMax),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, streamWindow),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, grants.headerBytesMax),
        ]
        guard begin(settings, connectionWindow) else { return nil }
    }

    /// The client's end.
    /// - Parameter events: must outlive the session.
    package init?(client events: HTTP2Events, streamWindow: Int, connectionWindow: Int) {
        var session: OpaquePointer?
        guard nghttp2_session_client_new(&session, callbacks.pointer, events.pointer) == 0, let session else {
            return nil
        }
        self.session = session
        let settings = [
            (NGHTTP2_SETTINGS_ENABLE_PUSH, 0), (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, streamWindow),
        ]
        guard begin(settings, connectionWindow) else { return nil }
    }

    private func begin(_ settings: [(nghttp2_settings_id, Int)], _ connectionWindow: Int) -> Bool {
        let entries = settings.map {
            nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: UInt32(clamping: $0.1))
        }
        return nghttp2_submit_settings(session, noFlags, entries, entries.count) == 0
            && nghttp2_session_set_local_window_size(session, noFlags, 0, Int32(clamping: connectionWindow)) == 0
    }

    deinit {
        nghttp2_session_del(session)
    }

    package var wantsRead: Bool { nghttp2_session_want_read(session) != 0 }
    package var wantsWrite: Bool { nghttp2_session_want_write(session) != 0 }

    /// Reads what the other end sent. False when the connection cannot go on.
    package func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return nghttp2_session_mem_recv(session, start, bytes.count) >= 0
    }

    /// Moves what waits to be sent into `buffer` until it holds about `bytesMax` bytes. False when the connection cannot
    /// go on.
    package func drain(into buffer: inout ByteBuffer, bytesMax: Int) -> Bool {
        while buffer.readableBytes < bytesMax {
            var start: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &start)
            guard count > 0, let start else { return count == 0 }
            buffer.writeBytes(UnsafeRawBufferPointer(start: start, count: count))
        }
        return true
    }

    /// Gives the connection's window back.
    package func consumeConnection(_ count: Int) {
        nghttp2_session_consume_connection(session, count)
    }

    /// Gives a stream's window back.
    package func consume(_ count: Int, stream: Int32) {
        nghttp2_session_consume_stream(session, stream, count)
    }

    // MARK: - Streams

    /// Opens a stream, whose body the events supply. Nil when the connection takes no more.
    package func request(_ fields: UnsafeBufferPointer<HTTP2Field>) -> Int32? {
        let stream = fields.withMemoryRebound(to: nghttp2_nv.self) { fields in
            var provider = supply
            return nghttp2_submit_request(session, nil, fields.baseAddress, fields.count, &provider, nil)
        }
        return stream >= 0 ? stream : nil
    }

    /// Begins an answer; with a body, the events supply it.
    package func respond(stream: Int32, _ fields: HTTP2ConstantFields, hasBody: Bool) {
        respond(stream, UnsafeBufferPointer(start: fields.start, count: fields.count), hasBody)
    }

    /// The same with fields that nghttp2 copies.
    package func respond(stream: Int32, fields: [(String, String)], hasBody: Bool) {
        withFields(fields) { respond(stream, $0, hasBody) }
    }

    private func respond(_ stream: Int32, _ fields: UnsafeBufferPointer<nghttp2_nv>, _ hasBody: Bool) {
        guard hasBody else {
            nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, nil)
            return
        }
        var provider = supply
        nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, &provider)
    }

    /// What follows a body that was supplied as `beforeTrailers`.
    package func trailers(stream: Int32, _ fields: HTTP2ConstantFields) {
        nghttp2_submit_trailer(session, stream, fields.start, fields.count)
    }

    package func trailers(stream: Int32, fields: [(String, String)]) {
        withFields(fields) { nghttp2_submit_trailer(session, stream, $0.baseAddress, $0.count) }
    }

    package func resume(stream: Int32) {
        nghttp2_session_resume_data(session, stream)
    }

    package func reset(stream: Int32, _ code: HTTP2Code) {
        nghttp2_submit_rst_stream(session, noFlags, stream, code.rawValue)
    }

    // MARK: - The connection

    package func ping() {
        nghttp2_submit_ping(session, noFlags, nil)
    }

    /// Takes no further streams; those that are open go on.
    package func goAway(_ code: HTTP2Code) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        nghttp2_submit_goaway(session, noFlags, last, code.rawValue, nil, 0)
    }
}

let noFlags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
