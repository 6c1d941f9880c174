internal import Bytes
internal import Raft

/// Remembers outside of SQLite how far the log was durable.
///
/// One flipped bit in a write-ahead log makes SQLite drop every later commit without an error. A log that ends before
/// the mark is therefore damage and never a torn tail. Two slots are written in turn, each with a checksum, so that a
/// torn write leaves the other. The mark may lag behind the log, never run ahead of it; of the term and the vote it is never
/// behind, so that a member whose log is lost still knows whom it voted for.
final class DurableMark {
    struct Value: Equatable, Sendable {
        var lastIndex: Index
        var lastTerm: Term
        var term: Term
        var vote: NodeID?
        /// See `Raft.logEpoch`.
        var logEpoch: UInt64
        /// The log of this epoch still lacks what an earlier one had.
        var isRecovering: Bool

        init(
            lastIndex: Index = 0, lastTerm: Term = 0, term: Term = 0, vote: NodeID? = nil, logEpoch: UInt64 = 0,
            isRecovering: Bool = false
        ) {
            self.lastIndex = lastIndex
            self.lastTerm = lastTerm
            self.term = term
            self.vote = vote
            self.logEpoch = logEpoch
            self.isRecovering = isRecovering
        }
    }

    private static let slotBytes = 4096
    private let file: File
    private var sequence: UInt64 = 0
    private(set) var value = Value()

    /// Opens the mark, making it when `mayCreate`: a member that has a log has a mark.
    init(path: String, mayCreate: Bool) throws(StorageError) {
        guard mayCreate || File.exists(path) else { throw .damaged(path: path, reason: "it is missing") }
        file = try File(path, .create)
        if try file.size() < 2 * Self.slotBytes {
            guard mayCreate else { throw .damaged(path: path, reason: "it is too short") }
            // Both slots at full size, so that later writes change no metadata and their sync is cheap.
            try file.write([UInt8](repeating: 0, count: 2 * Self.slotBytes), at: 0)
            try write(value)
            try write(value)
            try sync()
            try File.syncDirectory(of: path)
            return
        }
        var found: (sequence: UInt64, value: Value)?
        for slot in 0..<2 {
            let bytes = try file.read(at: slot * Self.slotBytes, count: 52)
            guard let decoded = try? Self.decode(bytes), decoded.sequence >= (found?.sequence ?? 0) else { continue }
            found = decoded
        }
        guard let found else { throw .damaged(path: path, reason: "neither of its slots has a right checksum") }
        sequence = found.sequence
        value = found.value
    }

    /// Writes `next` without waiting for the device: it survives the process, and with `sync` a power cut.
    func write(_ next: Value) throws(StorageError) {
        // A write that fails may have torn its slot: only that one is written again.
        let nextSequence = sequence + 1
        var writer = ByteWriter()
        writer.fixed(nextSequence)
        writer.fixed(next.lastIndex)
        writer.fixed(next.lastTerm)
        writer.fixed(next.term)
        writer.fixed(next.vote ?? 0)
        writer.fixed(next.logEpoch << 1 | (next.isRecovering ? 1 : 0))
        writer.fixed(CRC32C.of(writer.bytes))
        try file.write(writer.bytes, at: Int(nextSequence % 2) * Self.slotBytes)
        sequence = nextSequence
        value = next
    }

    func sync() throws(StorageError) {
        try file.sync()
    }

    private static func decode(_ bytes: [UInt8]) throws(DecodingFault) -> (sequence: UInt64, value: Value) {
        guard bytes.count == 52 else { throw .truncated }
        var reader = ByteReader(bytes)
        let sequence: UInt64 = try reader.fixed()
        let lastIndex: Index = try reader.fixed()
        let lastTerm: Term = try reader.fixed()
        let term: Term = try reader.fixed()
        let vote: NodeID = try reader.fixed()
        let epoch: UInt64 = try reader.fixed()
        let checksum: UInt32 = try reader.fixed()
        guard checksum == CRC32C.of(Array(bytes[..<48])) else { throw .invalid("checksum") }
        let value = Value(
            lastIndex: lastIndex, lastTerm: lastTerm, term: term, vote: vote == 0 ? nil : vote, logEpoch: epoch >> 1,
            isRecovering: epoch & 1 == 1)
        return (sequence, value)
    }
}
