/// Writes the fields of a protocol buffers message (the encoding's specification, "Message Structure").
///
/// The load tool writes and reads its few messages by hand: it shares the machine with what it measures.
struct ProtoWriter {
    private(set) var bytes: [UInt8] = []

    init(reserving count: Int = 64) { bytes.reserveCapacity(count) }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// A number, unless it is 0.
    mutating func field(_ number: UInt64, _ value: Int64) {
        guard value != 0 else { return }
        varint(number << 3)
        varint(UInt64(bitPattern: value))
    }

    mutating func field(_ number: UInt64, _ value: Bool) { field(number, value ? 1 : 0) }

    /// Bytes, unless there are none.
    mutating func field(_ number: UInt64, _ value: [UInt8]) {
        if !value.isEmpty { always(number, value) }
    }

    mutating func field(_ number: UInt64, _ message: (inout ProtoWriter) -> Void) {
        var inner = ProtoWriter()
        message(&inner)
        always(number, inner.bytes)
    }

    private mutating func always(_ number: UInt64, _ value: [UInt8]) {
        varint(number << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }
}

/// Goes through the fields of a message; bytes that are none end it early.
struct ProtoReader {
    enum Value {
        case number(UInt64)
        case bytes(UnsafeRawBufferPointer)
    }

    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while place < bytes.count, shift < 64 {
            let byte = bytes[place]
            place += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    mutating func next() -> (field: UInt64, value: Value)? {
        guard let tag = varint() else { return nil }
        switch tag & 7 {
        case 0: return varint().map { (tag >> 3, .number($0)) }
        case 2:
            guard let count = varint(), count <= UInt64(bytes.count - place) else { return nil }
            defer { place += Int(count) }
            return (tag >> 3, .bytes(UnsafeRawBufferPointer(rebasing: bytes[place..<place + Int(count)])))
        default: return nil
        }
    }

    /// The field `number` if it is there and a number, else 0.
    static func number(_ number: UInt64, in bytes: UnsafeRawBufferPointer) -> Int64 {
        var reader = ProtoReader(bytes)
        var found: UInt64 = 0
        while let (field, value) = reader.next() {
            if field == number, case .number(let value) = value { found = value }
        }
        return Int64(bitPattern: found)
    }

    /// The field `number` if it is there and bytes.
    static func bytes(_ number: UInt64, in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var reader = ProtoReader(bytes)
        while let (field, value) = reader.next() {
            if field == number, case .bytes(let value) = value { return value }
        }
        return nil
    }
}
