internal import Bytes
package import Raft
internal import SQLite

/// The Raft log and hard state of one member on disk (`log.db`), one transaction and one fsync per batch.
///
/// Owned by one thread at a time. Anything it throws but a full disk is final: what an fsync that failed left behind is
/// unknown, so the process ends and finds out at its next start.
package final class LogStore {
    /// What a member finds at its start.
    package struct Contents: Sendable {
        package var hardState = HardState()
        package var baseIndex: Index = 0
        package var baseTerm: Term = 0
        package var lastIndex: Index = 0
        package var runs: [Log.TermRun] = []
        /// See `Raft.logEpoch`.
        package var logEpoch: UInt64 = 0
        package var isRecovering = false
    }

    private let connection: Connection
    private let path: String
    private let mark: DurableMark
    private var contents: Contents
    /// The commit index that the file has. It may lag: what is committed the next leader knows, and a page less is written
    /// with each entry.
    private var savedCommit: Index
    private static let commitLagMax: Index = 64
    /// If the mark knows more than the device has of it.
    package private(set) var isMarkUnsynced = false
    private var insert: Statement
    private var cut: Statement
    private var setState: Statement
    private var read: Statement

    /// Opens the log at `path`, or makes an empty one when `isNew`.
    package convenience init(path: String, markPath: String, isNew: Bool) throws(StorageError) {
        guard isNew || File.exists(path) else { throw .damaged(path: path, reason: "it is missing") }
        try self.init(path: path, mark: try DurableMark(path: markPath, mayCreate: isNew), isNew: isNew)
        try checkAgainstMark()
        try mark.write(mark.value)
        try mark.sync()
        if isNew { try File.syncDirectory(of: path) }
    }

    /// Begins a log anew after one that was lost, at the state of (`index`, `term`). The mark still knows the member's term
    /// and vote; without it there is no safe way back.
    package convenience init(
        replacing path: String, markPath: String, index: Index, term: Term
    ) throws(StorageError) {
        let mark = try DurableMark(path: markPath, mayCreate: false)
        var value = mark.value
        if !value.isRecovering {
            // Left over by a crash: what it had is here.
            try SetAsideLog.remove(path)
        } else if value.lastIndex > index {
            // It has more than the state. The mark is to know that until it has its other name.
            try SetAsideLog.take(path)
        }
        value.lastIndex = 0
        value.lastTerm = 0
        value.logEpoch += 1
        value.isRecovering = true
        try mark.write(value)
        try mark.sync()
        try SetAsideLog.clear(path)
        try self.init(path: path, mark: mark, isNew: true)
        try File.syncDirectory(of: path)
        let isLater = value.term >= term
        try append(nil, hardState: HardState(term: max(value.term, term), vote: isLater ? value.vote : nil))
        try reset(index: index, term: term)
    }

    private init(path: String, mark: DurableMark, isNew: Bool) throws(StorageError) {
        self.path = path
        self.mark = mark
        do throws(SQLiteError) {
            connection = try Self.open(path, isNew: isNew)
            // What an earlier process wrote can be read back though no sync of it ever succeeded. Written anew into the
            // database and synced it is safe to build on.
            if !makes(.trustsUnsyncedLog) { try Self.settle(connection) }
            insert = try connection.prepare(
                "INSERT INTO entry(idx,term,kind,checksum,row_sum,payload) VALUES(?,?,?,?,?,?)")
            cut = try connection.prepare("DELETE FROM entry WHERE idx>=?")
            setState = try connection.prepare(
                "UPDATE state SET term=?,vote=?,commit_index=?,base_index=?,base_term=?,row_sum=? WHERE id=0")
            read = try connection.prepare(
                "SELECT idx,term,kind,checksum,row_sum,payload FROM entry WHERE idx>=? ORDER BY idx")
            contents = try Self.load(connection)
            savedCommit = contents.hardState.commit
        } catch {
            if error.isMisfit { throw .damaged(path: path, reason: error.message) }
            throw StorageError(error, path: path)
        }
        contents.logEpoch = mark.value.logEpoch
        contents.isRecovering = mark.value.isRecovering
    }

    /// What the lost log had is here again.
    package func finishRecovery() throws(StorageError) {
        contents.isRecovering = false
        try noteDurable()
        try syncMark()
        try SetAsideLog.remove(path)
    }

    private static func open(_ path: String, isNew: Bool) throws(SQLiteError) -> Connection {
        let connection = try Connection(path: path, access: .readWrite)
        if isNew { try connection.execute("PRAGMA page_size=8192") }
        // Exclusive before the first access: then the write-ahead log needs no shared memory.
        try connection.setPragma("locking_mode", "EXCLUSIVE")
        try connection.setPragma("journal_mode", "WAL")
        let isSafe = !makes(.neverSyncsLog)
        try connection.setPragma("synchronous", isSafe ? "FULL" : "OFF", expecting: isSafe ? "2" : "0")
        try connection.execute("PRAGMA mmap_size=0")
        try connection.setPragma("cache_size", "-4096")
        try connection.setPragma("wal_autocheckpoint", "1000")
        if isNew {
            try connection.transaction { () throws(SQLiteError) in
                try connection.execute("PRAGMA application_id=0x77656674")
                try connection.execute("PRAGMA user_version=1")
                try connection.execute(
                    """
                    CREATE TABLE IF NOT EXISTS entry(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL,
                        kind INTEGER NOT NULL, checksum INTEGER NOT NULL, row_sum INTEGER NOT NULL, payload BLOB NOT NULL);
                    CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY CHECK(id=0), term INTEGER NOT NULL,
                        vote INTEGER NOT NULL, commit_index INTEGER NOT NULL, base_index INTEGER NOT NULL,
                        base_term INTEGER NOT NULL, row_sum INTEGER NOT NULL);
                    INSERT OR IGNORE INTO state VALUES(0,0,0,0,0,0,\(stateSum(Contents())));
                    CREATE TABLE start(count INTEGER NOT NULL);
                    INSERT INTO start VALUES(0);
                    """)
            }
        }
        guard try connection.integer("PRAGMA user_version") == 1 else {
            throw SQLiteError(code: 11, message: "its format is not 1", context: path)
        }
        return connection
    }

    /// Moves the write-ahead log into the database and makes sure that it is gone: cut off and not synced, its old frames
    /// could come back after a power cut and hide what is newer in the database. The first commit after it begins it anew.
    private static func settle(_ connection: borrowing Connection) throws(SQLiteError) {
        _ = try connection.checkpoint(emptying: true)
        try connection.transaction { () throws(SQLiteError) in
            // Something that differs: what is the same SQLite does not write.
            try connection.execute("UPDATE start SET count=count+1")
        }
    }

    /// The hard state, and where the log begins; no entries.
    static func state(in connection: borrowing Connection) throws(SQLiteError) -> Contents {
        var contents = Contents()
        var state = try connection.prepare(
            "SELECT term,vote,commit_index,base_index,base_term,row_sum FROM state WHERE id=0")
        guard try state.step() else { throw damage("it has no state", connection.path) }
        let vote = NodeID(bitPattern: state.integer(1))
        contents.hardState = HardState(
            term: Term(bitPattern: state.integer(0)), vote: vote == 0 ? nil : vote,
            commit: Index(bitPattern: state.integer(2)))
        contents.baseIndex = Index(bitPattern: state.integer(3))
        contents.baseTerm = Term(bitPattern: state.integer(4))
        guard state.integer(5) == stateSum(contents) else {
            throw damage("the checksum of its state is wrong", connection.path)
        }
        contents.lastIndex = contents.baseIndex
        return contents
    }

    private static func load(_ connection: borrowing Connection) throws(SQLiteError) -> Contents {
        var contents = try state(in: connection)
        var scan = try connection.prepare(
            "SELECT idx,term,kind,checksum,row_sum,payload FROM entry WHERE idx>? ORDER BY idx")
        scan.bind(1, Int64(bitPattern: contents.baseIndex))
        while try scan.step() {
            let index = Index(bitPattern: scan.integer(0))
            guard index == contents.lastIndex + 1 else {
                throw damage("entry \(contents.lastIndex + 1) is missing", connection.path)
            }
            guard let term = entry(in: scan)?.term, term >= contents.runs.last?.term ?? contents.baseTerm else {
                throw damage("entry \(index) is not what was written", connection.path)
            }
            if contents.runs.last?.term != term { contents.runs.append(Log.TermRun(firstIndex: index, term: term)) }
            contents.lastIndex = index
        }
        return contents
    }

    private static func damage(_ reason: String, _ path: String) -> SQLiteError {
        SQLiteError(code: 11, message: reason, context: path)
    }

    private func checkAgainstMark() throws(StorageError) {
        let known = mark.value
        if makes(.ignoresMark) { return }
        guard contents.lastIndex >= known.lastIndex else {
            throw .damaged(
                path: path, reason: "it ends at entry \(contents.lastIndex), but entry \(known.lastIndex) was written")
        }
        // A tail that was replaced and lost is as long as before, but of older terms.
        if known.lastIndex > 0, let found = term(at: known.lastIndex), found != known.lastTerm {
            throw .damaged(
                path: path,
                reason: "entry \(known.lastIndex) is of term \(found), but was written in term \(known.lastTerm)")
        }
        guard contents.hardState.term >= known.term else {
            throw .damaged(
                path: path, reason: "it knows of term \(contents.hardState.term), but had been in term \(known.term)")
        }
        guard contents.hardState.term > known.term || known.vote == nil || contents.hardState.vote == known.vote else {
            throw .damaged(path: path, reason: "the vote of term \(known.term) is missing")
        }
    }

    // MARK: - Reading

    package func loaded() -> Contents { contents }

    /// The term of the entry at `index`; nil before the log's beginning and after its end.
    package func term(at index: Index) -> Term? {
        if index == contents.baseIndex { return contents.baseTerm }
        guard index > contents.baseIndex, index <= contents.lastIndex else { return nil }
        return contents.runs.last { $0.firstIndex <= index }?.term
    }

    /// Entries from `first` to at most `last`, as many as `costMax` allows but at least one. Each is checked.
    package func entries(
        from first: Index, through last: Index, costMax: Int
    ) throws(StorageError) -> [Entry] {
        var found: [Entry] = []
        var cost = 0
        do throws(SQLiteError) {
            defer { read.reset() }
            read.bind(1, Int64(bitPattern: first))
            while cost < costMax, try read.step() {
                let index = Index(bitPattern: read.integer(0))
                if index > last { break }
                guard let entry = Self.entry(in: read), index == first + Index(found.count),
                    entry.term == self.term(at: index)
                else { throw Self.damage("entry \(index) is not what was written", path) }
                found.append(entry)
                cost += entry.cost
            }
        } catch {
            throw StorageError(error, path: path)
        }
        return found
    }

    /// The entry in a row of idx, term, kind, checksum, row_sum, payload; nil when it is not what was written.
    static func entry(in row: borrowing Statement) -> Entry? {
        let (index, term) = (Index(bitPattern: row.integer(0)), Term(bitPattern: row.integer(1)))
        guard let kind = Entry.Kind(rawValue: UInt8(truncatingIfNeeded: row.integer(2))),
            row.integer(4) == rowSum(index: index, term: term, checksum: row.integer(3))
        else { return nil }
        let entry = Entry(
            index: index, term: term, kind: kind, payload: row.blob(5),
            checksum: UInt32(truncatingIfNeeded: row.integer(3)))
        return entry.isIntact ? entry : nil
    }

    // MARK: - Writing

    /// Makes entries and hard state durable: what the log holds from the first entry on is replaced.
    package func append(_ append: Ready.Append?, hardState: HardState) throws(StorageError) {
        let cutsTail = append.map { $0.firstIndex <= contents.lastIndex } ?? false
        if let append, cutsTail, append.firstIndex <= mark.value.lastIndex, !makes(.leavesMarkTooHigh) {
            // The log is about to get shorter than the mark says: lower the mark first.
            var lowered = mark.value
            lowered.lastIndex = append.firstIndex - 1
            lowered.lastTerm = term(at: lowered.lastIndex) ?? 0
            try mark.write(lowered)
            try mark.sync()
        }
        var next = contents
        next.hardState = hardState
        if let append {
            while let run = next.runs.last, run.firstIndex >= append.firstIndex { next.runs.removeLast() }
            next.lastIndex = append.firstIndex - 1
            for entry in append.entries {
                if next.runs.last?.term != entry.term {
                    next.runs.append(Log.TermRun(firstIndex: entry.index, term: entry.term))
                }
                next.lastIndex = entry.index
            }
        }
        try storage(path) { () throws(SQLiteError) in
            try connection.transaction { () throws(SQLiteError) in
                if let append {
                    if cutsTail {
                        cut.bind(1, Int64(bitPattern: append.firstIndex))
                        try cut.run()
                    }
                    for entry in append.entries { try write(entry) }
                }
                let isLate = hardState.commit >= savedCommit + Self.commitLagMax
                let isVote = hardState.term != contents.hardState.term || hardState.vote != contents.hardState.vote
                if append == nil || cutsTail || isVote || isLate { try write(next) }
            }
        }
        contents = next
        try noteDurable()
    }

    private func write(_ entry: Entry) throws(SQLiteError) {
        insert.bind(1, Int64(bitPattern: entry.index))
        insert.bind(2, Int64(bitPattern: entry.term))
        insert.bind(3, Int64(entry.kind.rawValue))
        insert.bind(4, Int64(entry.checksum))
        insert.bind(5, Self.rowSum(index: entry.index, term: entry.term, checksum: Int64(entry.checksum)))
        insert.bind(6, entry.payload)
        try insert.run()
    }

    private func write(_ state: Contents) throws(SQLiteError) {
        setState.bind(1, Int64(bitPattern: state.hardState.term))
        setState.bind(2, Int64(bitPattern: state.hardState.vote ?? 0))
        setState.bind(3, Int64(bitPattern: state.hardState.commit))
        setState.bind(4, Int64(bitPattern: state.baseIndex))
        setState.bind(5, Int64(bitPattern: state.baseTerm))
        setState.bind(6, Self.stateSum(state))
        try setState.run()
        savedCommit = state.hardState.commit
    }

    private func noteDurable() throws(StorageError) {
        let known = mark.value
        let hardState = contents.hardState
        isMarkUnsynced = true
        try mark.write(
            DurableMark.Value(
                lastIndex: contents.lastIndex, lastTerm: contents.runs.last?.term ?? contents.baseTerm,
                term: hardState.term, vote: hardState.vote, logEpoch: contents.logEpoch,
                isRecovering: contents.isRecovering))
        // Nobody hears of a vote that the mark could still forget.
        if hardState.term != known.term || hardState.vote != known.vote { try syncMark() }
    }

    /// Makes the mark safe from a power cut, too. It costs an fsync of its own, off the path of a write.
    package func syncMark() throws(StorageError) {
        try mark.sync()
        isMarkUnsynced = false
    }

    /// Removes entries up to and with `index`, at most `rowsMax` of them; answers if there is more to remove.
    @discardableResult
    package func compact(to index: Index, rowsMax: Int) throws(StorageError) -> Bool {
        let target = min(index, contents.baseIndex + Index(rowsMax))
        guard target > contents.baseIndex, target <= contents.lastIndex else { return false }
        guard let term = contents.runs.last(where: { $0.firstIndex <= target })?.term else { return false }
        var next = contents
        next.baseIndex = target
        next.baseTerm = term
        while next.runs.count > 1, next.runs[1].firstIndex <= target + 1 { next.runs.removeFirst() }
        if target == next.lastIndex {
            next.runs = []
        } else {
            next.runs[0].firstIndex = max(next.runs[0].firstIndex, target + 1)
        }
        try storage(path) { () throws(SQLiteError) in
            try connection.transaction { () throws(SQLiteError) in
                try connection.execute("DELETE FROM entry WHERE idx<=\(target)")
                try write(next)
            }
        }
        contents = next
        return target < index
    }

    /// Begins anew after a snapshot of (`index`, `term`) was installed.
    package func reset(index: Index, term: Term) throws(StorageError) {
        var next = contents
        next.baseIndex = index
        next.baseTerm = term
        next.lastIndex = index
        next.runs = []
        next.hardState.commit = max(next.hardState.commit, index)
        if next.hardState.term < term { next.hardState = HardState(term: term, commit: next.hardState.commit) }
        var lowered = mark.value
        lowered.lastIndex = 0
        try mark.write(lowered)
        try mark.sync()
        try storage(path) { () throws(SQLiteError) in
            try connection.transaction { () throws(SQLiteError) in
                try connection.execute("DELETE FROM entry")
                try write(next)
            }
        }
        contents = next
        try noteDurable()
    }

    // MARK: - Checksums

    private static func rowSum(index: Index, term: Term, checksum: Int64) -> Int64 {
        var sum = CRC32C()
        sum.add(index)
        sum.add(term)
        sum.add(UInt64(bitPattern: checksum))
        return Int64(sum.value)
    }

    private static func stateSum(_ state: Contents) -> Int64 {
        var sum = CRC32C()
        sum.add(state.hardState.term)
        sum.add(state.hardState.vote ?? 0)
        sum.add(state.hardState.commit)
        sum.add(state.baseIndex)
        sum.add(state.baseTerm)
        return Int64(sum.value)
    }
}
