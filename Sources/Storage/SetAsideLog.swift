package import Raft
internal import SQLite

/// What can still be read of a log that was found damaged and set aside.
package enum SetAsideLog {
    /// The entries that follow (`index`, `term`), up to the first one that is missing or not what was written. None when the log
    /// does not hold that very entry: then it may be another leader's. None, too, when it cannot be copied: what else there is can be
    /// recovered all the same.
    /// - Parameter path: where the log was.
    package static func entries(of path: String, after index: Index, term: Term) -> [Entry] {
        guard File.exists(path + ".damaged") else { return [] }
        // A copy: opening it changes it, and somebody may want to look again. The names are those that SQLite looks for.
        let copy = path + ".salvage"
        defer { remove(copy) }
        do throws(StorageError) {
            // One that was cut short would lend its write-ahead log to this one.
            remove(copy)
            for suffix in suffixes where File.exists(path + suffix + ".damaged") {
                let source = path + suffix + ".damaged"
                try File.copy(source, bytes: File(source, .read).size(), to: copy + suffix)
            }
        } catch {
            return []
        }
        return readable(copy, after: index, term)
    }

    private static let suffixes = ["", "-wal"]

    private static func remove(_ copy: String) {
        for suffix in suffixes { try? File.remove(copy + suffix) }
    }

    private static func readable(_ path: String, after index: Index, _ term: Term) -> [Entry] {
        var found: [Entry] = []
        do throws(SQLiteError) {
            let connection = try Connection(path: path, access: .readWrite)
            try connection.setPragma("locking_mode", "EXCLUSIVE")
            var scan = try connection.prepare(
                "SELECT idx,term,kind,checksum,row_sum,payload FROM entry WHERE idx>=? ORDER BY idx")
            scan.bind(1, Int64(bitPattern: index))
            var last = (index: index, term: term)
            let state = try? LogStore.state(in: connection)
            var isJoined = state?.baseIndex == index && state?.baseTerm == term
            while try scan.step(), let entry = LogStore.entry(in: scan) {
                if entry.index == index {
                    guard entry.term == term else { return [] }
                    isJoined = true
                    continue
                }
                guard isJoined, entry.index == last.index + 1, entry.term >= last.term else { break }
                found.append(entry)
                last = (entry.index, entry.term)
            }
        } catch {
            // It is damaged: what came before is as good as it is.
        }
        return found
    }
}
