/// Why bytes could not be decoded.
package enum DecodingFault: Error, Equatable, Sendable {
    /// The bytes end before the value does.
    case truncated
    /// A value lies outside of what its field may hold.
    case invalid(String)
}

/// Reads back what `ByteWriter` wrote. Every read is checked: bytes from a disk, a peer or a client can never trap,
/// and no memory is reserved for a length before as many bytes are known to be there.
package struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    package init(_ bytes: [UInt8]) {
        self.init(bytes[...])
    }

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// Bytes not read yet.
    package var remaining: Int { bytes.endIndex - position }
    package var isAtEnd: Bool { remaining == 0 }

    @inline(__always)
    package mutating func fixed<T: FixedWidthInteger & UnsignedInteger>(
        _ type: T.Type = T.self
    ) throws(DecodingFault) -> T {
        let width = MemoryLayout<T>.size
        guard remaining >= width else { throw .truncated }
        let start = position - bytes.startIndex
        position += width
        return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: start, as: T.self)) }
    }

    package mutating func byte() throws(DecodingFault) -> UInt8 {
        guard remaining >= 1 else { throw .truncated }
        defer { position += 1 }
        return bytes[position]
    }

    package mutating func bool() throws(DecodingFault) -> Bool {
        switch try byte() {
        case 0: return false
        case 1: return true
        default: throw .invalid("boolean")
        }
    }

    package mutating func varint() throws(DecodingFault) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift == 63 && next > 1 { throw .invalid("varint over 64 bits") }
            value |= UInt64(next & 0x7f) << shift
            if next & 0x80 == 0 { return value }
            shift += 7
            if shift > 63 { throw .invalid("varint over 64 bits") }
        }
    }

    package mutating func signed() throws(DecodingFault) -> Int64 {
        Int64(bitPattern: try varint())
    }

    /// A varint that counts items still to come, each at least `itemBytesMin` long: more than fit is a fault, so a
    /// short message can't ask for a huge array.
    package mutating func count(itemBytesMin: Int = 1) throws(DecodingFault) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining / max(itemBytesMin, 1)) else { throw .truncated }
        return Int(value)
    }

    package mutating func lengthPrefixed() throws(DecodingFault) -> [UInt8] {
        try raw(count())
    }

    package mutating func string() throws(DecodingFault) -> String {
        guard let text = String(validating: try lengthPrefixed(), as: UTF8.self) else { throw .invalid("UTF-8") }
        return text
    }

    /// Milliseconds or seconds since 1970, or lengths of time, with which everybody can reckon: three hundred thousand years each way.
    package static let times: ClosedRange<Int64> = (-1 << 53)...(1 << 53)

    package mutating func time() throws(DecodingFault) -> Int64 {
        let time = try signed()
        guard Self.times.contains(time) else { throw .invalid("time \(time)") }
        return time
    }

    package mutating func list() throws(DecodingFault) -> [[UInt8]] {
        var items: [[UInt8]] = []
        for _ in 0..<(try count()) { items.append(try lengthPrefixed()) }
        return items
    }

    package mutating func strings() throws(DecodingFault) -> [String] {
        var items: [String] = []
        for _ in 0..<(try count()) { items.append(try string()) }
        return items
    }

    package mutating func raw(_ count: Int) throws(DecodingFault) -> [UInt8] {
        guard count >= 0, remaining >= count else { throw .truncated }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// Demands that everything was read.
    package func expectEnd() throws(DecodingFault) {
        guard isAtEnd else { throw .invalid("\(remaining) bytes too many") }
    }
}
