/// Appends fixed-width little-endian integers, variable-length integers and length-prefixed bytes to a buffer.
///
/// The codecs of log entries, commands, peer messages and stored rows are written with this one pair of types.
package struct ByteWriter: Sendable {
    /// What was written so far.
    package private(set) var bytes: [UInt8]

    @inline(__always)
    package init(reserving capacity: Int = 64) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Appends `value` as its fixed width in little-endian order.
    @inline(__always)
    package mutating func fixed<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Appends an unsigned LEB128 integer, 1 to 10 bytes.
    package mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends a signed integer as its two's complement, so that negative numbers take 10 bytes.
    package mutating func signed(_ value: Int64) {
        varint(UInt64(bitPattern: value))
    }

    package mutating func byte(_ value: UInt8) {
        bytes.append(value)
    }

    package mutating func bool(_ value: Bool) {
        bytes.append(value ? 1 : 0)
    }

    /// Appends the length of `value` as a varint, then its bytes.
    @inline(__always)
    package mutating func lengthPrefixed(_ value: some Collection<UInt8>) {
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    package mutating func string(_ value: String) {
        lengthPrefixed(value.utf8)
    }

    /// Appends how many there are, then each with its length.
    package mutating func list(_ items: [[UInt8]]) {
        varint(UInt64(items.count))
        for item in items { lengthPrefixed(item) }
    }

    package mutating func strings(_ items: [String]) {
        varint(UInt64(items.count))
        for item in items { string(item) }
    }

    /// Appends bytes as they are.
    @inline(__always)
    package mutating func raw(_ value: some Sequence<UInt8>) {
        bytes.append(contentsOf: value)
    }
}
