internal import CSQLite

/// A failure that SQLite reported.
package struct SQLiteError: Error, CustomStringConvertible, Sendable {
    /// The extended result code, <https://www.sqlite.org/rescode.html>.
    package let code: Int32
    package let message: String
    /// What was being done: a statement's text, or a path.
    package let context: String

    package init(code: Int32, message: String, context: String) {
        self.code = code
        self.message = message
        self.context = context
    }

    /// The file is not a database, or its structure is damaged.
    package var isCorruption: Bool {
        code & 0xff == SQLITE_CORRUPT || code & 0xff == SQLITE_NOTADB || code == Self.pageDiffers
    }

    /// SQLITE_IOERR_DATA: a page is not what was written.
    private static let pageDiffers = SQLITE_IOERR | 32 << 8
    /// The statement and the tables do not go together. As the statement is ours, the tables are damaged: their names,
    /// columns and constraints are data, too.
    package var isMisfit: Bool { [SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH].contains(code & 0xff) }
    package var isFull: Bool { code & 0xff == SQLITE_FULL }
    package var isBusy: Bool { code & 0xff == SQLITE_BUSY }

    /// Something has to wait for others.
    package static func busy(_ message: String, _ context: String) -> SQLiteError {
        SQLiteError(code: SQLITE_BUSY, message: message, context: context)
    }

    package var description: String { "SQLite error \(code): \(message) (\(context))" }
}
