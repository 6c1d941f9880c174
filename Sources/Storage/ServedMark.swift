internal import Bytes
package import Raft
#if canImport(Glibc)
    internal import Glibc
#endif

/// Remembers, as long as the machine is up, from which state requests were answered: what a killed process had applied it applies
/// again only once it hears what is committed, and until then it would answer from an older state than before.
///
/// The file survives the process, not a power cut. It is written through memory that the kernel keeps: a call for each answer took a
/// fourteenth of the time of a put, waiting for the journal of the file system. Owned by one thread at a time.
package final class ServedMark: @unchecked Sendable {
    /// Nil when there is no room for it: then the next start asks a leader.
    private let memory: UnsafeMutableRawPointer?
    private let boot: UInt64
    /// The index of the state that an earlier process answered from; nil when the machine was started since, or nobody knows.
    package let before: Index?

    /// - Parameter boot: a number that each start of the machine has anew; nil when it is not known.
    package init(path: String, boot: UInt64?) throws(StorageError) {
        let file = try File(path, .create)
        let known = try? Self.decode(file.read(at: 0, count: Self.bytesMax))
        memory = try Self.hasRoom(file) ? file.map(count: Self.bytesMax) : nil
        self.boot = boot ?? 0
        before = known.flatMap { boot != nil && $0.boot == boot ? $0.index : nil }
    }

    deinit { if let memory { munmap(memory, Self.bytesMax) } }

    /// Room on the disk is taken at the start: none is needed later.
    private static func hasRoom(_ file: borrowing File) throws(StorageError) -> Bool {
        guard try file.size() != bytesMax else { return true }
        do throws(StorageError) {
            try file.truncate(to: 0)
            try file.write([UInt8](repeating: 0, count: bytesMax), at: 0)
            return true
        } catch {
            guard error.isFull else { throw error }
            try File.remove(file.path)
            return false
        }
    }

    /// To be called before anybody is answered from the state of `index`. What was answered from before counts until more is.
    package func note(_ index: Index) {
        let index = max(index, before ?? 0)
        var writer = ByteWriter(reserving: Self.bytesMax)
        writer.fixed(boot)
        writer.fixed(index)
        writer.fixed(CRC32C.of(writer.bytes))
        // Cut short by the end of the process it does not fit its sum, and the next start asks a leader.
        memory?.copyMemory(from: writer.bytes, byteCount: Self.bytesMax)
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
