internal import CSimulatedDisk
internal import Bytes
internal import Fabric
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage

/// The worst day: all members are lost but one, and an operator has the fabric go on from what that one has on its disk.
extension World {
    /// As much as `weft recover` leaves for what others may have acknowledged.
    private static let revisionBump: Int64 = 1_000_000

    func beginRecovery() {
        guard !hasRecovered, faultDice.chance(0.3),
            let survivor = machines.filter(canSurvive).randomElement(using: &faultDice)
        else { return }
        hasRecovered = true
        say("all are lost but m\(survivor.number)")
        for number in machines.indices { crash(number, powerCut: faultDice.chance(0.5)) }
        let target = (survivor.number + faultDice.between(1, machines.count - 1)) % machines.count
        for number in machines.indices where number != survivor.number { loseForGood(number) }
        wd_start(Int32(survivor.number))
        do throws(StorageError) {
            let recovered = try recover(from: survivor, on: target)
            loseForGood(survivor.number)
            begin(with: recovered, on: target)
        } catch {
            fail(Violation(check: "one whole member is enough to go on from", detail: "m\(survivor.number): \(error)"))
        }
    }

    /// It belongs to the fabric, holds data, and nothing happened to its disk.
    private func canSurvive(_ machine: Machine) -> Bool {
        guard let process = machine.process, let raft = process.replica?.raft, !machine.isDamaged else { return false }
        return raft.configuration[raft.id] != nil && !process.isWitness && !raft.isRecovering
    }

    private func loseForGood(_ number: Int) {
        wd_wipe(Int32(number))
        machines[number] = Machine(number: number, role: .free, process: nil, clock: machines[number].clock)
        logEpochs[number] = nil
    }

    // MARK: - The operator

    private struct Recovered {
        let member: Member
        let model: ModelStore
        let version: UInt64
    }

    /// Power may fail meanwhile; then it is done again.
    private func recover(from survivor: Machine, on target: Int) throws(StorageError) -> Recovered {
        steward.nextID += 1
        let member = Member(
            id: steward.nextID, role: .voter, peerURLs: ["http://m\(target)-\(steward.nextID)"],
            domain: domain(of: target))
        wd_start(Int32(target))
        if faultDice.chance(0.5) {
            wd_arm_crash(Int32(target), Int64(faultDice.between(1, 150)), faultDice.chance(0.7) ? 1 : 0)
        }
        do throws(StorageError) {
            let recovered = try rebuild(from: survivor, as: member, on: target)
            if wd_is_dead(Int32(target)) == 0 { return recovered }
        } catch {
            guard wd_is_dead(Int32(target)) != 0 else { throw error }
        }
        say("m\(target) dies while the fabric is recovered there")
        wd_wipe(Int32(target))
        wd_start(Int32(target))
        return try rebuild(from: survivor, as: member, on: target)
    }

    private func rebuild(
        from survivor: Machine, as member: Member, on target: Int
    ) throws(StorageError) -> Recovered {
        let source = try DataDirectory("/sim/\(survivor.number)")
        guard let identity = try source.identity() else { throw .unusable("there is no member") }
        let logger = logger(of: survivor.number)
        let findings = try Recovery.inspect(source, identity, logger: logger)
        if let durable = survivor.durable, findings.lastIndex < durable.lastIndex, !durable.hasBatchUnderWay {
            throw .damaged(path: source.logPath, reason: "\(findings.lastIndex) is its last of \(durable.lastIndex)")
        }
        let expected = try expectedState(source, identity, logger)
        let (revision, _) = try Recovery.rebuild(
            from: source, findings, as: Identity(clusterID: 7, memberID: member.id, name: "m\(target)"),
            founding: Configuration([member]), into: try DataDirectory("/sim/\(target)"), at: Int64(now / 1_000_000),
            by: "operator", revisionBump: Self.revisionBump, logger: logger)
        let (model, version) = try readState(on: target)
        attempt { () throws(Violation) in
            try check(Expected(model, version: version), against: expected)
            guard revision >= clients.floor else {
                throw Violation(
                    check: "a recovered fabric's revisions are new",
                    detail: "it begins at \(revision), and \(clients.floor) was acknowledged")
            }
        }
        say("recovered from m\(survivor.number) on m\(target), at revision \(revision)")
        return Recovered(member: member, model: model, version: version)
    }

    // MARK: - What it must have

    /// What follows from the survivor's state and log. Nil where the model does not tell.
    private struct Expected {
        var pairs: [KeyValue]?
        /// Seconds, by id.
        var leases: [Int64: Int64]?
        /// Of the fabric's formats.
        var version: UInt64?

        init() {}

        init(_ model: ModelStore, version: UInt64) {
            self.version = version
            pairs = model.pairs(in: KeyRange(prefix: []), at: model.revision)
            leases = model.leases.mapValues(\.ttl)
        }
    }

    /// What is committed, and whatever comes after that in the survivor's log.
    private func expectedState(
        _ directory: DataDirectory, _ identity: Identity, _ logger: Logger
    ) throws(StorageError) -> Expected {
        let disk = try MemberDisk(directory, identity: identity, founding: nil, mayRepair: false, logger: logger)
        let log = disk.log.loaded()
        let applied = disk.store.meta.appliedIndex
        let last = max(log.lastIndex, applied)
        func isCommitted(_ index: Index) -> Bool {
            index <= applied || log.runs.last { $0.firstIndex <= index }?.term == oracle.term(at: index)
        }
        let common = (applied...last).last(where: isCommitted) ?? applied
        var model = oracle.model
        guard common == oracle.lastIndex else {
            var expected = Expected()
            if common == last {
                expected.pairs = model.pairs(in: KeyRange(prefix: []), at: oracle.revision(at: last))
            }
            return expected
        }
        var releases = oracle.releases
        guard common < last else { return Expected(model, version: releases.version) }
        for entry in try disk.log.entries(from: common + 1, through: last, costMax: .max) {
            if entry.kind == .configuration, let change = try? ConfigurationEntry(decoding: entry.payload) {
                releases.note(change.configuration)
            }
            guard entry.kind == .command, var (_, reader) = CommandEnvelope.open(entry.payload),
                let authored = try? AuthoredCommand(from: &reader)
            else { continue }
            releases.note(authored.command)
            if model.lets(authored) { _ = model.apply(authored.command, term: entry.term) }
        }
        return Expected(model, version: releases.version)
    }

    private func readState(on target: Int) throws(StorageError) -> (ModelStore, version: UInt64) {
        let directory = try DataDirectory("/sim/\(target)")
        guard let identity = try directory.identity() else { throw .unusable("the recovered member has no identity") }
        let disk = try MemberDisk(
            directory, identity: identity, founding: nil, mayRepair: false, logger: logger(of: target))
        let view = disk.store.view()
        let reader = try storage(directory.statePath) { () throws(SQLiteError) in
            try StateReader(path: directory.statePath, cacheBytes: 64 << 10)
        }
        guard
            case .success(let found) = Result(catching: { () throws(ReadFailure) in
                try view.range(RangeRequest(range: KeyRange(prefix: [])), reader)
            })
        else { throw .damaged(path: directory.statePath, reason: "the recovered state cannot be read") }
        let leases = view.leases.ids.filter { !view.fabric.leases.contains($0) }.compactMap {
            view.leases.time(of: $0)?.lease
        }
        return (
            ModelStore(
                pairs: found.pairs, leases: leases, revision: view.revision, access: ModelAccess(view.access)),
            view.version
        )
    }

    private func check(_ found: Expected, against expected: Expected) throws(Violation) {
        guard expected.pairs == nil || expected.pairs == found.pairs,
            expected.version == nil || expected.version == found.version,
            expected.leases == nil || expected.leases == found.leases
        else {
            throw Violation(
                check: "a recovered fabric has all that its survivor had",
                detail: "\(found.pairs?.count ?? 0) pairs and \(found.leases?.count ?? 0) leases instead of "
                    + "\(expected.pairs?.count ?? 0) and \(expected.leases?.count ?? 0), or others, or another version")
        }
    }

    // MARK: - Going on

    /// It is another fabric: nothing that happened before counts, but tokens, which fence. The lost machines join it.
    private func begin(with recovered: Recovered, on target: Int) {
        var next = Oracle(
            founding: Configuration([recovered.member]), version: recovered.version, model: recovered.model)
        next.tokens = oracle.tokens
        oracle = next
        durable = [:]
        mayRepair = false
        rivalry = nil
        overtaking = nil
        network.heal()
        for watcher in watchers {
            watcher.next = recovered.model.revision + 1
            watcher.process = nil
        }
        steward.lost = []
        machines[target].role = .member(recovered.member.id)
        start(target)
        for number in machines.indices.prefix(plan.voters) where number != target {
            // No member has this id, so that the machine is let in as a new one.
            steward.lost.append((0, number))
            machines[number].isDamaged = true
            machines[number].harmed = (0, .max)
        }
    }
}
