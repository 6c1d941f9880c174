/// Writes the fields of a protocol buffers message (the encoding's specification, "Message Structure"): for the few messages
/// of the hot path, where the generated code costs more than all the rest.
package struct ProtoWriter {
    package private(set) var bytes: [UInt8] = []

    package init(reserving count: Int = 64) { bytes.reserveCapacity(count) }

    /// Bytes that a varint takes.
    package static func size(ofVarint value: UInt64) -> Int { value == 0 ? 1 : (70 - value.leadingZeroBitCount) / 7 }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// A number, unless it is 0.
    package mutating func field(_ number: UInt64, _ value: Int64) {
        guard value != 0 else { return }
        varint(number << 3)
        varint(UInt64(bitPattern: value))
    }

    package mutating func field(_ number: UInt64, _ value: Bool) { field(number, value ? 1 : 0) }

    /// Bytes, unless there are none.
    package mutating func field(_ number: UInt64, _ value: [UInt8]) {
        if !value.isEmpty { always(number, value) }
    }

    /// - Parameter count: bytes of the message, if it may be large.
    package mutating func field(_ number: UInt64, reserving count: Int = 64, _ message: (inout ProtoWriter) -> Void) {
        var inner = ProtoWriter(reserving: count)
        message(&inner)
        always(number, inner.bytes)
    }

    private mutating func always(_ number: UInt64, _ value: [UInt8]) {
        varint(number << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }
}

/// Goes through the fields of a message; what is no field ends it, and shows in `isAtEnd`.
package struct ProtoReader {
    package enum Value {
        case number(UInt64)
        case bytes(UnsafeRawBufferPointer)
    }

    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// If all was read.
    package var isAtEnd: Bool { place == bytes.count }

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

    package mutating func next() -> (field: UInt64, value: Value)? {
        let start = place
        if let tag = varint() {
            switch tag & 7 {
            case 0: if let value = varint() { return (tag >> 3, .number(value)) }
            case 2:
                guard let count = varint(), count <= UInt64(bytes.count - place) else { break }
                defer { place += Int(count) }
                return (tag >> 3, .bytes(UnsafeRawBufferPointer(rebasing: bytes[place..<place + Int(count)])))
            default: break
            }
        }
        place = start
        return nil
    }

    /// The field `number` if it is there and a number, else 0.
    package static func number(_ number: UInt64, in bytes: UnsafeRawBufferPointer) -> Int64 {
        var reader = ProtoReader(bytes)
        var found: UInt64 = 0
        while let (field, value) = reader.next() {
            if field == number, case .number(let value) = value { found = value }
        }
        return Int64(bitPattern: found)
    }

    /// The field `number` if it is there and bytes.
    package static func bytes(_ number: UInt64, in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var reader = ProtoReader(bytes)
        while let (field, value) = reader.next() {
            if field == number, case .bytes(let value) = value { return value }
        }
        return nil
    }
}
