/// Bytes as a key of a set or dictionary. An array hashes its bytes one by one, which takes milliseconds for a large key; this
/// hashes them at once.
package struct Key: Hashable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
