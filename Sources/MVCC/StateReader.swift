package import SQLite

/// Reads `kv.db` on a connection of its own. Used by one thread at a time.
package final class StateReader {
    /// A key's revision without its value.
    struct IndexRow {
        var pair: KeyValue
        var sequence: Int64
    }

    let connection: Connection
    /// Which file it is to; nil where only one can be.
    let use: FileMarks.Use?
    private var pointValue: Statement
    private var pointIndex: Statement
    private var valueBySequence: Statement
    private var sizeBySequence: Statement
    private var scanBefore: Statement
    private var scanUnbounded: Statement
    private var openSnapshot: Statement
    private var begin: Statement
    private var commit: Statement
    private var rowsFrom: Statement
    // The scan under way.
    private var scanRange = KeyRange(start: [], end: .single)
    private var scanRevision: Int64 = 0
    private var scanAhead: IndexRow?
    private var scanIsBounded = false

    /// Rows of one key read in order before seeking its newest instead.
    private static let stepsMax = 12

    /// - Parameter cacheBytes: pages kept in memory.
    package convenience init(path: String, cacheBytes: Int) throws(SQLiteError) {
        try self.init(path: path, cacheBytes: cacheBytes, use: nil)
    }

    init(path: String, cacheBytes: Int, use: FileMarks.Use?) throws(SQLiteError) {
        self.use = use
        connection = try Connection(path: path, access: .readOnly, withPageSums: true)
        try connection.execute("PRAGMA mmap_size=0")
        try connection.setPragma("cache_size", "-\(cacheBytes / 1024)")
        try connection.setPragma("query_only", "1")
        connection.disableCheckpointOnClose()
        let columns = "i.key,i.main,i.seq,i.create_rev,i.version,i.lease,i.sum"
        pointValue = try connection.prepare(
            """
            SELECT \(columns),r.value,r.sum FROM key_index i LEFT JOIN revision r ON r.seq=i.seq
            WHERE i.key=? AND i.main<=? ORDER BY i.main DESC LIMIT 1
            """)
        pointIndex = try connection.prepare(
            "SELECT \(columns) FROM key_index i WHERE i.key=? AND i.main<=? ORDER BY i.main DESC LIMIT 1")
        valueBySequence = try connection.prepare("SELECT value,sum FROM revision WHERE seq=?")
        sizeBySequence = try connection.prepare("SELECT length(value) FROM revision WHERE seq=?")
        scanBefore = try connection.prepare(
            "SELECT \(columns) FROM key_index i WHERE i.key>=? AND i.key<? ORDER BY i.key,i.main")
        scanUnbounded = try connection.prepare(
            "SELECT \(columns) FROM key_index i WHERE i.key>=? ORDER BY i.key,i.main")
        rowsFrom = try connection.prepare(
            "SELECT seq,main,create_rev,version,lease,sum,key,value FROM revision WHERE seq>=? ORDER BY seq")
        openSnapshot = try connection.prepare("SELECT 1 FROM meta WHERE id=0")
        begin = try connection.prepare("BEGIN")
        commit = try connection.prepare("COMMIT")
    }

    package func meta() throws(SQLiteError) -> StateMeta {
        try StateFile.readMeta(connection)
    }

    func leases() throws(SQLiteError) -> LeaseTable {
        let (leases, attachments) = try StateFile.leases(connection)
        return LeaseTable(leases, attachments)
    }

    /// How many keys live where. Counted anew when what was written does not add up: once, after an older version of this.
    func liveCounts(of meta: StateMeta, bucketMax: Int32) throws(SQLiteError) -> LiveCounts {
        var entries: [(start: [UInt8], count: Int64)] = []
        var written = try connection.prepare("SELECT start,count FROM live_count ORDER BY start")
        while try written.step() { entries.append((written.blob(0), written.integer(1))) }
        if let counts = LiveCounts(entries, total: meta.keyCount, bucketMax: bucketMax) { return counts }
        var builder = LiveCounts.Builder(bucketMax: bucketMax)
        try beginScan(KeyRange(start: [], end: .unbounded), notAfter: meta.revision)
        while let row = try nextScanned() {
            if row.pair.version > 0 { builder.add(row.pair.key) }
        }
        endScan()
        return builder.finish()
    }

    /// Runs `body` on one snapshot of the file.
    func inSnapshot<T, E: Error>(
        _ body: () throws(E) -> T, failure: (SQLiteError) -> E
    ) throws(E) -> T {
        do {
            try begin.run()
            // The snapshot is taken at the first read, not at BEGIN.
            _ = try openSnapshot.step()
            openSnapshot.reset()
        } catch {
            try? connection.execute("ROLLBACK")
            throw failure(error)
        }
        defer {
            endScan()
            try? commit.run()
        }
        return try body()
    }

    /// Writes an image of the file as it is now.
    package func copy(to path: String) throws(SQLiteError) {
        try connection.copy(to: path)
    }

    // MARK: - Single keys

    /// The newest revision of `key` not after `revision`, deletions included, with its value.
    func latest(_ key: [UInt8], notAfter revision: Int64) throws(SQLiteError) -> Memtable.Change? {
        defer { pointValue.reset() }
        pointValue.bind(1, key)
        pointValue.bind(2, revision)
        guard try pointValue.step() else { return nil }
        var row = try indexRow(pointValue)
        row.pair.value = pointValue.blob(7)
        let change = Memtable.Change(pair: row.pair, sequence: row.sequence)
        // Without its revision row, too, the index row must not give way to an older one.
        guard !pointValue.isNull(8), pointValue.integer(8) == Int64(RowSum.of(change)) else {
            throw StateFile.damage("revision row \(row.sequence) is not what was written", connection.path)
        }
        return change
    }

    /// Reads every row; throws when one is not what was written.
    package func check() throws(SQLiteError) {
        try StateFile.checkRows(connection)
    }

    /// The same without the value.
    func latestIndex(_ key: [UInt8], notAfter revision: Int64) throws(SQLiteError) -> IndexRow? {
        defer { pointIndex.reset() }
        pointIndex.bind(1, key)
        pointIndex.bind(2, revision)
        return try pointIndex.step() ? try indexRow(pointIndex) : nil
    }

    /// The value of an index row.
    func value(of row: IndexRow) throws(SQLiteError) -> [UInt8] {
        defer { valueBySequence.reset() }
        valueBySequence.bind(1, row.sequence)
        guard try valueBySequence.step() else {
            throw StateFile.damage("revision row \(row.sequence) is missing", connection.path)
        }
        var change = Memtable.Change(pair: row.pair, sequence: row.sequence)
        change.pair.value = valueBySequence.blob(0)
        guard valueBySequence.integer(1) == Int64(RowSum.of(change)) else {
            throw StateFile.damage("revision row \(row.sequence) is not what was written", connection.path)
        }
        return change.pair.value
    }

    /// Bytes of an index row's value.
    func valueCount(of row: IndexRow) throws(SQLiteError) -> Int {
        defer { sizeBySequence.reset() }
        sizeBySequence.bind(1, row.sequence)
        guard try sizeBySequence.step() else {
            throw StateFile.damage("revision row \(row.sequence) is missing", connection.path)
        }
        return Int(sizeBySequence.integer(0))
    }

    private func indexRow(_ statement: borrowing Statement) throws(SQLiteError) -> IndexRow {
        let row = IndexRow(
            pair: KeyValue(
                key: statement.blob(0), createRevision: statement.integer(3), modRevision: statement.integer(1),
                version: statement.integer(4), lease: statement.integer(5)),
            sequence: statement.integer(2))
        guard statement.integer(6) == Int64(RowSum.ofIndex(row.pair, sequence: row.sequence)) else {
            throw StateFile.damage("an index row is not what was written", connection.path)
        }
        return row
    }

    // MARK: - History

    /// Calls `body` with every change from revision `revision` on, in order, until it answers false.
    func forEachRow(
        fromRevision revision: Int64, _ body: (Memtable.Change) -> Bool, atEnd: () -> Void
    ) throws(SQLiteError) {
        try forEachRow(
            from: try sequence(ofRevision: revision), { $0.pair.modRevision < revision || body($0) }, atEnd: atEnd)
    }

    /// The same by sequence number.
    func forEachRow(
        from sequence: Int64, _ body: (Memtable.Change) -> Bool, atEnd: () -> Void
    ) throws(SQLiteError) {
        defer { rowsFrom.reset() }
        rowsFrom.bind(1, sequence)
        while try rowsFrom.step() {
            let pair = KeyValue(
                key: rowsFrom.blob(6), createRevision: rowsFrom.integer(2), modRevision: rowsFrom.integer(1),
                version: rowsFrom.integer(3), lease: rowsFrom.integer(4), value: rowsFrom.blob(7))
            let change = Memtable.Change(pair: pair, sequence: rowsFrom.integer(0))
            guard rowsFrom.integer(5) == Int64(RowSum.of(change)) else {
                throw StateFile.damage("revision row \(change.sequence) is not what was written", connection.path)
            }
            if !body(change) { return }
        }
        atEnd()
    }

    /// Calls `body` with the key of every row of the index from `key` on, in order, until it answers false.
    func forEachIndexRow(from key: [UInt8], _ body: ([UInt8]) -> Bool, atEnd: () -> Void) throws(SQLiteError) {
        defer { endScan() }
        endScan()
        scanUnbounded.bind(1, key)
        while try scanUnbounded.step() {
            if !body(try indexRow(scanUnbounded).pair.key) { return }
        }
        atEnd()
    }

    /// A sequence number not after the first of `revision`: both grow together, so it is found by halving.
    private func sequence(ofRevision revision: Int64) throws(SQLiteError) -> Int64 {
        var low: Int64 = 0
        var high = (try connection.integer("SELECT max(seq) FROM revision") ?? 0) + 1
        while low < high {
            let middle = (low + high) / 2
            rowsFrom.reset()
            rowsFrom.bind(1, middle)
            if try rowsFrom.step(), rowsFrom.integer(1) < revision { low = middle + 1 } else { high = middle }
        }
        rowsFrom.reset()
        return low
    }

    // MARK: - Ranges

    /// Starts going through the keys of `range` as of `revision`.
    func beginScan(_ range: KeyRange, notAfter revision: Int64) throws(SQLiteError) {
        endScan()
        scanRange = range
        scanRevision = revision
        try seek(range.start)
    }

    private func seek(_ start: [UInt8]) throws(SQLiteError) {
        switch scanRange.end {
        case .unbounded:
            scanIsBounded = false
            scanUnbounded.reset()
            scanUnbounded.bind(1, start)
        case .before(let end): bindBounded(start, end)
        // The next key after `key` is `key` with a zero byte.
        case .single: bindBounded(start, scanRange.start + [0])
        }
        scanAhead = try stepScan()
    }

    private func bindBounded(_ start: [UInt8], _ end: [UInt8]) {
        scanIsBounded = true
        scanBefore.reset()
        scanBefore.bind(1, start)
        scanBefore.bind(2, end)
    }

    private func stepScan() throws(SQLiteError) -> IndexRow? {
        if scanIsBounded {
            return try scanBefore.step() ? try indexRow(scanBefore) : nil
        }
        return try scanUnbounded.step() ? try indexRow(scanUnbounded) : nil
    }

    /// The next key's newest revision not after the scan's, deletions included.
    func nextScanned() throws(SQLiteError) -> IndexRow? {
        while let first = scanAhead {
            var newest = first.pair.modRevision <= scanRevision ? first : nil
            var steps = 0
            while true {
                scanAhead = try stepScan()
                guard let ahead = scanAhead, ahead.pair.key == first.pair.key else { break }
                if ahead.pair.modRevision <= scanRevision { newest = ahead }
                steps += 1
                if steps == Self.stepsMax {
                    // A key with a long history: go to its newest revision, then past it.
                    newest = try latestIndex(first.pair.key, notAfter: scanRevision)
                    try seek(first.pair.key + [0])
                    break
                }
            }
            if let newest { return newest }
        }
        return nil
    }

    func endScan() {
        scanAhead = nil
        scanBefore.reset()
        scanUnbounded.reset()
    }
}
