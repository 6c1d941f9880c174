package import Access
package import Bytes
package import Fabric
package import SQLite

/// The replicated state machine: etcd's multi-version store as a memtable over `kv.db`.
///
/// `apply` is a function of the state and the command. Owned by one thread, the apply lane; readers get `View`s. What
/// `apply` throws is a failure of the disk, after which the state is not to be used; a refused command is a result.
package final class KeyValueStore {
    /// A memtable that goes to the file next, with the state it completes.
    package struct Frozen: Sendable {
        package let table: Memtable
        package let leases: LeaseChanges
        let records: RecordRows
        let counts: LiveCounts
        package let meta: StateMeta
    }

    private var tables: Tables
    package internal(set) var meta: StateMeta
    let reader: StateReader
    /// The leases, for everybody.
    package let leases: LeaseTable
    /// Domains, nodes and volumes.
    package internal(set) var fabric: FabricState
    /// Users and roles.
    package internal(set) var access: AccessState
    var knownRights = KnownRights()
    var tokenEvents: [TokenEvent] = []
    var recordRows = RecordRows()
    var fabricChanges: [FabricChange] = []
    private var leaseChanges = LeaseChanges()
    private var leaseEvents: [LeaseEvent] = []
    private var changes: [KeyValue] = []
    private let marks: FileMarks
    private let generation: UInt64

    package convenience init(reader: StateReader, marks: FileMarks) throws(SQLiteError) {
        try self.init(reader: reader, marks: marks, bucketMax: LiveCounts.bucketMax)
    }

    /// - Parameter bucketMax: see `LiveCounts`.
    init(reader: StateReader, marks: FileMarks, bucketMax: Int32) throws(SQLiteError) {
        self.reader = reader
        self.marks = marks
        generation = reader.use?.generation ?? 0
        let meta = try reader.meta()
        self.meta = meta
        leases = try reader.leases()
        (fabric, access) = try reader.records()
        fabric.setLeases(NodeLeases(version: meta.version))
        tables = Tables(try reader.liveCounts(of: meta, bucketMax: bucketMax), revision: meta.revision)
    }

    /// The state now, for readers.
    package func view() -> View {
        View(
            tables: tables, marks: marks, generation: generation, revision: meta.revision,
            compactRevision: meta.compactRevision,
            appliedIndex: meta.appliedIndex, appliedTerm: meta.appliedTerm, hash: meta.hash, alarms: meta.alarms,
            version: meta.version,
            leases: leases, fabric: fabric, access: access)
    }

    /// About what the changes not yet in the file take in memory.
    package var pendingBytes: Int { activeBytes + (tables.frozen?.bytes ?? 0) }
    package var activeBytes: Int { tables.active.bytes + leaseChanges.bytes + recordRows.bytes }
    package var isFreezing: Bool { tables.frozen != nil }

    /// Sets the current memtable aside to be written; nil while one is.
    package func freeze() -> Frozen? {
        guard tables.frozen == nil else { return nil }
        tables.frozen = tables.active
        tables.active = Memtable()
        let frozen = Frozen(
            table: tables.frozen ?? Memtable(), leases: leaseChanges, records: recordRows, counts: tables.counts,
            meta: meta)
        leaseChanges = LeaseChanges()
        recordRows = RecordRows()
        if makes(.forgetsFrozenChanges) { tables.frozen = nil }
        return frozen
    }

    /// The file has what was frozen.
    package func dropFrozen() {
        tables.frozen = nil
    }

    // MARK: - Applying

    /// Notes an entry that changes nothing here.
    package func applyNothing(index: UInt64, term: UInt64) {
        precondition(index == meta.appliedIndex + 1, "entry \(index) cannot be applied after \(meta.appliedIndex)")
        meta.appliedIndex = index
        meta.appliedTerm = term
    }

    /// Takes up a membership: `configuration` as the file stores it, and who is in it.
    package func applyConfiguration(
        _ configuration: [UInt8], memberIDs: [UInt64], removed: [UInt64], index: UInt64, term: UInt64
    ) {
        applyNothing(index: index, term: term)
        meta.configuration = configuration
        meta.attributes.removeAll { !memberIDs.contains($0.id) }
        meta.alarms.removeAll { removed.contains($0.memberID) }
        meta.removedMembers = (meta.removedMembers + removed).sorted()
    }

    /// Carries out a command, or refuses it whole.
    /// - Parameter wantsAnswer: if somebody here waits for what it read; the others need not read it.
    package func apply(
        _ payload: ByteReader, index: UInt64, term: UInt64, wantsAnswer: @autoclosure () -> Bool = true
    ) throws(SQLiteError) -> Result<CommandResult, MVCCError> {
        let result = try carryOut(payload, index: index, term: term, wantsAnswer: wantsAnswer)
        try tables.cutBuckets(revision: meta.revision, reader)
        return result
    }

    private func carryOut(
        _ payload: ByteReader, index: UInt64, term: UInt64, wantsAnswer: () -> Bool
    ) throws(SQLiteError) -> Result<CommandResult, MVCCError> {
        applyNothing(index: index, term: term)
        var reader = payload
        guard let authored = try? AuthoredCommand(from: &reader) else { return .failure(.unreadable) }
        guard authored.versionNeeded <= meta.version else { return .failure(.needsVersion(authored.versionNeeded)) }
        if let refusal = refusal(of: authored) { return .failure(.access(refusal)) }
        let command = authored.command
        if let refusal = command.refusal(under: meta.alarms) {
            guard refusal == .noSpace, try replacesSmallValues(command) else { return .failure(refusal) }
        }
        switch command {
        case .put(let put): return try applyPut(put)
        case .deleteRange(let request):
            var writes = Writes(revision: meta.revision, wantsAnswer: wantsAnswer())
            let result = try delete(request, &writes)
            finish(writes)
            if writes.budget.isExceeded { return .failure(.answerTooLargeButDone) }
            return .success(.deleteRange(deleted: result.deleted, previous: result.previous))
        case .txn(let txn): return try applyTxn(txn, wantsAnswer: wantsAnswer())
        case .compact(let revision):
            guard revision > meta.compactRevision else { return .failure(.compacted) }
            guard revision <= meta.revision else { return .failure(.futureRevision) }
            meta.compactRevision = revision
            return .success(.done)
        case .leaseGrant(let id, let ttl): return grant(id, ttl: ttl)
        case .leaseRenew(let id): return renew(id)
        case .leaseRevoke(let id):
            guard leases.lease(id) != nil, !fabric.leases.contains(id) else { return .failure(.leaseNotFound) }
            try end(id)
            return .success(.done)
        case .leaseExpire(let leaderTerm, let marks):
            guard leaderTerm == term else { return .success(.done) }
            for mark in marks where leases.lease(mark.id)?.generation == mark.generation { try end(mark.id) }
            return .success(.done)
        case .fabric(let command):
            // These are no requests: `recover(_:)` and `raise(to:)` do them.
            if command.action == .recover || command.action == .exchangeLeases { return .failure(.unreadable) }
            return try apply(command, term: term)
        case .access(let change, let trace): return apply(change, trace)
        case .leaseAge(let marks):
            for mark in marks { age(mark) }
            return .success(.done)
        case .publish(let memberID, let attributes):
            guard attributes.isBounded else { return .failure(.unreadable) }
            meta.attributes.removeAll { $0.id == memberID }
            meta.attributes.append((memberID, attributes))
            meta.attributes.sort { $0.id < $1.id }
            return .success(.published)
        case .raiseVersion(let version):
            try raise(to: version, term: term)
            return .success(.done)
        case .raiseAlarm(let alarm): return .success(.alarm(meta.raise(alarm)))
        case .lowerAlarm(let kind, let memberID): return .success(.alarm(meta.lower(kind, of: memberID)))
        }
    }

    /// If each of its puts replaces a small value by one that is no larger.
    private func replacesSmallValues(_ command: Command) throws(SQLiteError) -> Bool {
        guard command.mayReplaceSmallValues, case .txn(let txn) = command else { return false }
        for case .put(let put) in txn.success + txn.failure {
            guard let known = try tables.newest(put.key, reader, withValue: true), known.lease == 0,
                (put.value.count...Command.smallBytes).contains(known.value.count)
            else { return false }
        }
        return true
    }

    /// The writes of one command: they share one new revision.
    private struct Writes {
        /// The store's revision before.
        let revision: Int64
        var count = 0
        /// If the answer has what the command reads on its way.
        var wantsAnswer = true
        /// What is left for answers.
        var budget = AnswerBudget()

        /// What reads after these writes see.
        var readRevision: Int64 { count > 0 ? revision + 1 : revision }
    }

    private func finish(_ writes: Writes) {
        meta.revision = writes.readRevision
    }

    private func applyPut(_ put: PutRequest) throws(SQLiteError) -> Result<CommandResult, MVCCError> {
        if let refusal = try refusal(of: put) { return .failure(refusal) }
        var writes = Writes(revision: meta.revision)
        let previous = try self.put(put, &writes)
        finish(writes)
        return .success(.put(previous: previous))
    }

    private func refusal(of put: PutRequest) throws(SQLiteError) -> MVCCError? {
        if put.lease != 0, leases.lease(put.lease) == nil { return .leaseNotFound }
        if put.ignoresValue || put.ignoresLease,
            try tables.latest(put.key, notAfter: meta.revision, reader) == nil
        {
            return .keyNotFound
        }
        return nil
    }

    private func put(_ put: PutRequest, _ writes: inout Writes) throws(SQLiteError) -> KeyValue? {
        let previous = try tables.newest(put.key, reader, withValue: put.wantsPrevious || put.ignoresValue)
        let revision = writes.revision + 1
        let lease = put.ignoresLease ? previous?.lease ?? 0 : put.lease
        record(
            KeyValue(
                key: put.key, createRevision: previous?.createRevision ?? revision, modRevision: revision,
                version: (previous?.version ?? 0) + 1, lease: lease,
                value: put.ignoresValue ? previous?.value ?? [] : put.value), &writes)
        move(put.key, from: previous?.lease ?? 0, to: lease)
        if previous == nil { noteLive(put.key, 1, writes) }
        return put.wantsPrevious ? previous : nil
    }

    private func delete(
        _ request: DeleteRangeRequest, _ writes: inout Writes
    ) throws(SQLiteError) -> (deleted: Int64, previous: [KeyValue]) {
        var range = RangeRequest(range: request.range)
        range.keysOnly = !(request.wantsPrevious && writes.wantsAnswer)
        // All keys are needed to delete them; only values for the answer can be too much.
        var free = AnswerBudget.unlimited
        let found =
            range.keysOnly
            ? try tables.range(range, at: writes.readRevision, reader, &free).pairs
            : try tables.range(range, at: writes.readRevision, reader, &writes.budget, keysAlways: true).pairs
        for pair in found {
            record(KeyValue(key: pair.key, modRevision: writes.revision + 1), &writes)
            move(pair.key, from: pair.lease, to: 0)
            noteLive(pair.key, -1, writes)
        }
        return (Int64(found.count), request.wantsPrevious && writes.wantsAnswer ? found : [])
    }

    /// A key began or ceased to live.
    private func noteLive(_ key: [UInt8], _ difference: Int32, _ writes: Writes) {
        meta.keyCount += Int64(difference)
        tables.noteLive(key, difference, revision: writes.revision + 1)
    }

    private func record(_ pair: KeyValue, _ writes: inout Writes) {
        meta.lastSequence += 1
        let sums = RowSum(pair, sequence: meta.lastSequence)
        meta.noteChange(sums)
        tables.active.insert(Memtable.Change(pair: pair, sequence: meta.lastSequence), sums)
        changes.append(pair)
        writes.count += 1
    }

    /// Of a key that nested txns write several times in one revision only the last counts, here as in the file.
    private func keepLastChanges(of revision: Int64) {
        let start = changes.firstIndex { $0.modRevision == revision } ?? changes.endIndex
        var seen: Set<Key> = []
        let last = changes[start...].reversed().filter { seen.insert(Key($0.key)).inserted }
        changes.replaceSubrange(start..., with: last.reversed())
    }

    /// What was changed since this was asked last, in order.
    package func takeChanges() -> [KeyValue] {
        defer { changes = [] }
        return changes
    }

    /// What happened to tokens since this was asked last.
    package func takeTokenEvents() -> [TokenEvent] {
        defer { tokenEvents = [] }
        return tokenEvents
    }

    // MARK: - Leases

    /// What happened to leases since this was asked last.
    package func takeLeaseEvents() -> [LeaseEvent] {
        defer { leaseEvents = [] }
        return leaseEvents
    }

    private func grant(_ id: Int64, ttl: Int64) -> Result<CommandResult, MVCCError> {
        guard leases.lease(id) == nil, id != 0, !fabric.leases.contains(id) else { return .failure(.leaseExists) }
        guard (1...Lease.secondsMax).contains(ttl) else { return .failure(.leaseTooLong) }
        return .success(.lease(begin(id, ttl: ttl)))
    }

    func begin(_ id: Int64, ttl: Int64) -> Lease {
        let lease = Lease(id: id, ttl: ttl, remaining: ttl)
        set(lease)
        leaseEvents.append(.begun(lease))
        return lease
    }

    func renew(_ id: Int64) -> Result<CommandResult, MVCCError> {
        guard var lease = leases.lease(id) else { return .failure(.leaseNotFound) }
        lease.generation += 1
        lease.remaining = lease.ttl
        set(lease)
        leaseEvents.append(.begun(lease))
        return .success(.lease(lease))
    }

    private func age(_ mark: Lease.Mark) {
        guard var lease = leases.lease(mark.id), lease.generation == mark.generation else { return }
        lease.remaining = min(lease.remaining, max(mark.remaining, 0))
        set(lease)
        leaseEvents.append(.aged(lease))
    }

    private func set(_ lease: Lease) {
        leases.put(lease)
        leaseChanges.leases[lease.id] = lease
        meta.mix(RowSum.of(lease))
    }

    /// Ends a lease, and with it its keys, in one revision.
    func end(_ id: Int64) throws(SQLiteError) {
        var writes = Writes(revision: meta.revision, wantsAnswer: false)
        for key in leases.remove(id) {
            leaseChanges.attachments[LeaseChanges.Attachment(lease: id, key: key)] = false
            record(KeyValue(key: key, modRevision: writes.revision + 1), &writes)
            noteLive(key, -1, writes)
        }
        finish(writes)
        leaseChanges.leases[id] = .some(nil)
        meta.mix(UInt32(truncatingIfNeeded: id) ^ 0xdead)
        leaseEvents.append(.ended(id))
    }

    private func move(_ key: [UInt8], from old: Int64, to new: Int64) {
        guard old != new else { return }
        if old != 0 {
            leases.detach(key, from: old)
            leaseChanges.attachments[LeaseChanges.Attachment(lease: old, key: key)] = false
        }
        if new != 0 {
            leases.attach(key, to: new)
            leaseChanges.attachments[LeaseChanges.Attachment(lease: new, key: key)] = true
        }
    }

    // MARK: - Txns

    /// Which branch a txn and those inside it take, decided before anything is written.
    indirect enum Path {
        case branch(succeeded: Bool, operations: [TxnRequest.Operation], inner: [Path?])
    }

    private func applyTxn(_ request: TxnRequest, wantsAnswer: Bool) throws(SQLiteError) -> Result<
        CommandResult, MVCCError
    > {
        var rows = RowBudget()
        let path = try path(of: request, &rows)
        guard let path, try rows.take(path, tables, meta.revision, reader) else { return .failure(.tooManyRows) }
        if let refusal = try refusal(of: path) { return .failure(refusal) }
        var writes = Writes(revision: meta.revision, wantsAnswer: wantsAnswer)
        let result = try run(path, &writes)
        finish(writes)
        if request.isNested { keepLastChanges(of: meta.revision) }
        return writes.budget.isExceeded ? .failure(.answerTooLargeButDone) : .success(.txn(result))
    }

    /// Nil when the compares would look at too many rows.
    private func path(of request: TxnRequest, _ rows: inout RowBudget) throws(SQLiteError) -> Path? {
        let txnReader = TxnReader(tables: tables, revision: meta.revision, reader: reader)
        var succeeded = true
        for compare in request.compares where succeeded {
            guard try rows.take(compare.range, tables, meta.revision, reader) else { return nil }
            succeeded = try txnReader.holds(compare)
        }
        let operations = succeeded ? request.success : request.failure
        var inner: [Path?] = []
        for operation in operations {
            if case .txn(let nested) = operation {
                guard let path = try path(of: nested, &rows) else { return nil }
                inner.append(path)
            } else {
                inner.append(nil)
            }
        }
        return .branch(succeeded: succeeded, operations: operations, inner: inner)
    }

    private func refusal(of path: Path) throws(SQLiteError) -> MVCCError? {
        guard case .branch(_, let operations, let inner) = path else { return nil }
        for (operation, nested) in zip(operations, inner) {
            switch operation {
            case .put(let put): if let refusal = try refusal(of: put) { return refusal }
            case .range(let range):
                if range.revision > meta.revision { return .futureRevision }
                if range.revision > 0 && range.revision < meta.compactRevision { return .compacted }
            case .deleteRange: break
            case .txn: if let nested, let refusal = try refusal(of: nested) { return refusal }
            }
        }
        return nil
    }

    private func run(_ path: Path, _ writes: inout Writes) throws(SQLiteError) -> TxnResult {
        guard case .branch(let succeeded, let operations, let inner) = path else {
            preconditionFailure("a path without a branch")
        }
        var result = TxnResult(succeeded: succeeded, responses: [])
        for (operation, nested) in zip(operations, inner) {
            switch operation {
            case .range(let request):
                let revision = request.revision > 0 ? request.revision : writes.readRevision
                guard writes.wantsAnswer else { continue }
                var answer = try tables.range(request, at: revision, reader, &writes.budget)
                answer.revision = writes.readRevision
                result.responses.append(.range(answer))
            case .put(let put): result.responses.append(.put(previous: try self.put(put, &writes)))
            case .deleteRange(let request):
                let deletion = try delete(request, &writes)
                result.responses.append(.deleteRange(deleted: deletion.deleted, previous: deletion.previous))
            case .txn: if let nested { result.responses.append(.txn(try run(nested, &writes))) }
            }
        }
        return result
    }
}
