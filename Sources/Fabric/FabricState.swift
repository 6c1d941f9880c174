package import Bytes

/// The fabric's records and what follows from them: a part of the replicated state. A value; `apply` is a function of it and
/// the command, the same on every member.
package struct FabricState: Sendable {
    /// So many events are kept at least.
    package static let eventsMax = 10_000
    /// Follows from the fabric's version.
    package internal(set) var leases = NodeLeases(version: 1)

    var meta = FabricMeta()
    var domainTable = Table<Domain>()
    var nodeTable = Table<Node>()
    var volumeTable = Table<Volume>()
    var eventTable = Table<AuditEvent>()
    var policyTable = Table<SchedulePolicy>()
    var pairTable = Table<ClusterPair>()
    var applicationTable = Table<Application>()
    /// The application of each volume that belongs to one.
    private(set) var applicationNames: [String: String] = [:]
    /// Of all volumes.
    private var names = SortedChunks<VolumeName>()
    /// What each node holds.
    private var usages = Table<NodeUsage>()
    /// Of all nodes.
    private(set) var standings = Table<Standing>()
    /// Since this was asked last, in order.
    private var changes: [FabricChange] = []
    private var leaseEffects: [LeaseEffect] = []

    package init() {}

    // MARK: - Looking

    /// Counts changes; users' revisions are apart from it.
    package var revision: Int64 { meta.revision }
    package var isEmpty: Bool { meta.revision == 0 }
    package var domains: some Sequence<Domain> { domainTable.rows() }
    package var nodes: some Sequence<Node> { nodeTable.rows() }
    package var policies: some Sequence<SchedulePolicy> { policyTable.rows() }
    package var pairs: some Sequence<ClusterPair> { pairTable.rows() }
    package var applications: some Sequence<Application> { applicationTable.rows() }
    package var nodeCount: Int { nodeTable.count }
    package var volumeCount: Int { volumeTable.count }

    package func domain(_ name: String) -> Domain? { domainTable[name] }
    package func node(_ name: String) -> Node? { nodeTable[name] }
    package func policy(_ name: String) -> SchedulePolicy? { policyTable[name] }
    package func pair(_ name: String) -> ClusterPair? { pairTable[name] }
    package func application(_ name: String) -> Application? { applicationTable[name] }

    /// By ascending id, those after this one.
    package func volumes(after id: Int64 = 0) -> some Sequence<Volume> { volumeTable.rows(after: id) }

    /// Those after this number that are kept still.
    package func events(after number: Int64 = 0) -> some Sequence<AuditEvent> {
        eventTable.rows(after: number)
    }

    /// The newest event's number.
    package var lastEvent: Int64? { eventTable.last?.number }

    /// Of the newest event.
    package var newestTrace: Trace? { eventTable.last?.trace }

    package func volume(_ reference: VolumeReference) -> Volume? {
        switch reference {
        case .id(let id): volumeTable[id]
        case .name(let name): names[name].flatMap { volumeTable[$0.id] }
        }
    }

    package func usage(of node: String) -> NodeUsage { usages[node] ?? NodeUsage(node: node) }

    /// Its replicas count, and can be brought up to date.
    package func isAvailable(_ node: String) -> Bool { standings[node]?.isAvailable ?? false }

    /// Replicas that are current and within reach.
    package func currentReplicas(of volume: Volume) -> Int {
        volume.replicas.count { $0.state == .current && isAvailable($0.node) }
    }

    /// What follows from its replicas now.
    func state(of volume: Volume) -> Volume.State {
        switch currentReplicas(of: volume) {
        case volume.replication...: .up
        case 0: .down
        default: .degraded
        }
    }

    // MARK: - Changing

    /// Carries out a command, or refuses it whole.
    package mutating func apply(_ command: FabricCommand) -> Result<FabricAnswer, FabricRefusal> {
        precondition(changes.isEmpty, "changes of an earlier command were not taken")
        let before = meta
        do throws(FabricRefusal) {
            let result = try carryOut(command)
            if meta != before { noteCounters() }
            return .success(FabricAnswer(result: result, isNew: result.createRevision > before.revision))
        } catch {
            precondition(meta == before && changes.isEmpty, "refused after a change: \(error)")
            return .failure(error)
        }
    }

    private mutating func carryOut(_ command: FabricCommand) throws(FabricRefusal) -> FabricResult {
        let trace = command.trace
        try FabricLimits.check(trace)
        switch command.action {
        case .putDomain(let spec): return .domain(try put(spec, trace, command.expected))
        case .activate(let name): return .domain(try activate(name, trace, command.expected))
        case .deactivate(let name, let force):
            return .domain(try deactivate(name, force: force, trace, command.expected))
        case .removeDomain(let name): return try removeDomain(name, trace, command.expected)
        case .putNode(let spec): return .node(try put(spec, trace, command.expected))
        case .setNode(let name, let isCordoned, let isInMaintenance):
            return .node(
                try setNode(
                    name, isCordoned: isCordoned, isInMaintenance: isInMaintenance, trace, command.expected))
        case .removeNode(let name): return try removeNode(name, trace, command.expected)
        case .expireNodes(_, let marks): return .changed(endLeases(marks.map(\.id), trace))
        case .revokeLease(let id):
            guard nodeTable.rows().contains(where: { $0.lease == id && $0.isOnline }) else {
                throw .notFound(.node, "with lease \(id)")
            }
            return .changed(endLeases([id], trace))
        case .recover: return .changed(recover(trace))
        case .exchangeLeases: return .changed(exchangeLeases(trace))
        case .createVolume(let spec): return .volume(try create(spec, trace, command.expected))
        case .updateVolume(let reference, let change):
            return .volume(try update(reference, change, trace, command.expected))
        case .deleteVolume(let reference): return try deleteVolume(reference, trace, command.expected)
        case .attach(let reference, let node, let force):
            return .volume(try attach(reference, to: node, force: force, trace, command.expected))
        case .detach(let reference, let token):
            return .volume(try detach(reference, token: token, trace, command.expected))
        case .report(let reference, let node, let state, let generation):
            return .volume(
                try report(reference, on: node, state, generation: generation, trace, command.expected))
        case .replan(let ids): return .changed(replan(ids, trace))
        case .putPolicy(let name, let terms): return .policy(try put(name, terms, trace, command.expected))
        case .removePolicy(let name): return try removePolicy(name, trace, command.expected)
        case .putPair(let name, let terms): return .pair(try put(name, terms, trace, command.expected))
        case .setPair(let name, let isSuspended, let fabric):
            return .pair(try setPair(name, isSuspended: isSuspended, of: fabric, trace, command.expected))
        case .removePair(let name): return try removePair(name, trace, command.expected)
        case .notePair(let told): return .pair(try note(told, trace))
        case .putApplication(let name, let terms): return .application(try put(name, terms, trace, command.expected))
        case .removeApplication(let name): return try removeApplication(name, trace, command.expected)
        }
    }

    /// What was changed since this was asked last, in order.
    package mutating func takeChanges() -> [FabricChange] {
        defer { changes = [] }
        return changes
    }

    /// What becomes of leases because of it.
    package mutating func takeLeaseEffects() -> [LeaseEffect] {
        defer { leaseEffects = [] }
        return leaseEffects
    }

    // MARK: - Records

    /// Fails unless `record` is as the asker knows it.
    func expect<R: Record>(_ expected: Int64?, _ record: R?, _ name: String) throws(FabricRefusal) {
        guard let expected, expected != record?.mark.modRevision ?? 0 else { return }
        throw .changed(R.kind, name, revision: record?.mark.modRevision ?? 0)
    }

    /// The record with the marks of the revision that is being made.
    private func marked<R: Record>(_ record: R, after old: R?, _ trace: Trace) -> R {
        var marked = record
        marked.mark = old?.mark ?? RecordMark(createRevision: meta.revision, modRevision: 0, createdAt: trace.at)
        marked.mark.modRevision = meta.revision
        return marked
    }

    /// The revision of what is being changed, or would be changed now.
    var changeRevision: Int64 { changes.isEmpty ? meta.revision + 1 : meta.revision }

    /// All changes of a command share one revision, which begins with the first of them.
    private mutating func begin() {
        meta.revision = changeRevision
    }

    @discardableResult
    mutating func put(_ domain: Domain, _ trace: Trace) -> Domain {
        begin()
        let known = domainTable[domain.name]
        let marked = marked(domain, after: known, trace)
        domainTable.put(marked)
        if marked.isActive != known?.isActive { noteStandings(in: domain.name) }
        changes.append(FabricChange(.domain(marked), revision: meta.revision))
        return marked
    }

    @discardableResult
    mutating func put(_ node: Node, _ trace: Trace) -> Node {
        begin()
        let marked = marked(node, after: nodeTable[node.name], trace)
        nodeTable.put(marked)
        noteStanding(of: marked)
        changes.append(FabricChange(.node(marked), revision: meta.revision))
        return marked
    }

    @discardableResult
    mutating func put(_ volume: Volume, _ trace: Trace) -> Volume {
        begin()
        let old = volumeTable[volume.id]
        var marked = marked(volume, after: old, trace)
        marked.state = state(of: volume)
        if old == nil { names.put(VolumeName(name: volume.name, id: volume.id)) }
        if old?.weighs(like: marked) != true {
            if let old { count(old, -1) }
            count(marked, 1)
        }
        volumeTable.put(marked)
        changes.append(FabricChange(.volume(marked), revision: meta.revision))
        return marked
    }

    mutating func put(_ policy: SchedulePolicy, _ trace: Trace) -> SchedulePolicy {
        begin()
        let marked = marked(policy, after: policyTable[policy.name], trace)
        policyTable.put(marked)
        changes.append(FabricChange(.policy(marked), revision: meta.revision))
        return marked
    }

    mutating func put(_ pair: ClusterPair, _ trace: Trace) -> ClusterPair {
        begin()
        let marked = marked(pair, after: pairTable[pair.name], trace)
        pairTable.put(marked)
        changes.append(FabricChange(.pair(marked), revision: meta.revision))
        return marked
    }

    mutating func put(_ application: Application, _ trace: Trace) -> Application {
        begin()
        let marked = marked(application, after: applicationTable[application.name], trace)
        take(marked)
        changes.append(FabricChange(.application(marked), revision: meta.revision))
        return marked
    }

    /// Writes down that users or roles changed.
    package mutating func noteAccess(_ what: String, about subject: String, _ trace: Trace) {
        // Names of users may be long, and all keep the events.
        let isBounded = (try? FabricLimits.check(trace)) != nil
        note(
            .meta, subject, String(decoding: what.utf8.prefix(Self.noteBytesMax), as: UTF8.self),
            isBounded ? trace : Trace(at: trace.at, by: ""))
        noteCounters()
    }

    private static let noteBytesMax = 512

    /// Writes down that something happened.
    mutating func note(_ kind: RecordKind, _ name: String, _ what: String, _ trace: Trace) {
        begin()
        meta.lastEvent += 1
        let event = AuditEvent(number: meta.lastEvent, trace: trace, kind: kind, name: name, what: what)
        let marked = marked(event, after: nil, trace)
        eventTable.put(marked)
        changes.append(FabricChange(.event(marked), revision: meta.revision))
        guard eventTable.count > Self.eventsMax + Self.eventsMax / 10 else { return }
        for old in Array(eventTable.rows().prefix(Self.eventsMax / 10)) {
            eventTable.remove(old.number)
            changes.append(FabricChange(.event(old), revision: meta.revision, isRemoval: true))
        }
    }

    mutating func remove(_ domain: Domain) {
        begin()
        domainTable.remove(domain.name)
        changes.append(FabricChange(.domain(domain), revision: meta.revision, isRemoval: true))
    }

    mutating func remove(_ node: Node) {
        begin()
        nodeTable.remove(node.name)
        usages.remove(node.name)
        standings.remove(node.name)
        changes.append(FabricChange(.node(node), revision: meta.revision, isRemoval: true))
    }

    mutating func remove(_ volume: Volume) {
        begin()
        volumeTable.remove(volume.id)
        names.remove(volume.name)
        count(volume, -1)
        changes.append(FabricChange(.volume(volume), revision: meta.revision, isRemoval: true))
    }

    mutating func remove(_ policy: SchedulePolicy) {
        begin()
        policyTable.remove(policy.name)
        changes.append(FabricChange(.policy(policy), revision: meta.revision, isRemoval: true))
    }

    mutating func remove(_ pair: ClusterPair) {
        begin()
        pairTable.remove(pair.name)
        changes.append(FabricChange(.pair(pair), revision: meta.revision, isRemoval: true))
    }

    /// In the place of what it was.
    private mutating func take(_ application: Application) {
        for volume in applicationTable[application.name]?.terms.volumes ?? [] { applicationNames[volume] = nil }
        for volume in application.terms.volumes { applicationNames[volume] = application.name }
        applicationTable.put(application)
    }

    mutating func remove(_ application: Application) {
        begin()
        for volume in application.terms.volumes { applicationNames[volume] = nil }
        applicationTable.remove(application.name)
        changes.append(FabricChange(.application(application), revision: meta.revision, isRemoval: true))
    }

    mutating func add(_ effect: LeaseEffect) { leaseEffects.append(effect) }

    private mutating func noteCounters() {
        meta.mark.modRevision = meta.revision
        changes.append(FabricChange(.meta(FabricCounters(meta: meta)), revision: meta.revision))
    }

    private mutating func count(_ volume: Volume, _ sign: Int64) {
        for replica in volume.replicas {
            var usage = usage(of: replica.node)
            usage.count(replica, of: volume, sign)
            usages.put(usage)
            guard var standing = standings[replica.node] else { continue }
            standing.take(sign * volume.sizeBytes, of: replica.pool)
            standings.put(standing)
        }
    }

    private mutating func noteStanding(of node: Node) {
        let isActive = domainTable[node.domain]?.isActive == true
        standings.put(Standing(node, isDomainActive: isActive, usage(of: node.name)))
    }

    private mutating func noteStandings(in domain: String) {
        for node in nodeTable.rows() where node.domain == domain { noteStanding(of: node) }
    }

    // MARK: - From the file

    /// Takes up a record as it was stored; in any order, before anything else.
    package mutating func load(_ kind: RecordKind, _ body: [UInt8]) throws(DecodingFault) {
        switch kind {
        case .meta: meta = try FabricMeta(decoding: body)
        case .domain:
            let domain = try Domain(decoding: body)
            domainTable.put(domain)
            noteStandings(in: domain.name)
        case .node:
            let node = try Node(decoding: body)
            nodeTable.put(node)
            noteStanding(of: node)
        case .volume:
            let volume = try Volume(decoding: body)
            volumeTable.put(volume)
            names.put(VolumeName(name: volume.name, id: volume.id))
            count(volume, 1)
        case .event: eventTable.put(try AuditEvent(decoding: body))
        case .policy: policyTable.put(try SchedulePolicy(decoding: body))
        case .pair: pairTable.put(try ClusterPair(decoding: body))
        case .application: take(try Application(decoding: body))
        }
    }
}

extension Volume {
    /// All that is counted per node is the same.
    fileprivate func weighs(like other: Volume) -> Bool {
        sizeBytes == other.sizeBytes
            && replicas.elementsEqual(other.replicas) { a, b in
                (a.node, a.pool, a.state == .resyncing) == (b.node, b.pool, b.state == .resyncing)
            }
    }
}

private struct VolumeName: Ordered {
    let name: String
    let id: Int64
    var order: String { name }
}

/// What lies on a node.
package struct NodeUsage: Equatable, Sendable, Ordered {
    let node: String
    private var volumeIDs = SortedChunks<Int64>()
    private var bytes: [String: Int64] = [:]
    /// Replicas that are being brought up to date.
    package private(set) var resyncing = 0

    init(node: String) {
        self.node = node
    }

    var order: String { node }
    /// Volumes with a replica here.
    package var volumeCount: Int { volumeIDs.count }
    package var volumes: [Int64] { Array(volumeIDs.walk()) }

    package func allocatedBytes(in pool: String) -> Int64 { bytes[pool] ?? 0 }

    mutating func count(_ replica: VolumeReplica, of volume: Volume, _ sign: Int64) {
        let allocated = allocatedBytes(in: replica.pool) + sign * volume.sizeBytes
        bytes[replica.pool] = allocated == 0 ? nil : allocated
        if replica.state == .resyncing { resyncing += Int(sign) }
        if sign > 0 { volumeIDs.put(volume.id) } else { volumeIDs.remove(volume.id) }
    }
}

/// A record that was written or removed.
package struct FabricChange: Sendable {
    package enum Item: Sendable {
        case meta(FabricCounters)
        case domain(Domain)
        case node(Node)
        case volume(Volume)
        case event(AuditEvent)
        case policy(SchedulePolicy)
        case pair(ClusterPair)
        case application(Application)
    }

    /// As it is now; as it was, of a removal.
    package let item: Item
    package let revision: Int64
    package let isRemoval: Bool
    package let kind: RecordKind
    package let key: [UInt8]
    /// What a table stores; nil of a removal.
    package let body: [UInt8]?

    init(_ item: Item, revision: Int64, isRemoval: Bool = false) {
        self.item = item
        self.revision = revision
        self.isRemoval = isRemoval
        func parts<R: Record>(_ record: R) -> (RecordKind, [UInt8], [UInt8]?) {
            (R.kind, record.key, isRemoval ? nil : record.encoded())
        }
        (kind, key, body) =
            switch item {
            case .meta(let counters): parts(counters.meta)
            case .domain(let domain): parts(domain)
            case .node(let node): parts(node)
            case .volume(let volume): parts(volume)
            case .event(let event): parts(event)
            case .policy(let policy): parts(policy)
            case .pair(let pair): parts(pair)
            case .application(let application): parts(application)
            }
    }
}

/// The counters as a change, opaque to others.
package struct FabricCounters: Sendable {
    let meta: FabricMeta
}

/// What becomes of a lease because of what happened to its node.
package enum LeaseEffect: Equatable, Sendable {
    case grant(Int64, ttl: Int64)
    case renew(Int64)
    case end(Int64)
}
