internal import Bytes
package import Raft

/// Remembers, as long as the machine is up, from which state requests were answered: what a killed process had applied it applies
/// again only once it hears what is committed, and until then it would answer from an older state than before.
///
/// The file survives the process, not a power cut. Owned by one thread at a time.
package final class ServedMark: Sendable {
    private let file: File
    private let boot: UInt64
    /// The index of the state that an earlier process answered from; nil when the machine was started since, or nobody knows.
    package let before: Index?

    /// - Parameter boot: a number that each start of the machine has anew; nil when it is not known.
    package init(path: String, boot: UInt64?) throws(StorageError) {
        file = try File(path, .create)
        self.boot = boot ?? 0
        let known = try? Self.decode(file.read(at: 0, count: Self.bytesMax))
        before = known.flatMap { boot != nil && $0.boot == boot ? $0.index : nil }
    }

    /// To be called before anybody is answered from the state of `index`. What was answered from before counts until more is.
    package func note(_ index: Index) throws(StorageError) {
        let index = max(index, before ?? 0)
        var writer = ByteWriter(reserving: Self.bytesMax)
        writer.fixed(boot)
        writer.fixed(index)
        writer.fixed(CRC32C.of(writer.bytes))
        do throws(StorageError) {
            try file.write(writer.bytes, at: 0)
        } catch {
            // Without it the next start asks a leader.
            guard error.isFull else { throw error }
            try File.remove(file.path)
        }
    }

    private static let bytesMax = 20

    private static func decode(_ bytes: [UInt8]) throws(DecodingFault) -> (boot: UInt64, index: Index) {
        guard bytes.count == bytesMax else { throw .truncated }
        var reader = ByteReader(bytes)
        let boot: UInt64 = try reader.fixed()
        let index: Index = try reader.fixed()
        let checksum: UInt32 = try reader.fixed()
        guard checksum == CRC32C.of(Array(bytes[..<16])) else { throw .invalid("checksum") }
        return (boot, index)
    }
}
