internal import CSQLite

/// A prepared statement of one connection, used on that connection's thread. Columns count from 0, parameters from 1.
package struct Statement: ~Copyable, @unchecked Sendable {
    private let handle: OpaquePointer
    private let connection: OpaquePointer
    private let sql: String

    init(_ handle: OpaquePointer, connection: OpaquePointer, sql: String) {
        self.handle = handle
        self.connection = connection
        self.sql = sql
    }

    deinit {
        sqlite3_finalize(handle)
    }

    // MARK: - Parameters

    package func bind(_ position: Int32, _ value: Int64) {
        precondition(sqlite3_bind_int64(handle, position, value) == SQLITE_OK, "parameter \(position) of \(sql)")
    }

    package func bind(_ position: Int32, _ value: String) {
        let code = sqlite3_bind_text(handle, position, value, -1, Self.transient)
        precondition(code == SQLITE_OK, "parameter \(position) of \(sql)")
    }

    /// Binds a copy of `value`.
    package func bind(_ position: Int32, _ value: [UInt8]) {
        let code = value.withUnsafeBytes { bytes in
            bytes.count == 0
                ? sqlite3_bind_zeroblob(handle, position, 0)
                : sqlite3_bind_blob(handle, position, bytes.baseAddress, Int32(bytes.count), Self.transient)
        }
        precondition(code == SQLITE_OK, "parameter \(position) of \(sql)")
    }

    /// Binds `value`, which has to stay as it is until the statement has run.
    package func bind(_ position: Int32, lent value: UnsafeRawBufferPointer) {
        let code =
            value.count == 0
            ? sqlite3_bind_zeroblob(handle, position, 0)
            : sqlite3_bind_blob(handle, position, value.baseAddress, Int32(value.count), nil)
        precondition(code == SQLITE_OK, "parameter \(position) of \(sql)")
    }

    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    // MARK: - Running

    /// Goes to the next row; false when there is none.
    package mutating func step() throws(SQLiteError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default:
            let code = sqlite3_extended_errcode(connection)
            let message = String(cString: sqlite3_errmsg(connection))
            sqlite3_reset(handle)
            throw SQLiteError(code: code, message: message, context: sql)
        }
    }

    /// Makes the statement ready to run again; ends what it was reading.
    package mutating func reset() {
        sqlite3_reset(handle)
    }

    /// Runs a statement that answers no rows, and makes it ready to run again.
    package mutating func run() throws(SQLiteError) {
        _ = try step()
        reset()
    }

    // MARK: - Columns of the current row

    package func integer(_ column: Int32) -> Int64 {
        sqlite3_column_int64(handle, column)
    }

    package func isNull(_ column: Int32) -> Bool {
        sqlite3_column_type(handle, column) == SQLITE_NULL
    }

    package func blob(_ column: Int32) -> [UInt8] {
        guard let start = sqlite3_column_blob(handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column))))
    }

    package func text(_ column: Int32) -> String? {
        sqlite3_column_text(handle, column).map { String(cString: $0) }
    }
}
