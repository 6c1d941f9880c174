internal import Bytes
package import SQLite

/// The layout of `kv.db`: the state at some applied index.
///
/// A row per revision in `revision`, whose values are appended and never rewritten, and beside it the narrow
/// `key_index`. Both carry checksums. `meta` is one row.
enum StateFile {
    static let schema = """
        CREATE TABLE revision(seq INTEGER PRIMARY KEY, main INTEGER NOT NULL, create_rev INTEGER NOT NULL,
            version INTEGER NOT NULL, lease INTEGER NOT NULL, sum INTEGER NOT NULL, key BLOB NOT NULL,
            value BLOB NOT NULL);
        CREATE TABLE key_index(key BLOB NOT NULL, main INTEGER NOT NULL, seq INTEGER NOT NULL,
            create_rev INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY(key, main)) WITHOUT ROWID;
        CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id=0), body BLOB NOT NULL, sum INTEGER NOT NULL);
        CREATE TABLE start(count INTEGER NOT NULL);
        INSERT INTO start VALUES(0);
        """
    /// Since format 2.
    static let leaseSchema = """
        CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, remaining INTEGER NOT NULL,
            generation INTEGER NOT NULL, sum INTEGER NOT NULL);
        CREATE TABLE lease_key(lease INTEGER NOT NULL, key BLOB NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY(lease, key)) WITHOUT ROWID;
        PRAGMA user_version=2;
        """

    /// Since format 3: `LiveCounts`.
    static let liveSchema = """
        CREATE TABLE live_count(start BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
        PRAGMA user_version=3;
        """

    static func damage(_ reason: String, _ path: String) -> SQLiteError {
        SQLiteError(code: 11, message: reason, context: path)
    }

    /// Checks every row: what is damaged at one member may not get to another.
    static func checkRows(_ connection: borrowing Connection) throws(SQLiteError) {
        var rows: Int64 = 0
        var scan = try connection.prepare("SELECT seq,main,create_rev,version,lease,sum,key,value FROM revision")
        while try scan.step() {
            let pair = KeyValue(
                key: scan.blob(6), createRevision: scan.integer(2), modRevision: scan.integer(1),
                version: scan.integer(3), lease: scan.integer(4), value: scan.blob(7))
            let change = Memtable.Change(pair: pair, sequence: scan.integer(0))
            guard scan.integer(5) == Int64(RowSum.of(change)) else {
                throw damage("revision row \(change.sequence) is not what was written", connection.path)
            }
            rows += 1
        }
        var index = try connection.prepare("SELECT key,main,seq,create_rev,version,lease,sum FROM key_index")
        while try index.step() {
            let pair = KeyValue(
                key: index.blob(0), createRevision: index.integer(3), modRevision: index.integer(1),
                version: index.integer(4), lease: index.integer(5))
            guard index.integer(6) == Int64(RowSum.ofIndex(pair, sequence: index.integer(2))) else {
                throw damage("an index row is not what was written", connection.path)
            }
            rows -= 1
        }
        _ = try leases(connection)
        _ = try records(connection)
        guard rows == 0 else { throw damage("it has \(rows) revisions more than its index", connection.path) }
    }

    /// All leases and their keys, each row checked.
    static func leases(
        _ connection: borrowing Connection
    ) throws(SQLiteError) -> ([Lease], [LeaseChanges.Attachment]) {
        var leases: [Lease] = []
        var scan = try connection.prepare("SELECT id,ttl,remaining,generation,sum FROM lease")
        while try scan.step() {
            let lease = Lease(
                id: scan.integer(0), ttl: scan.integer(1), remaining: scan.integer(2), generation: scan.integer(3))
            guard scan.integer(4) == Int64(RowSum.of(lease)) else {
                throw damage("the row of lease \(lease.id) is not what was written", connection.path)
            }
            leases.append(lease)
        }
        var attachments: [LeaseChanges.Attachment] = []
        var keys = try connection.prepare("SELECT lease,key,sum FROM lease_key")
        while try keys.step() {
            let attachment = LeaseChanges.Attachment(lease: keys.integer(0), key: keys.blob(1))
            guard keys.integer(2) == Int64(RowSum.of(attachment)) else {
                throw damage("a key of lease \(attachment.lease) is not what was written", connection.path)
            }
            attachments.append(attachment)
        }
        return (leases, attachments)
    }

    /// Bytes of the file, and of it those in use.
    static func sizes(_ connection: borrowing Connection) throws(SQLiteError) -> (total: Int64, inUse: Int64) {
        let page = try connection.integer("PRAGMA page_size") ?? 0
        let pages = try connection.integer("PRAGMA page_count") ?? 0
        let free = try connection.integer("PRAGMA freelist_count") ?? 0
        return (page * pages, page * (pages - free))
    }

    static func readMeta(_ connection: borrowing Connection) throws(SQLiteError) -> StateMeta {
        var statement = try connection.prepare("SELECT body,sum FROM meta WHERE id=0")
        guard try statement.step() else { throw damage("it has no meta row", connection.path) }
        let body = statement.blob(0)
        guard statement.integer(1) == Int64(CRC32C.of(body)), let meta = try? StateMeta(decoding: body) else {
            throw damage("the checksum of its meta row is wrong", connection.path)
        }
        return meta
    }
}

/// Has an image need no files beside it, however it is opened.
package func standAlone(_ path: String) throws(SQLiteError) {
    let connection = try Connection(path: path, access: .readWrite)
    try connection.setPragma("journal_mode", "DELETE")
}

/// Makes an image that was inspected ready to take the place of `kv.db`: with the checksums of its pages beside it.
package func prepareImage(at path: String) throws(SQLiteError) {
    let writer = try StateWriter(path: path, initial: nil, isChecked: true)
    guard try writer.checkpoint() else { throw .busy("somebody else reads it", path) }
}

/// The state inside an image that a peer sent, checked before it replaces anything.
package func inspectImage(at path: String) throws(SQLiteError) -> StateMeta {
    let connection = try Connection(path: path, access: .readOnly)
    if makes(.sendsDamagedImages) { return try StateFile.readMeta(connection) }
    guard try connection.text("PRAGMA quick_check(1)") == "ok" else {
        throw StateFile.damage("its pages are not consistent", path)
    }
    let meta = try StateFile.readMeta(connection)
    try StateFile.checkRows(connection)
    return meta
}
