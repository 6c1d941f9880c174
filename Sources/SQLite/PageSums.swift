internal import CPageSums
internal import CSQLite

/// Checksums of the pages of a database, kept beside it: see `page_sums.h`. Whatever was not written as it is read, be it
/// a flipped bit, a misdirected or a lost write, is an error that `SQLiteError.isCorruption` tells.
package enum PageSums {
    static let vfsName = "page-sums"
    /// The sums of a file lie beside it, under its name with this.
    package static let suffix = "-sums"

    static func register() {
        _ = registered
    }

    private static let registered: Bool = page_sums_register() == SQLITE_OK

    /// What is known of the sums of an open database.
    package enum State: Sendable {
        /// There are none yet: what the file holds is believed.
        case new
        case loaded
        /// They are damaged themselves, or cannot be read.
        case damaged
    }

    package static func state(_ path: String) -> State {
        switch page_sums_state(path) {
        case PAGE_SUMS_NEW: .new
        case PAGE_SUMS_LOADED: .loaded
        default: .damaged
        }
    }

    /// Computes and saves the sums of a file as it is, after a complete checkpoint.
    package static func build(_ path: String) throws(SQLiteError) {
        try check(page_sums_build(path), path)
    }

    /// Saves the sums of what was written since the last time, after a complete checkpoint.
    package static func save(_ path: String) throws(SQLiteError) {
        try check(page_sums_save(path), path)
    }

    /// Reads and checks every page, after a complete checkpoint.
    package static func verify(_ path: String) throws(SQLiteError) {
        var page: Int64 = 0
        let code = page_sums_verify(path, &page)
        guard page == 0 else {
            throw SQLiteError(code: code, message: "page \(page) is not what was written", context: path)
        }
        try check(code, path)
    }

    /// Removes the sums before another file takes the path. Connections to the file there is may go on to read it.
    package static func forget(_ path: String) throws(SQLiteError) {
        try check(page_sums_forget(path), path)
    }

    private static func check(_ code: Int32, _ path: String) throws(SQLiteError) {
        guard code != SQLITE_OK else { return }
        throw SQLiteError(code: code, message: "page sums: \(String(cString: sqlite3_errstr(code)))", context: path)
    }
}
