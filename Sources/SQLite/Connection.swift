internal import CSQLite

/// One connection to a database. Not shared between threads: its owner hands it over whole or not at all.
package struct Connection: ~Copyable, @unchecked Sendable {
    package enum Access: Sendable {
        case readWrite, readOnly
    }

    private let handle: OpaquePointer
    package let path: String

    /// Opens or, when writing, creates the database at `path`.
    /// - Parameter withPageSums: see `PageSums`; all connections to one database must agree.
    package init(path: String, access: Access, withPageSums: Bool = false) throws(SQLiteError) {
        _ = Self.configured
        if withPageSums { PageSums.register() }
        var opened: OpaquePointer?
        let mode = access == .readWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY
        let code = sqlite3_open_v2(
            path, &opened, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, withPageSums ? PageSums.vfsName : nil)
        guard code == SQLITE_OK, let opened else {
            let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
            sqlite3_close_v2(opened)
            throw SQLiteError(code: code, message: message, context: path)
        }
        sqlite3_busy_timeout(opened, 5000)
        handle = opened
        self.path = path
    }

    /// The process-wide counters of SQLite's allocator take a lock at each allocation; nothing reads them.
    private static let configured: Bool = weft_sqlite_config_no_memory_statistics() == SQLITE_OK

    deinit {
        sqlite3_close_v2(handle)
    }

    /// Runs statements that answer nothing.
    package func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code, sql) }
    }

    package func prepare(_ sql: String) throws(SQLiteError) -> Statement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw error(code, sql) }
        return Statement(statement, connection: handle, sql: sql)
    }

    /// Sets a pragma and reads it back: a pragma that SQLite ignores is an error here.
    package func setPragma(_ name: String, _ value: String, expecting expected: String? = nil) throws(SQLiteError) {
        try execute("PRAGMA \(name)=\(value)")
        let found = try text("PRAGMA \(name)")
        let wanted = expected ?? value
        guard found?.lowercased() == wanted.lowercased() else {
            throw SQLiteError(
                code: SQLITE_MISUSE, message: "PRAGMA \(name) is \(found ?? "nothing"), not \(wanted)", context: path)
        }
    }

    /// The first column of the first row, as text.
    package func text(_ sql: String) throws(SQLiteError) -> String? {
        var statement = try prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// The first column of the first row, as an integer.
    package func integer(_ sql: String) throws(SQLiteError) -> Int64? {
        var statement = try prepare(sql)
        return try statement.step() && !statement.isNull(0) ? statement.integer(0) : nil
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    package func transaction<T>(_ body: () throws(SQLiteError) -> T) throws(SQLiteError) -> T {
        try execute("BEGIN IMMEDIATE")
        do {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // The statement that failed may have ended the transaction itself.
            if sqlite3_get_autocommit(handle) == 0 { sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
            throw error
        }
    }

    /// Moves what the write-ahead log holds into the database file and syncs it. Answers if all of it was moved: a
    /// reader of an old state can hold some back.
    /// - Parameter emptying: cuts the write-ahead log off, too; waits for readers.
    package func checkpoint(emptying: Bool = false) throws(SQLiteError) -> Bool {
        var total: Int32 = 0
        var moved: Int32 = 0
        let mode = emptying ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE
        let code = sqlite3_wal_checkpoint_v2(handle, nil, mode, &total, &moved)
        if code == SQLITE_BUSY { return false }
        guard code == SQLITE_OK else { throw error(code, "checkpoint of \(path)") }
        return total == moved
    }

    /// Leaves the write-ahead log alone when this connection is the last to close.
    package func disableCheckpointOnClose() {
        _ = weft_sqlite_no_checkpoint_on_close(handle)
    }

    /// Writes an image of what this connection sees to a new database at `target`, which is not synced: after a crash it is of
    /// no use. A sync of so much at once would hold up those of everybody else on the device.
    package func copy(to target: String) throws(SQLiteError) {
        let other = try Connection(path: target, access: .readWrite)
        try other.execute("PRAGMA synchronous=OFF")
        guard let backup = sqlite3_backup_init(other.handle, "main", handle, "main") else {
            throw other.error(sqlite3_extended_errcode(other.handle), target)
        }
        let code = sqlite3_backup_step(backup, -1)
        let finished = sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE, finished == SQLITE_OK else {
            throw other.error(code == SQLITE_DONE ? finished : code, target)
        }
    }

    private borrowing func error(_ code: Int32, _ context: String) -> SQLiteError {
        SQLiteError(code: code, message: String(cString: sqlite3_errmsg(handle)), context: context)
    }
}
