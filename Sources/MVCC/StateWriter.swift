internal import Access
internal import Bytes
package import SQLite

/// Writes `kv.db`: the only connection that does. Used by one thread at a time.
package final class StateWriter {
    private let connection: Connection
    private var insertRevision: Statement
    private var insertIndex: Statement
    private var deleteRevision: Statement
    private var deleteIndex: Statement
    private var setMeta: Statement
    private var putLease: Statement
    private var deleteLease: Statement
    private var attach: Statement
    private var detach: Statement
    private var scan: Statement
    private var putCount: Statement
    private var deleteCount: Statement
    private var putRecord: Statement
    private var deleteRecord: Statement
    /// As the file has them; nil when that is not known.
    private var writtenCounts: LiveCounts?
    private var pass: PrunePass?
    private var slices = 0
    private static let slicesPerCheckpoint = 4

    /// A walk over all keys that removes what a compaction made unreadable.
    private struct PrunePass {
        let revision: Int64
        var key: [UInt8] = []
        var main: Int64 = -1
        /// The newest revision seen of the key under way that is not after `revision`.
        var candidate: (key: [UInt8], main: Int64, sequence: Int64, isDeletion: Bool)?
    }

    /// Opens `kv.db`, or makes an empty one with `initial` as its meta row.
    /// - Parameter isChecked: if all that the file holds was just looked at.
    package init(path: String, initial: StateMeta?, isChecked: Bool = false) throws(SQLiteError) {
        connection = try Connection(path: path, access: .readWrite, withPageSums: true)
        if initial != nil { try Self.layOut(connection) }
        try connection.setPragma("journal_mode", "WAL")
        try connection.setPragma("synchronous", "NORMAL", expecting: "1")
        try connection.execute("PRAGMA mmap_size=0")
        try connection.setPragma("cache_size", "-16384")
        try connection.setPragma("wal_autocheckpoint", "0")
        try connection.setPragma("journal_size_limit", "16777216")
        if let initial { try Self.create(in: connection, initial) }
        try Self.upgrade(connection)
        insertRevision = try connection.prepare(
            "INSERT INTO revision(seq,main,create_rev,version,lease,sum,key,value) VALUES(?,?,?,?,?,?,?,?)")
        insertIndex = try connection.prepare(
            "INSERT INTO key_index(key,main,seq,create_rev,version,lease,sum) VALUES(?,?,?,?,?,?,?)")
        deleteRevision = try connection.prepare("DELETE FROM revision WHERE seq=?")
        deleteIndex = try connection.prepare("DELETE FROM key_index WHERE key=? AND main=?")
        setMeta = try connection.prepare("UPDATE meta SET body=?,sum=? WHERE id=0")
        putLease = try connection.prepare(
            "INSERT OR REPLACE INTO lease(id,ttl,remaining,generation,sum) VALUES(?,?,?,?,?)")
        deleteLease = try connection.prepare("DELETE FROM lease WHERE id=?")
        attach = try connection.prepare("INSERT OR REPLACE INTO lease_key(lease,key,sum) VALUES(?,?,?)")
        detach = try connection.prepare("DELETE FROM lease_key WHERE lease=? AND key=?")
        putCount = try connection.prepare("INSERT OR REPLACE INTO live_count(start,count) VALUES(?,?)")
        deleteCount = try connection.prepare("DELETE FROM live_count WHERE start=?")
        putRecord = try connection.prepare("INSERT OR REPLACE INTO fabric(kind,key,body,sum) VALUES(?,?,?,?)")
        deleteRecord = try connection.prepare("DELETE FROM fabric WHERE kind=? AND key=?")
        try Self.makeWhole(connection, isNew: initial != nil, isChecked: isChecked)
        scan = try connection.prepare(
            "SELECT key,main,seq,version FROM key_index WHERE (key,main)>(?,?) ORDER BY key,main LIMIT ?")
    }

    private static func upgrade(_ connection: borrowing Connection) throws(SQLiteError) {
        for (format, next) in [
            (1, StateFile.leaseSchema), (2, StateFile.liveSchema), (3, StateFile.fabricSchema),
        ]
        where try connection.integer("PRAGMA user_version") == Int64(format) {
            try connection.execute("BEGIN IMMEDIATE; \(next) COMMIT")
        }
        guard try connection.integer("PRAGMA user_version") == 4 else {
            throw StateFile.damage("its format is none of 1 to 4", connection.path)
        }
    }

    /// Before anything is in it.
    private static func layOut(_ connection: borrowing Connection) throws(SQLiteError) {
        try connection.execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL")
    }

    private static func create(in connection: borrowing Connection, _ initial: StateMeta) throws(SQLiteError) {
        let body = initial.encoded()
        try connection.execute("BEGIN IMMEDIATE")
        try connection.execute("PRAGMA application_id=0x77656674")
        try connection.execute(StateFile.schema)
        try connection.execute(StateFile.leaseSchema)
        try connection.execute(StateFile.liveSchema)
        try connection.execute(StateFile.fabricSchema)
        var insert = try connection.prepare("INSERT INTO meta(id,body,sum) VALUES(0,?,?)")
        insert.bind(1, body)
        insert.bind(2, Int64(CRC32C.of(body)))
        try insert.run()
        try connection.execute("COMMIT")
        _ = try connection.checkpoint()
    }

    /// What an earlier run left in the write-ahead log goes into the file before more comes; then every page is looked at.
    private static func makeWhole(_ connection: borrowing Connection, isNew: Bool, isChecked: Bool) throws(SQLiteError)
    {
        let path = connection.path
        guard try connection.checkpoint(emptying: true) else {
            throw .busy("somebody else reads it", path)
        }
        switch PageSums.state(path) {
        case .new:
            // It was just made, or is an image.
            if !isNew, !isChecked { try StateFile.checkRows(connection) }
            try PageSums.build(path)
        case .loaded:
            try PageSums.save(path)
            if !isChecked { try PageSums.verify(path) }
        case .damaged: throw StateFile.damage("the checksums of its pages are damaged", path)
        }
        if !isNew { try beginLogAnew(connection) }
    }

    /// What an earlier run left in the write-ahead log may never have been synced, and what of it comes back after a power
    /// cut would hide newer pages of the file. The first commit begins the log anew; this one is on the device.
    private static func beginLogAnew(_ connection: borrowing Connection) throws(SQLiteError) {
        try connection.setPragma("synchronous", "FULL", expecting: "2")
        try connection.transaction { () throws(SQLiteError) in
            try connection.execute("UPDATE start SET count=count+1")
        }
        try connection.setPragma("synchronous", "NORMAL", expecting: "1")
    }

    /// Makes an image at `path` of a state without keys, for members that hold none.
    /// - Parameter hasUsers: a witness is told that there are users, and not who.
    package static func writeBare(
        _ meta: StateMeta, hasUsers: Bool = false, to path: String
    ) throws(SQLiteError) {
        var bare = StateMeta(clusterID: meta.clusterID)
        bare.appliedIndex = meta.appliedIndex
        bare.appliedTerm = meta.appliedTerm
        bare.configuration = meta.configuration
        bare.version = meta.version
        bare.attributes = meta.attributes
        bare.removedMembers = meta.removedMembers
        let connection = try Connection(path: path, access: .readWrite)
        try layOut(connection)
        try create(in: connection, bare)
        guard hasUsers else { return }
        var access = AccessState()
        access.lock()
        var rows = RecordRows()
        for row in access.rows(since: AccessState()) { _ = rows.note(row) }
        var put = try connection.prepare("INSERT OR REPLACE INTO fabric(kind,key,body,sum) VALUES(?,?,?,?)")
        for (key, body) in rows.rows { if let body { try Self.put(key, body, by: &put) } }
    }

    private static func put(
        _ key: RecordRows.Key, _ body: [UInt8], by statement: inout Statement
    ) throws(SQLiteError) {
        statement.bind(1, Int64(key.kind))
        statement.bind(2, key.key)
        statement.bind(3, body)
        statement.bind(4, Int64(RowSum.of(key, body)))
        try statement.run()
    }

    package func meta() throws(SQLiteError) -> StateMeta {
        try StateFile.readMeta(connection)
    }

    /// Writes a frozen memtable and what describes the state with it, in one transaction.
    package func write(
        _ table: Memtable, _ leases: LeaseChanges = LeaseChanges(), meta: StateMeta
    ) throws(SQLiteError) {
        try write(table, leases, RecordRows(), counts: nil, meta: meta)
    }

    package func write(_ frozen: KeyValueStore.Frozen) throws(SQLiteError) {
        try write(frozen.table, frozen.leases, frozen.records, counts: frozen.counts, meta: frozen.meta)
    }

    private func write(
        _ table: Memtable, _ leases: LeaseChanges, _ records: RecordRows, counts: LiveCounts?, meta: StateMeta
    ) throws(SQLiteError) {
        var meta = meta
        meta.prunedRevision = try StateFile.readMeta(connection).prunedRevision
        if makes(.writesStateInTwoParts) { try write(meta) }
        try connection.transaction { () throws(SQLiteError) in
            try table.forEachBySequence { (row) throws(SQLiteError) in try insert(row) }
            try table.forEach { (row) throws(SQLiteError) in try index(row) }
            try write(leases)
            try write(records)
            if let counts { try write(counts) }
            try write(meta)
        }
        writtenCounts = counts
    }

    /// Writes what differs from what was written last.
    private func write(_ counts: LiveCounts) throws(SQLiteError) {
        let known = writtenCounts
        if known == nil { try connection.execute("DELETE FROM live_count") }
        var old = 0
        for (place, start) in counts.starts.enumerated() {
            while let known, old < known.starts.count, precedes(known.starts[old], start) {
                try removeCount(known.starts[old])
                old += 1
            }
            if let known, old < known.starts.count, known.starts[old] == start {
                old += 1
                if known.counts[old - 1] == counts.counts[place] { continue }
            }
            putCount.bind(1, start)
            putCount.bind(2, Int64(counts.counts[place]))
            try putCount.run()
        }
        for start in known?.starts.dropFirst(old) ?? [] { try removeCount(start) }
    }

    private func removeCount(_ start: [UInt8]) throws(SQLiteError) {
        deleteCount.bind(1, start)
        try deleteCount.run()
    }

    /// Moves all that was committed into the file and syncs it; false when a reader holds some of it back.
    package func checkpoint() throws(SQLiteError) -> Bool {
        guard try connection.checkpoint() else { return false }
        try PageSums.save(connection.path)
        return true
    }

    /// Bytes of the file, and of it those in use.
    package func sizes() throws(SQLiteError) -> (total: Int64, inUse: Int64) {
        try StateFile.sizes(connection)
    }

    /// Gives some of the file's free pages back, `pagesMax` at most.
    package func shrink(pagesMax: Int) throws(SQLiteError) {
        try connection.execute("PRAGMA incremental_vacuum(\(pagesMax))")
        slices += 1
        if slices % Self.slicesPerCheckpoint == 0 { _ = try checkpoint() }
    }

    private func insert(_ row: Memtable.Row) throws(SQLiteError) {
        insertRevision.bind(1, row.sequence)
        insertRevision.bind(2, row.modRevision)
        insertRevision.bind(3, row.createRevision)
        insertRevision.bind(4, row.version)
        insertRevision.bind(5, row.lease)
        insertRevision.bind(6, Int64(row.sums.row))
        insertRevision.bind(7, lent: row.key)
        insertRevision.bind(8, lent: row.value)
        try insertRevision.run()
    }

    private func index(_ row: Memtable.Row) throws(SQLiteError) {
        insertIndex.bind(1, lent: row.key)
        insertIndex.bind(2, row.modRevision)
        insertIndex.bind(3, row.sequence)
        insertIndex.bind(4, row.createRevision)
        insertIndex.bind(5, row.version)
        insertIndex.bind(6, row.lease)
        insertIndex.bind(7, Int64(row.sums.index))
        try insertIndex.run()
    }

    private func write(_ changes: LeaseChanges) throws(SQLiteError) {
        for (id, lease) in changes.leases {
            guard let lease else {
                deleteLease.bind(1, id)
                try deleteLease.run()
                continue
            }
            for (place, number) in [lease.id, lease.ttl, lease.remaining, lease.generation].enumerated() {
                putLease.bind(Int32(place + 1), number)
            }
            putLease.bind(5, Int64(RowSum.of(lease)))
            try putLease.run()
        }
        for (attachment, isAttached) in changes.attachments {
            if isAttached {
                attach.bind(1, attachment.lease)
                attach.bind(2, attachment.key)
                attach.bind(3, Int64(RowSum.of(attachment)))
                try attach.run()
            } else {
                detach.bind(1, attachment.lease)
                detach.bind(2, attachment.key)
                try detach.run()
            }
        }
    }

    private func write(_ records: RecordRows) throws(SQLiteError) {
        for (key, body) in records.rows {
            guard let body else {
                deleteRecord.bind(1, Int64(key.kind))
                deleteRecord.bind(2, key.key)
                try deleteRecord.run()
                continue
            }
            try Self.put(key, body, by: &putRecord)
        }
    }

    private func write(_ meta: StateMeta) throws(SQLiteError) {
        let body = meta.encoded()
        setMeta.bind(1, body)
        setMeta.bind(2, Int64(CRC32C.of(body)))
        try setMeta.run()
    }

    // MARK: - Compaction

    /// Removes some of what cannot be read any more below `revision`, looking at no more than `rowsMax` rows. Answers
    /// if there is more to do. Everything up to `revision` must have been written.
    package func prune(below revision: Int64, rowsMax: Int) throws(SQLiteError) -> Bool {
        var current = pass.flatMap { $0.revision == revision ? $0 : nil } ?? PrunePass(revision: revision)
        let rows = try nextRows(after: current, rowsMax: rowsMax)
        let isDone = rows.count < rowsMax
        try connection.transaction { () throws(SQLiteError) in
            for row in rows { try visit(row, &current) }
            if isDone {
                try dropCandidateIfDeletion(&current)
                var meta = try StateFile.readMeta(connection)
                meta.prunedRevision = revision
                try write(meta)
            }
        }
        pass = isDone ? nil : current
        slices += 1
        // The write-ahead log may not outgrow what the pass frees.
        if isDone || slices % Self.slicesPerCheckpoint == 0 { _ = try checkpoint() }
        return !isDone
    }

    private typealias IndexEntry = (key: [UInt8], main: Int64, sequence: Int64, isDeletion: Bool)

    private func nextRows(after pass: PrunePass, rowsMax: Int) throws(SQLiteError) -> [IndexEntry] {
        defer { scan.reset() }
        scan.bind(1, pass.key)
        scan.bind(2, pass.main)
        scan.bind(3, Int64(rowsMax))
        var rows: [IndexEntry] = []
        while try scan.step() {
            rows.append((scan.blob(0), scan.integer(1), scan.integer(2), scan.integer(3) == 0))
        }
        return rows
    }

    private func visit(_ row: IndexEntry, _ pass: inout PrunePass) throws(SQLiteError) {
        pass.key = row.key
        pass.main = row.main
        if let candidate = pass.candidate, candidate.key == row.key, row.main <= pass.revision {
            try remove(candidate)
            pass.candidate = nil
        } else {
            try dropCandidateIfDeletion(&pass)
        }
        if row.main <= pass.revision { pass.candidate = row }
        if makes(.prunesTooMuch), row.main == pass.revision { try remove(row) }
    }

    /// A deletion before the compacted revision, and the newest there, reads the same as no row at all. One of that very
    /// revision a watch may still ask for.
    private func dropCandidateIfDeletion(_ pass: inout PrunePass) throws(SQLiteError) {
        if let candidate = pass.candidate, candidate.isDeletion, candidate.main < pass.revision {
            try remove(candidate)
        }
        pass.candidate = nil
    }

    private func remove(_ row: IndexEntry) throws(SQLiteError) {
        deleteIndex.bind(1, row.key)
        deleteIndex.bind(2, row.main)
        try deleteIndex.run()
        deleteRevision.bind(1, row.sequence)
        try deleteRevision.run()
    }
}
