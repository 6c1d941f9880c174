package import Raft
internal import SQLite

/// A log that was found damaged and given another name: what can still be read of it may have been acknowledged.
///
/// There may be two: the first, and the last of those that were damaged while what the first had was not here again. That one may
/// have entries that came after the first was lost.
package enum SetAsideLog {
    private static let first = ".damaged"
    private static let last = ".damaged-again"
    private static let suffixes = ["", "-wal"]

    /// Leaves no log at `path`. The first one that was lost is set aside. After it only one is here that has nothing yet, because a
    /// crash cut short its making: it is removed.
    static func clear(_ path: String) throws(StorageError) {
        guard File.exists(path), File.exists(path + first) else { return try take(path) }
        try File.remove(path + "-wal")
        try File.remove(path)
    }

    /// Gives the log at `path` another name. A crash at any point leaves a state from which this can be called again.
    static func take(_ path: String) throws(StorageError) {
        let wal = path + "-wal"
        if File.exists(path) {
            let name = File.exists(path + first) ? last : first
            // SQLite would lay the write-ahead log of another one over this one.
            try File.remove(wal + name)
            try File.rename(path, to: path + name)
        }
        guard File.exists(wal) else { return }
        let owner = File.exists(path + last) ? last : first
        if File.exists(wal + owner) {
            try File.remove(wal)
        } else {
            try File.rename(wal, to: wal + owner)
        }
    }

    /// Removes what was set aside: what it had is here again.
    static func remove(_ path: String) throws(StorageError) {
        for name in [last, first] {
            for suffix in suffixes { try File.remove(path + suffix + name) }
        }
    }

    /// The entries that follow (`index`, `term`), up to the first one that is missing or not what was written. None when the log
    /// does not hold that very entry: then it may be another leader's. Of two logs the one that a voter would prefer.
    ///
    /// Entries that a later leader replaced may be among them: nobody was told that those had taken effect, or that they had not. To leave
    /// them out could leave out acknowledged ones before them.
    /// - Parameter path: where the log was.
    /// - Throws: when there is no room for a copy, or it cannot be made for another reason that is not the log's.
    package static func entries(of path: String, after index: Index, term: Term) throws(StorageError) -> [Entry] {
        let one = try entries(of: path, first, after: index, term)
        let other = try entries(of: path, last, after: index, term)
        guard let end = one.last, let otherEnd = other.last else { return one + other }
        return (otherEnd.term, otherEnd.index) > (end.term, end.index) ? other : one
    }

    private static func entries(
        of path: String, _ name: String, after index: Index, _ term: Term
    ) throws(StorageError) -> [Entry] {
        guard File.exists(path + name) else { return [] }
        // A copy: opening it changes it, and somebody may want to look again. The names are those that SQLite looks for.
        let copy = path + ".salvage"
        defer { removeCopy(copy) }
        do throws(StorageError) {
            // One that was cut short would lend its write-ahead log to this one.
            removeCopy(copy)
            for suffix in suffixes where File.exists(path + suffix + name) {
                let source = path + suffix + name
                try File.copy(source, bytes: File(source, .read).size(), to: copy + suffix)
            }
        } catch {
            // What the disk does not give back is lost. Anything else is no fault of the log's.
            if case .system(_, let failed, _) = error, !failed.hasSuffix(name) { throw error }
            return []
        }
        return try readable(copy, after: index, term)
    }

    private static func removeCopy(_ copy: String) {
        for suffix in suffixes { try? File.remove(copy + suffix) }
    }

    private static func readable(
        _ path: String, after index: Index, _ term: Term
    ) throws(StorageError) -> [Entry] {
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
            // What came before the damage is as good as it is.
            guard error.isCorruption || error.isMisfit else { throw StorageError(error, path: path) }
        }
        return found
    }
}
