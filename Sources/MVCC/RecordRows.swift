package import Access
internal import Bytes
package import Fabric
package import SQLite

/// Changes of the fabric's records, and of users and roles, that are not in `kv.db` yet; the last of each counts.
struct RecordRows: Sendable {
    struct Key: Hashable {
        var kind: UInt8
        var key: [UInt8]
    }

    private(set) var rows: [Key: [UInt8]?] = [:]
    /// About what they take in memory.
    private(set) var bytes = 0

    /// Answers the change's checksum.
    mutating func note(_ change: FabricChange) -> UInt32 {
        note(Key(kind: change.kind.rawValue, key: change.key), change.body)
    }

    mutating func note(_ row: AccessRow) -> UInt32 { note(Key(kind: row.kind.rawValue, key: row.key), row.body) }

    private mutating func note(_ key: Key, _ body: [UInt8]?) -> UInt32 {
        rows[key] = .some(body)
        bytes += 64 + key.key.count + (body?.count ?? 0)
        return RowSum.of(key, body)
    }
}

extension RowSum {
    static func of(_ key: RecordRows.Key, _ body: [UInt8]?) -> UInt32 {
        var writer = ByteWriter(reserving: 256)
        writer.byte(key.kind)
        writer.lengthPrefixed(key.key)
        writer.bool(body != nil)
        if let body { writer.raw(body) }
        return CRC32C.of(writer.bytes)
    }
}

extension StateFile {
    /// Since format 4.
    static let fabricSchema = """
        CREATE TABLE fabric(kind INTEGER NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY(kind, key)) WITHOUT ROWID;
        PRAGMA user_version=4;
        """

    /// All records, each row checked. An image of an older version has none.
    static func records(
        _ connection: borrowing Connection
    ) throws(SQLiteError) -> (fabric: FabricState, access: AccessState) {
        var fabric = FabricState()
        var access = AccessState()
        guard try connection.integer("PRAGMA user_version") ?? 0 >= 4 else { return (fabric, access) }
        var scan = try connection.prepare("SELECT kind,key,body,sum FROM fabric")
        while try scan.step() {
            let key = RecordRows.Key(kind: UInt8(clamping: scan.integer(0)), key: scan.blob(1))
            let body = scan.blob(2)
            guard scan.integer(3) == Int64(RowSum.of(key, body)) else {
                throw damage("a row of the fabric is not what was written", connection.path)
            }
            do throws(DecodingFault) {
                if let kind = RecordKind(rawValue: key.kind) {
                    try fabric.load(kind, body)
                } else if let kind = AccessRow.Kind(rawValue: key.kind) {
                    try access.load(kind, body)
                } else {
                    throw .invalid("a record of kind \(key.kind)")
                }
            } catch {
                throw damage("a row of the fabric cannot be read: \(error)", connection.path)
            }
        }
        return (fabric, access)
    }
}

extension StateReader {
    package func records() throws(SQLiteError) -> (fabric: FabricState, access: AccessState) {
        try StateFile.records(connection)
    }
}
