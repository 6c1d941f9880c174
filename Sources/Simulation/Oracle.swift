internal import Bytes
internal import MVCC
internal import Raft
internal import Replication

/// Knows what was ever committed, and what follows from it. Nothing the members do may differ.
struct Oracle {
    private struct Committed {
        var term: Term
        var checksum: UInt32
        /// `StateMeta.hash` once this was applied, as the first member had it.
        var hash: UInt64?
        var revision: Int64
        /// Of the fabric's formats.
        var version: UInt64
    }

    /// By index, from the one after the founders' snapshot.
    private var committed: [Committed] = []
    private(set) var model: ModelStore
    private(set) var releases: ModelReleases
    private var leaders: [Term: NodeID] = [:]
    private var votes: [Vote: NodeID] = [:]
    /// The checksum and term before of every entry that was ever in a log.
    private var entries: [Place: (checksum: UInt32, previousTerm: Term?)] = [:]
    /// Every configuration that was ever in a log.
    private var configurations: [Place: Configuration] = [:]
    private let founding: Configuration
    /// When each lease was granted or renewed last: when the first member came to apply that. Not of those that were recovered.
    private var leaseBegun: [Int64: UInt64] = [:]
    /// Which index completed a request.
    private var completed: [UInt64: Index] = [:]
    /// If the entry of a txn took its first branch, by request.
    private(set) var outcomes: [UInt64: (isAllowed: Bool, holds: Bool, revision: Int64)] = [:]
    /// The highest fencing token of each volume.
    var tokens: [Int64: Int64] = [:]
    /// The newest state whose volumes were checked.
    var volumesIndex: Index = 0
    /// Requests whose askers were told that nothing was done.
    private var refused: Set<UInt64> = []

    private struct Vote: Hashable {
        var voter: NodeID
        var term: Term
    }

    private struct Place: Hashable {
        var index: Index
        var term: Term
    }

    static let base = MemberDisk.foundingIndex

    init(founding: Configuration, version: UInt64, model: ModelStore = ModelStore()) {
        self.founding = founding
        self.model = model
        releases = ModelReleases(version: version, members: founding.everybody.map(\.id))
    }

    var lastIndex: Index { Self.base + Index(committed.count) }

    func term(at index: Index) -> Term? {
        if index == Self.base { return 1 }
        guard index > Self.base, index <= lastIndex else { return nil }
        return committed[Int(index - Self.base) - 1].term
    }

    /// The users' revision once this was applied.
    func revision(at index: Index) -> Int64 {
        index > Self.base ? committed[Int(index - Self.base) - 1].revision : 1
    }

    // MARK: - What members do

    /// Election safety (P 5.2).
    mutating func noteLeader(_ id: NodeID, term: Term) throws(Violation) {
        if let known = leaders[term], known != id {
            throw Violation(check: "one leader per term", detail: "\(known) and \(id) lead term \(term)")
        }
        leaders[term] = id
    }

    mutating func noteVote(of voter: NodeID, for candidate: NodeID, term: Term) throws(Violation) {
        let vote = Vote(voter: voter, term: term)
        if let known = votes[vote], known != candidate {
            throw Violation(
                check: "one vote per term", detail: "\(voter) voted for \(known) and \(candidate) in term \(term)")
        }
        votes[vote] = candidate
    }

    /// Log matching (P 5.3).
    mutating func noteAppended(_ appended: [Entry], at id: NodeID, previousTerm: Term?) throws(Violation) {
        var previous = previousTerm
        for entry in appended {
            let place = Place(index: entry.index, term: entry.term)
            if let known = entries[place] {
                let agrees = previous == nil || known.previousTerm == nil || known.previousTerm == previous
                guard known.checksum == entry.checksum, agrees else {
                    throw Violation(
                        check: "log matching", detail: "\(id) has another entry \(entry.index) of term \(entry.term)")
                }
            }
            entries[place] = (entry.checksum, previous ?? entries[place]?.previousTerm)
            if entry.kind == .configuration {
                configurations[place] = try? ConfigurationEntry(decoding: entry.payload).configuration
            }
            previous = entry.term
        }
    }

    /// Leader completeness (P 5.4): who leads has everything that was committed.
    func checkLeader(_ raft: borrowing Raft) throws(Violation) {
        guard raft.role == .leader, let term = term(at: lastIndex), raft.term >= term else { return }
        let found = raft.log.term(at: lastIndex)
        guard found == term || lastIndex < raft.log.baseIndex else {
            throw Violation(
                check: "leader completeness",
                detail: "\(raft.id) leads term \(raft.term) without the committed entry \(lastIndex) of term \(term)")
        }
    }

    /// A member goes by the last configuration in its log, committed or not (D 4.1), or by the snapshot's before it.
    func checkConfiguration(_ raft: borrowing Raft) throws(Violation) {
        let inLog = configurations.keys.filter {
            $0.index <= raft.log.lastIndex && raft.log.term(at: $0.index) == $0.term
        }
        let last = inLog.max { $0.index < $1.index }
        let compacted = configurations.keys.filter { $0.index <= raft.log.baseIndex && term(at: $0.index) == $0.term }
        let place = last ?? compacted.max { $0.index < $1.index }
        let expected =
            place.flatMap { configurations[$0] } ?? (raft.log.lastIndex < Self.base ? Configuration() : founding)
        guard raft.configuration == expected else {
            throw Violation(
                check: "a member goes by the last configuration of its log",
                detail: "\(raft.id) has the voters \(raft.configuration.voters), not \(expected.voters)")
        }
    }

    /// State machine safety (P 5.4.3): the same entry at the same index, everywhere and once.
    mutating func noteCommitted(_ entry: Entry, at id: NodeID, now: UInt64) throws(Violation) {
        if entry.index <= lastIndex {
            guard entry.index > Self.base else { return }
            let known = committed[Int(entry.index - Self.base) - 1]
            guard known.term == entry.term, known.checksum == entry.checksum else {
                throw Violation(
                    check: "state machine safety",
                    detail:
                        "\(id) applies entry \(entry.index) of term \(entry.term); of term \(known.term) it was committed"
                )
            }
            return
        }
        guard entry.index == lastIndex + 1 else {
            throw Violation(
                check: "state machine safety", detail: "\(id) applies entry \(entry.index) after \(lastIndex)")
        }
        switch entry.kind {
        case .command: try apply(entry, now: now)
        case .configuration:
            let change = try? ConfigurationEntry(decoding: entry.payload)
            if let change {
                model.keepAlarms(of: change.configuration.everybody.map(\.id))
                releases.note(change.configuration)
            }
        case .empty: break
        }
        committed.append(
            Committed(
                term: entry.term, checksum: entry.checksum, hash: nil, revision: model.revision,
                version: releases.version))
    }

    private mutating func apply(_ entry: Entry, now: UInt64) throws(Violation) {
        guard let (id, payload) = CommandEnvelope.open(entry.payload) else { return }
        var reader = payload
        guard let authored = try? AuthoredCommand(from: &reader) else { return }
        if let earlier = completed[id] {
            throw Violation(
                check: "a request is done once", detail: "request \(id) is in entries \(earlier) and \(entry.index)")
        }
        guard !refused.contains(id) else {
            throw Violation(
                check: "what was refused is not done", detail: "request \(id) is in entry \(entry.index) after all")
        }
        completed[id] = entry.index
        let isAllowed = model.lets(authored)
        if isAllowed { try noteLeases(authored.command, term: entry.term, now: now) }
        releases.note(authored.command)
        let holds = isAllowed && model.apply(authored.command, term: entry.term)
        outcomes[id] = (isAllowed, holds, model.revision)
    }

    /// A lease lasts at least as long as was promised, though clocks may run 5 % fast.
    private mutating func noteLeases(_ command: Command, term: Term, now: UInt64) throws(Violation) {
        switch command {
        case .leaseGrant(let id, _) where model.leases[id] == nil, .leaseRenew(let id): leaseBegun[id] = now
        case .leaseExpire(let leaderTerm, let marks) where leaderTerm == term:
            for mark in marks {
                guard let lease = model.leases[mark.id], lease.generation == mark.generation else { continue }
                let lasted = Double(now - (leaseBegun[mark.id] ?? 0)) / 1e9
                guard lasted >= Double(lease.ttl) - 1e-6 else {
                    throw Violation(
                        check: "no lease ends early",
                        detail: "lease \(mark.id) of \(lease.ttl) s ended after \(lasted) s")
                }
            }
        default: break
        }
    }

    /// The asker was told that nothing was done.
    mutating func noteRefused(_ id: UInt64) throws(Violation) {
        if let index = completed[id] {
            throw Violation(check: "what was refused is not done", detail: "request \(id) is in entry \(index)")
        }
        refused.insert(id)
    }

    /// Equal state at equal applied index.
    mutating func noteState(_ view: View, at id: NodeID, isWitness: Bool) throws(Violation) {
        let index = view.appliedIndex
        guard index > Self.base else { return }
        guard index <= lastIndex else {
            throw Violation(
                check: "state machine safety", detail: "\(id) is at \(index), but \(lastIndex) was committed")
        }
        let place = Int(index - Self.base) - 1
        guard view.version == committed[place].version else {
            throw Violation(
                check: "equal state",
                detail: "\(id) uses version \(view.version) after entry \(index), not \(committed[place].version)")
        }
        if isWitness {
            guard view.revision == 1 else { throw Violation(check: "a witness has no state", detail: "\(id) has") }
            return
        }
        guard view.revision == committed[place].revision else {
            throw Violation(
                check: "equal state",
                detail: "\(id) is at revision \(view.revision) after entry \(index), not \(committed[place].revision)")
        }
        if let hash = committed[place].hash, hash != view.hash {
            throw Violation(check: "equal state", detail: "the state of \(id) after entry \(index) has another hash")
        }
        try checkVolumes(view.fabric, at: index)
        committed[place].hash = view.hash
    }
}
