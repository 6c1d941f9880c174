internal import CMessageDigest

/// SHA-256 over pieces (FIPS 180-4), by libmd.
package struct SHA256: Sendable {
    package static let bytes = 32
    private var context = SHA2_CTX()

    package init() { SHA256Init(&context) }

    package mutating func add(_ piece: [UInt8]) { SHA256Update(&context, piece, piece.count) }

    package func digest() -> [UInt8] {
        var last = context
        var digest = [UInt8](repeating: 0, count: Self.bytes)
        SHA256Final(&digest, &last)
        return digest
    }
}
