internal import CNGHTTP2

/// What a stream has for a DATA frame.
public enum HTTP2Supply {
    /// Nothing for now; `resume` when there is.
    case later
    case some(Int)
    /// This many bytes, then the end of the stream.
    case last(Int)
    /// This many bytes, then the trailers that were submitted meanwhile.
    case beforeTrailers(Int)
    /// The stream has to be reset.
    case failure
}

/// What happens on a connection, as nghttp2 tells it; each end takes what concerns it. Only on the connection's event loop.
open class HTTP2Events {
    package init() {}

    /// A client opens a stream.
    open func opened(stream: Int32) {}
    /// A field of a stream's head, or of its trailers. The bytes are there until it returns.
    /// - Parameter isRequest: of the head that opens a stream.
    open func received(
        header name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>, stream: Int32, isRequest: Bool
    ) {}
    /// A request's head is here whole.
    open func receivedHead(stream: Int32) {}
    /// Bytes of a stream's body. They are there until it returns.
    open func received(data: UnsafeRawBufferPointer, stream: Int32, isLastFrame: Bool) {}
    /// The other end sends no more on a stream.
    open func receivedAll(stream: Int32) {}
    /// A frame that belongs to no message.
    open func receivedControl() {}
    /// All of an answer is on its way.
    open func answered(stream: Int32) {}
    /// A stream is over; 0 is no error.
    open func closed(stream: Int32, code: UInt32) {}
    /// Fills a frame with what a stream has to send.
    open func supply(stream: Int32, into target: UnsafeMutableRawBufferPointer) -> HTTP2Supply { .failure }

    /// As nghttp2 gives it back.
    var pointer: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }
}

private func events(_ user: UnsafeMutableRawPointer?) -> HTTP2Events {
    guard let user else { preconditionFailure("nghttp2 lost the connection it works for") }
    return Unmanaged<HTTP2Events>.fromOpaque(user).takeUnretainedValue()
}

/// nghttp2's table of callbacks, made once and never freed.
struct Callbacks: @unchecked Sendable {
    let pointer: OpaquePointer
}

let callbacks: Callbacks = {
    var table: OpaquePointer?
    guard nghttp2_session_callbacks_new(&table) == 0, let table else {
        preconditionFailure("no memory for nghttp2's callbacks")
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
        if let frame, isRequest(frame) { events(user).opened(stream: frame.pointee.hd.stream_id) }
        return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(table) { _, frame, name, nameCount, value, valueCount, _, user in
        if let frame {
            events(user).received(
                header: UnsafeBufferPointer(start: name, count: nameCount),
                UnsafeBufferPointer(start: value, count: valueCount), stream: frame.pointee.hd.stream_id,
                isRequest: isRequest(frame))
        }
        return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
        if let frame { received(frame, events(user)) }
        return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, flags, stream, data, count, user in
        let bytes = UnsafeRawBufferPointer(start: data, count: count)
        events(user).received(data: bytes, stream: stream, isLastFrame: flags & endStream != 0)
        return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
        guard let head = frame?.pointee.hd, head.flags & endStream != 0 else { return 0 }
        if head.type == headersType || head.type == dataType { events(user).answered(stream: head.stream_id) }
        return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, stream, code, user in
        events(user).closed(stream: stream, code: code)
        return 0
    }
    return Callbacks(pointer: table)
}()

let supply = nghttp2_data_provider(
    source: nghttp2_data_source(),
    read_callback: { _, stream, buffer, count, flags, _, user in
        let target = UnsafeMutableRawBufferPointer(start: buffer, count: count)
        switch events(user).supply(stream: stream, into: target) {
        case .later: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        case .some(let count): return count
        case .last(let count):
            flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            return count
        case .beforeTrailers(let count):
            flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            return count
        case .failure: return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
    })

private let headersType = UInt8(NGHTTP2_HEADERS.rawValue)
private let dataType = UInt8(NGHTTP2_DATA.rawValue)
private let endStream = UInt8(NGHTTP2_FLAG_END_STREAM.rawValue)

/// Whether it opens a stream; trailers and answers do not.
private func isRequest(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
    frame.pointee.hd.type == headersType && frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
}

private func received(_ frame: UnsafePointer<nghttp2_frame>, _ events: HTTP2Events) {
    let head = frame.pointee.hd
    let isLast = head.flags & endStream != 0
    switch head.type {
    case headersType:
        if isRequest(frame) { events.receivedHead(stream: head.stream_id) }
        if isLast { events.receivedAll(stream: head.stream_id) }
    case dataType:
        if isLast { events.receivedAll(stream: head.stream_id) }
    default:
        events.receivedControl()
    }
}
