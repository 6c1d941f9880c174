#if canImport(Glibc)
    internal import Glibc
#endif
package import SQLite

/// What can go wrong with a member's disk.
package enum StorageError: Error, CustomStringConvertible, Sendable {
    /// A system call failed with `errno`.
    case system(operation: String, path: String, errno: Int32)
    case sqlite(SQLiteError)
    /// Bytes on disk are not what was written.
    case damaged(path: String, reason: String)
    /// The directory cannot be used as it is; the text says why and what to do.
    case unusable(String)

    /// No space is left: the same work may succeed later. Not so a sync, which may have lost what was written before.
    package var isFull: Bool {
        switch self {
        case .system(let operation, _, let errno): operation != "sync" && (errno == ENOSPC || errno == EDQUOT)
        case .sqlite(let error): error.isFull
        default: false
        }
    }

    package var description: String {
        switch self {
        case .system(let operation, let path, let errno):
            "cannot \(operation) \(path): \(String(cString: strerror(errno)))"
        case .sqlite(let error): error.description
        case .damaged(let path, let reason):
            """
            \(path) is damaged: \(reason). Nothing of it is used. If the other members of the fabric are well, remove \
            this member there (`weft member remove`), move the data directory away and run `weft join` again: it gets \
            everything back from them
            """
        case .unusable(let reason): reason
        }
    }
}

extension StorageError {
    /// What SQLite said of the database at `path`; damage is named as such.
    package init(_ error: SQLiteError, path: String) {
        self = error.isCorruption ? .damaged(path: path, reason: error.message) : .sqlite(error)
    }
}

/// Runs `body`, which opens the database at `path`: statements that do not fit its tables are a sign of damage there.
package func storage<T>(opening path: String, _ body: () throws(SQLiteError) -> T) throws(StorageError) -> T {
    do throws(SQLiteError) {
        return try body()
    } catch {
        if error.isMisfit { throw .damaged(path: path, reason: error.message) }
        throw StorageError(error, path: path)
    }
}

/// Runs `body`, turning what SQLite throws into this room's error.
package func storage<T>(_ path: String, _ body: () throws(SQLiteError) -> T) throws(StorageError) -> T {
    do {
        return try body()
    } catch {
        throw StorageError(error, path: path)
    }
}
