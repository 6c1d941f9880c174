internal import CPlatform

/// The Castagnoli CRC (RFC 3720, appendix B.4) of bytes, by the processor's own instruction where it has one.
package struct CRC32C: Sendable {
    private var state: UInt32 = ~0

    package init() {}

    /// The checksum of everything added.
    package var value: UInt32 { ~state }

    package static func of(_ bytes: [UInt8]) -> UInt32 {
        var sum = CRC32C()
        sum.add(bytes)
        return sum.value
    }

    package mutating func add(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { add($0) }
    }

    package mutating func add(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBytes { add($0) }
    }

    package mutating func add(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { add($0) }
    }

    package mutating func add(_ value: UInt8) {
        withUnsafeBytes(of: value) { add($0) }
    }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        state = weft_crc32c_add(state, bytes.baseAddress, bytes.count)
    }
}
