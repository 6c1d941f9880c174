internal import MVCC

/// What the state machine promises, written down as simply as can be: every revision of every key, in memory.
struct ModelStore {
    struct Version: Equatable {
        var revision: Int64
        var createRevision: Int64
        /// 0 marks a deletion.
        var version: Int64
        var value: [UInt8]
        var lease: Int64 = 0
    }

    private(set) var leases: [Int64: Lease] = [:]

    struct Lease {
        var ttl: Int64
        var generation: Int64 = 1
    }

    /// Members that have too much stored.
    private(set) var alarms: Set<UInt64> = []
    /// Nil while nobody was added or removed.
    private var members: [UInt64]?
    private(set) var revision: Int64 = 1
    private(set) var compactRevision: Int64 = 0
    private var histories: [[UInt8]: [Version]] = [:]

    private(set) var access = ModelAccess()

    init() {}

    /// What a fabric begins with that goes on from one member's disk: all history is compacted.
    init(pairs: [KeyValue], leases: [MVCC.Lease], revision: Int64, access: ModelAccess) {
        self.access = access
        self.revision = revision
        compactRevision = revision
        self.leases = Dictionary(
            uniqueKeysWithValues: leases.map { ($0.id, Lease(ttl: $0.ttl, generation: $0.generation)) })
        for pair in pairs {
            histories[pair.key] = [
                Version(
                    revision: pair.modRevision, createRevision: pair.createRevision, version: pair.version,
                    value: pair.value, lease: pair.lease)
            ]
        }
    }

    /// The keys ever written, in order.
    var keys: [[UInt8]] { histories.keys.sorted { $0.lexicographicallyPrecedes($1) } }

    /// The key as of `revision`; nil when it is not there.
    func version(of key: [UInt8], at revision: Int64) -> Version? {
        guard let newest = histories[key]?.last(where: { $0.revision <= revision }), newest.version > 0 else {
            return nil
        }
        return newest
    }

    /// Live keys of `range` at `revision`, in order.
    func pairs(in range: KeyRange, at revision: Int64) -> [KeyValue] {
        keys.filter { range.contains($0) }.compactMap { key in
            version(of: key, at: revision).map {
                KeyValue(
                    key: key, createRevision: $0.createRevision, modRevision: $0.revision, version: $0.version,
                    lease: $0.lease, value: $0.value)
            }
        }
    }

    /// All changes from one revision through another, by revision and key; deletions have version 0.
    func changes(from first: Int64, through last: Int64) -> [KeyValue] {
        guard first <= last else { return [] }
        return keys.flatMap { key in
            (histories[key] ?? []).filter { $0.revision >= first && $0.revision <= last }.map { version in
                version.version > 0
                    ? KeyValue(
                        key: key, createRevision: version.createRevision, modRevision: version.revision,
                        version: version.version, lease: version.lease, value: version.value)
                    : KeyValue(key: key, modRevision: version.revision)
            }
        }
    }

    /// If a command may be carried out in whose name it is.
    func lets(_ authored: AuthoredCommand) -> Bool {
        access.lets(authored.author, authored.command) { id in
            keys.filter { version(of: $0, at: revision)?.lease == id }
        }
    }

    /// What a txn of the simulator's clients is answered: if its comparison held.
    mutating func apply(_ command: Command, term: UInt64) -> Bool {
        if !alarms.isEmpty, command.addsKeys, !replacesSmallValues(command) { return false }
        switch command {
        case .put(let put):
            guard isKnown(put.lease) else { return false }
            revision += 1
            self.put(put)
            return true
        case .deleteRange(let request):
            return delete(request.range)
        case .txn(let txn):
            let holds = txn.compares.allSatisfy(holds)
            var isNew = false
            for operation in holds ? txn.success : txn.failure {
                guard case .put(let put) = operation else { continue }
                if !isNew { revision += 1 }
                isNew = true
                self.put(put)
            }
            return holds
        case .compact(let target):
            guard target > compactRevision, target <= revision else { return false }
            compactRevision = target
            return true
        case .leaseGrant(let id, let ttl):
            guard leases[id] == nil else { return false }
            leases[id] = Lease(ttl: ttl)
            return true
        case .leaseRenew(let id):
            leases[id]?.generation += 1
            return leases[id] != nil
        case .leaseRevoke(let id): return end(id)
        case .leaseExpire(let leaderTerm, let marks):
            guard leaderTerm == term else { return false }
            for mark in marks where leases[mark.id]?.generation == mark.generation { _ = end(mark.id) }
            return true
        case .raiseAlarm(let alarm):
            if members?.contains(alarm.memberID) != false { alarms.insert(alarm.memberID) }
            return true
        case .lowerAlarm(_, let memberID): return alarms.remove(memberID) != nil
        case .access(let change, _): return access.apply(change)
        case .leaseAge, .publish, .fabric, .raiseVersion: return true
        }
    }

    /// What is let through when there is no room: it takes none.
    private func replacesSmallValues(_ command: Command) -> Bool {
        guard command.mayReplaceSmallValues, case .txn(let txn) = command else { return false }
        for case .put(let put) in txn.success + txn.failure {
            guard let known = version(of: put.key, at: revision), known.lease == 0, known.value.count <= 128,
                put.value.count <= known.value.count
            else { return false }
        }
        return true
    }

    /// The alarms of those who are removed go with them.
    mutating func keepAlarms(of members: [UInt64]) {
        self.members = members
        alarms.formIntersection(members)
    }

    private func isKnown(_ lease: Int64) -> Bool { lease == 0 || leases[lease] != nil }

    /// Ends a lease; its keys go in one revision.
    private mutating func end(_ id: Int64) -> Bool {
        guard leases.removeValue(forKey: id) != nil else { return false }
        delete(keys.filter { version(of: $0, at: revision)?.lease == id })
        return true
    }

    private func holds(_ compare: Compare) -> Bool {
        guard case .mod(let expected) = compare.operand else { return false }
        return (version(of: compare.range.start, at: revision)?.revision ?? 0) == expected
    }

    private mutating func put(_ put: PutRequest) {
        let before = version(of: put.key, at: revision)
        histories[put.key, default: []].append(
            Version(
                revision: revision, createRevision: before?.createRevision ?? revision,
                version: (before?.version ?? 0) + 1, value: put.value, lease: put.lease))
    }

    private mutating func delete(_ range: KeyRange) -> Bool {
        let live = keys.filter { range.contains($0) && version(of: $0, at: revision) != nil }
        delete(live)
        return !live.isEmpty
    }

    private mutating func delete(_ live: [[UInt8]]) {
        guard !live.isEmpty else { return }
        revision += 1
        for key in live {
            histories[key, default: []].append(Version(revision: revision, createRevision: 0, version: 0, value: []))
        }
    }
}
