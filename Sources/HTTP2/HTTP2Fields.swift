internal import CNGHTTP2

/// Bytes of a header field that live as long as this.
package final class HTTP2Text: @unchecked Sendable {
    // Never written after it was made.
    fileprivate let bytes: UnsafeMutableBufferPointer<UInt8>
    fileprivate let count: Int

    package init(_ text: String) {
        bytes = .allocate(capacity: max(text.utf8.count, 1))
        _ = bytes.initialize(from: text.utf8)
        count = text.utf8.count
    }

    deinit { bytes.deallocate() }
}

/// A header field, whose texts somebody else keeps.
package struct HTTP2Field: @unchecked Sendable {
    let pair: nghttp2_nv

    package init(_ name: HTTP2Text, _ value: HTTP2Text) { self.init(name, value, flags: noFlags) }

    fileprivate init(_ name: HTTP2Text, _ value: HTTP2Text, flags: UInt8) {
        pair = nghttp2_nv(
            name: name.bytes.baseAddress, value: value.bytes.baseAddress, namelen: name.count, valuelen: value.count,
            flags: flags)
    }
}

/// Fields for the whole life of the process, so that nghttp2 copies none of them.
package struct HTTP2ConstantFields: @unchecked Sendable {
    let start: UnsafePointer<nghttp2_nv>
    let count: Int

    package init(_ fields: [(String, String)]) {
        let flags = UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
        let pairs = fields.map { name, value in
            // Never freed.
            let texts = (Unmanaged.passRetained(HTTP2Text(name)), Unmanaged.passRetained(HTTP2Text(value)))
            return HTTP2Field(texts.0.takeUnretainedValue(), texts.1.takeUnretainedValue(), flags: flags).pair
        }
        let memory = UnsafeMutablePointer<nghttp2_nv>.allocate(capacity: pairs.count)
        memory.initialize(from: pairs, count: pairs.count)
        start = UnsafePointer(memory)
        count = pairs.count
    }
}

/// Lends fields in nghttp2's form, which it copies.
func withFields<Result>(
    _ fields: [(String, String)], _ body: (UnsafeBufferPointer<nghttp2_nv>) -> Result
) {
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
