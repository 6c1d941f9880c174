internal import Bytes
internal import CSimulatedDisk
internal import MVCC
internal import SQLite

/// Any commands that can be read, applied to two members' states: neither traps, and both end the same, though one of them wants the
/// answers and the other writes what it has to its file in between.
enum ApplyTarget {
    private final class Member {
        let writer: StateWriter
        let store: KeyValueStore

        init(_ path: String) throws(SQLiteError) {
            var meta = StateMeta(clusterID: 7)
            meta.version = FabricVersion.supported.upperBound
            writer = try StateWriter(path: path, initial: meta)
            store = try KeyValueStore(reader: StateReader(path: path, cacheBytes: 1 << 20), marks: FileMarks())
        }

        func flush() throws(SQLiteError) {
            guard let frozen = store.freeze() else { return }
            try writer.write(frozen)
            store.dropFrozen()
        }

        func apply(_ command: [UInt8], index: UInt64, term: UInt64, wantsAnswer: Bool) throws(SQLiteError) {
            _ = try store.apply(ByteReader(command), index: index, term: term, wantsAnswer: wantsAnswer)
            _ = store.takeChanges()
            _ = store.takeFabricChanges()
            _ = store.takeLeaseEvents()
            _ = store.takeTokenEvents()
        }
    }

    /// - Parameter bytes: commands, each with its length in a byte, and terms that now and then rise.
    static func run(_ bytes: [UInt8]) {
        wd_reset()
        wd_start(0)
        do throws(SQLiteError) {
            let (one, other) = (try Member("/sim/0/one.db"), try Member("/sim/0/other.db"))
            var reader = ByteReader(bytes)
            var (index, term) = (UInt64(0), UInt64(1))
            while let length = try? reader.byte(), let command = try? reader.raw(min(Int(length), reader.remaining)) {
                guard let kind = try? AuthoredCommand.commandKind(ByteReader(command)), Command.kinds.contains(kind)
                else { continue }
                index += 1
                if length.isMultiple(of: 7) { term += 1 }
                try one.apply(command, index: index, term: term, wantsAnswer: true)
                try other.apply(command, index: index, term: term, wantsAnswer: false)
                if length.isMultiple(of: 3) { try other.flush() }
            }
            let (a, b) = (one.store.meta, other.store.meta)
            precondition(a == b, "two members differ after the same commands: \(a) and \(b)")
        } catch {
            preconditionFailure("the disk failed: \(error)")
        }
    }
}
