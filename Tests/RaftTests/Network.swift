@testable import Raft

/// Members in one process: values, a network that is a list, and disks that are arrays. Nothing happens by itself.
struct Network {
    /// One member with its disk; what is on `disk` survives `crash`.
    struct Host {
        struct Disk {
            var hardState = HardState()
            var baseIndex: Index = 0
            var baseTerm: Term = 0
            var entries: [Entry] = []
            var snapshotConfiguration: Configuration
            var applied: Index = 0
            /// What the state machine holds: payloads in order.
            var state: [[UInt8]] = []
        }

        var raft: Raft
        var disk: Disk
        var isUp = true
        /// Work of the disk that is not done yet.
        var writes: [Ready] = []
        /// The state in the snapshot that was received last.
        var received: [[UInt8]] = []
        var readStates: [Ready.ReadState] = []
        var dropped: [UInt64] = []
        var refused: [ChangeRefusal] = []
    }

    var hosts: [NodeID: Host] = [:]
    var ids: [NodeID] { hosts.keys.sorted() }
    var wire: [Message] = []
    /// Directed links that deliver nothing.
    var cut: Set<[NodeID]> = []
    /// If the disk is written as soon as a Ready asks for it.
    var writesAtOnce = true
    /// Its disk takes everything and finishes nothing.
    var stalledDisk: NodeID?
    var trace: (String) -> Void = { _ in }
    var settings: Raft.Settings

    static let base: Index = 1

    init(voters: [NodeID], learners: [NodeID] = [], settings: Raft.Settings = Raft.Settings(), seed: UInt64 = 1) {
        let configuration = Configuration(
            voters.map { Member(id: $0, role: .voter, peerURLs: ["http://n\($0)"]) }
                + learners.map { Member(id: $0, role: .learner, peerURLs: ["http://n\($0)"]) })
        self.init(configuration: configuration, settings: settings, seed: seed)
    }

    init(configuration: Configuration, settings: Raft.Settings = Raft.Settings(), seed: UInt64 = 1) {
        self.settings = settings
        for id in configuration.members.map(\.id) {
            var disk = Host.Disk(snapshotConfiguration: configuration)
            disk.baseIndex = Self.base
            disk.baseTerm = 1
            disk.applied = Self.base
            disk.hardState.term = 1
            disk.hardState.commit = Self.base
            hosts[id] = Host(raft: Self.start(id, disk, settings, seed), disk: disk)
        }
    }

    /// A machine that knows nothing yet.
    mutating func addEmpty(_ id: NodeID, seed: UInt64 = 1) {
        let disk = Host.Disk(snapshotConfiguration: Configuration())
        hosts[id] = Host(raft: Self.start(id, disk, settings, seed), disk: disk)
    }

    private static func start(_ id: NodeID, _ disk: Host.Disk, _ settings: Raft.Settings, _ seed: UInt64) -> Raft {
        var runs: [Log.TermRun] = []
        for entry in disk.entries where runs.last?.term != entry.term {
            runs.append(Log.TermRun(firstIndex: entry.index, term: entry.term))
        }
        let log = Log(
            baseIndex: disk.baseIndex, baseTerm: disk.baseTerm, runs: runs,
            lastIndex: disk.baseIndex + Index(disk.entries.count), tail: disk.entries.filter { $0.index > disk.applied }
        )
        var configuration = disk.snapshotConfiguration
        for entry in disk.entries where entry.index <= disk.applied && entry.kind == .configuration {
            configuration = (try? ConfigurationEntry(decoding: entry.payload).configuration) ?? configuration
        }
        return Raft(
            id: id, settings: settings, hardState: disk.hardState, log: log, configuration: configuration,
            applied: disk.applied, seed: seed)
    }

    subscript(_ id: NodeID) -> Raft {
        get {
            guard let host = hosts[id] else { preconditionFailure("no host \(id)") }
            return host.raft
        }
        set { hosts[id]?.raft = newValue }
    }

    var leaders: [NodeID] { ids.filter { self[$0].role == .leader && hosts[$0]?.isUp == true } }

    // MARK: - What can happen

    mutating func post(_ event: Event, to id: NodeID) {
        guard hosts[id]?.isUp == true else { return }
        hosts[id]?.raft.receive(event)
        flush(id)
    }

    mutating func propose(_ text: String, at id: NodeID, requestID: UInt64 = 9) {
        post(.propose([Proposal(id: requestID, kind: .command, payload: Array(text.utf8))]), to: id)
    }

    mutating func tick(_ id: NodeID, times: Int = 1) {
        for _ in 0..<times { post(.tick, to: id) }
    }

    mutating func crash(_ id: NodeID) {
        hosts[id]?.isUp = false
        hosts[id]?.writes = []
    }

    mutating func restart(_ id: NodeID, seed: UInt64 = 7) {
        guard let disk = hosts[id]?.disk else { return }
        hosts[id]?.raft = Self.start(id, disk, settings, seed)
        hosts[id]?.isUp = true
        flush(id)
    }

    /// Empties a member's Ready: sends, and writes or keeps what is for the disk.
    mutating func flush(_ id: NodeID) {
        while true {
            guard let ready = hosts[id]?.raft.takeReady(), !ready.isEmpty else { return }
            wire += ready.messages
            hosts[id]?.readStates += ready.readStates
            hosts[id]?.dropped += ready.proposalsDropped.map(\.id)
            hosts[id]?.refused += ready.changesRefused.map(\.refusal)
            apply(ready.apply, at: id)
            serve(ready, at: id)
            hosts[id]?.writes.append(ready)
            if let mark = ready.install { install(mark, at: id) }
            if writesAtOnce { finishWrites(id) }
        }
    }

    private mutating func apply(_ entries: [Entry], at id: NodeID) {
        guard let last = entries.last else { return }
        for entry in entries {
            hosts[id]?.disk.applied = entry.index
            if entry.kind == .command { hosts[id]?.disk.state.append(entry.payload) }
        }
        hosts[id]?.raft.receive(.applied(last.index))
    }

    /// What the shell does for a leader: reads of old entries, snapshots.
    private mutating func serve(_ ready: Ready, at id: NodeID) {
        guard let disk = hosts[id]?.disk else { return }
        for read in ready.logReads {
            let found = disk.entries.filter { $0.index >= read.from && $0.index <= read.through }
            hosts[id]?.raft.receive(.logRead(read, found))
        }
        for peer in ready.snapshotsWanted {
            let reaches = hosts[peer]?.isUp == true && !cut.contains([id, peer])
            guard reaches, disk.applied > 0 else {
                hosts[id]?.raft.receive(.snapshotSent(peer, index: nil))
                continue
            }
            let mark = SnapshotMark(
                index: disk.applied, term: term(of: disk.applied, disk),
                configuration: configuration(of: disk, through: disk.applied))
            hosts[id]?.raft.receive(.snapshotStarted(peer, index: mark.index))
            hosts[peer]?.received = disk.state
            hosts[peer]?.raft.receive(.snapshotReceived(mark, from: id))
            flush(peer)
            hosts[id]?.raft.receive(.snapshotSent(peer, index: mark.index))
        }
    }

    /// Replaces state and log by what was received, as the shell does: after all writes before it.
    private mutating func install(_ mark: SnapshotMark, at id: NodeID) {
        finishWrites(id)
        hosts[id]?.disk.entries = []
        hosts[id]?.disk.baseIndex = mark.index
        hosts[id]?.disk.baseTerm = mark.term
        hosts[id]?.disk.snapshotConfiguration = mark.configuration
        hosts[id]?.disk.applied = mark.index
        let received = hosts[id]?.received ?? []
        hosts[id]?.disk.state = received
        hosts[id]?.raft.receive(.installed(mark.index))
    }

    private func term(of index: Index, _ disk: Host.Disk) -> Term {
        disk.entries.first { $0.index == index }?.term ?? disk.baseTerm
    }

    private func configuration(of disk: Host.Disk, through index: Index) -> Configuration {
        var found = disk.snapshotConfiguration
        for entry in disk.entries where entry.index <= index && entry.kind == .configuration {
            found = (try? ConfigurationEntry(decoding: entry.payload).configuration) ?? found
        }
        return found
    }

    /// Makes everything a member handed to its disk durable.
    mutating func finishWrites(_ id: NodeID) {
        while id != stalledDisk, let write = hosts[id]?.writes.first {
            hosts[id]?.writes.removeFirst()
            if let hardState = write.hardState { hosts[id]?.disk.hardState = hardState }
            if let append = write.append {
                hosts[id]?.disk.entries.removeAll { $0.index >= append.firstIndex }
                hosts[id]?.disk.entries += append.entries
            }
            for message in write.messagesWhenDurable {
                if message.to == id { hosts[id]?.raft.receive(.message(message)) } else { wire.append(message) }
            }
            hosts[id]?.raft.receive(.appended(sequence: write.sequence))
        }
    }

    /// Delivers the message at `place` of the wire, or loses it when its link is cut.
    mutating func deliver(_ place: Int = 0) {
        let message = wire.remove(at: place)
        guard !cut.contains([message.from, message.to]) else { return }
        trace(describe(message))
        post(.message(message), to: message.to)
    }

    /// Delivers until nothing is on its way, but for what `isLost`.
    mutating func settle(limit: Int = 10_000, without isLost: (Message) -> Bool = { _ in false }) {
        var left = limit
        while !wire.isEmpty, left > 0 {
            if isLost(wire[0]) { wire.removeFirst() } else { deliver() }
            for id in ids { finishWrites(id); flush(id) }
            left -= 1
        }
        precondition(left > 0, "the network does not come to rest")
    }

    /// Cuts a member's log off, as its shell does.
    mutating func compact(_ id: NodeID, to index: Index) {
        guard let host = hosts[id], let cut = host.disk.entries.first(where: { $0.index == index }) else { return }
        hosts[id]?.raft.receive(.compact(to: index))
        let before = configuration(of: host.disk, through: index)
        hosts[id]?.disk.snapshotConfiguration = before
        hosts[id]?.disk.entries.removeAll { $0.index <= index }
        hosts[id]?.disk.baseIndex = index
        hosts[id]?.disk.baseTerm = cut.term
    }

    mutating func elect(_ id: NodeID) {
        post(.campaign, to: id)
        settle()
    }

    mutating func cutOff(_ group: [NodeID]) {
        for a in group {
            for b in ids where !group.contains(b) {
                cut.insert([a, b])
                cut.insert([b, a])
            }
        }
    }

    mutating func heal() { cut = [] }
}

/// A message as the scripts print it.
func describe(_ message: Message) -> String {
    let head = "\(message.from)->\(message.to) term \(message.term) "
    switch message.body {
    case .append(let previousIndex, let previousTerm, let entries, let commit, _):
        let list = entries.map { "\($0.index)/\($0.term)" + text(of: $0) }.joined(separator: " ")
        return head + "append after \(previousIndex)/\(previousTerm) commit \(commit) [\(list)]"
    case .appendReply(.matched(let index), _): return head + "matched \(index)"
    case .appendReply(.conflict(let rejected, let hint, let hintTerm), _):
        return head + "conflict at \(rejected), try \(hint)/\(hintTerm)"
    case .propose(let proposals, _): return head + "propose \(proposals.count)"
    case .appendReply(.staleTerm, _): return head + "stale term"
    case .heartbeat(let beat): return head + "heartbeat commit \(beat.commit) round \(beat.round)"
    case .heartbeatReply(let round, _, _, _): return head + "heartbeat reply round \(round)"
    case .readIndex(let ids): return head + "readIndex \(ids)"
    default: return head + "\(message.body)"
    }
}

private func text(of entry: Entry) -> String {
    switch entry.kind {
    case .empty: return ""
    case .command: return ":" + String(decoding: entry.payload, as: UTF8.self)
    case .configuration:
        let members = (try? ConfigurationEntry(decoding: entry.payload))?.configuration.members ?? []
        return ":{" + members.map { "\($0.id)\($0.role == .voter ? "" : "?")" }.joined(separator: " ") + "}"
    }
}
