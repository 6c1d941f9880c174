internal import Bytes
internal import Raft

/// Any messages, given to any core: it does not trap, its term and commit never fall, what it knows to be committed stays as it is,
/// and it goes on to campaign when they end.
enum CoreTarget {
    /// Reads the input as choices.
    private struct Tape {
        var reader: ByteReader

        mutating func byte() -> UInt8 { (try? reader.byte()) ?? 0 }
        var isAtEnd: Bool { reader.isAtEnd }

        /// A number near `near`, or anywhere below 2^62.
        mutating func number(near: UInt64) -> UInt64 {
            switch byte() % 8 {
            case 0: near
            case 1: near + 1
            case 2: near + 2
            case 3: near - min(near, 1)
            case 4: near - min(near, UInt64(byte()))
            case 5: UInt64(byte())
            case 6: 1 << (UInt64(byte()) % 62)
            default: ((try? reader.fixed() as UInt64) ?? 0) & (1 << 62 - 1)
            }
        }
    }

    static func run(_ bytes: [UInt8]) {
        var tape = Tape(reader: ByteReader(bytes))
        let voters = (1...3).map {
            Member(id: $0, role: $0 == 3 && bytes.count % 2 == 1 ? .witness : .voter, peerURLs: [])
        }
        var settings = Raft.Settings()
        settings.mayHavePromised = bytes.count % 3 == 0
        var raft = Raft(
            id: 1, settings: settings, hardState: HardState(term: 1, vote: nil, commit: 1),
            log: Log(baseIndex: 1, baseTerm: 1, runs: [], lastIndex: 1, tail: []),
            configuration: Configuration(voters, policy: Policy(readsByLease: settings.mayHavePromised)),
            applied: 1, seed: 1)
        var committed: [Entry] = []
        while !tape.isAtEnd {
            let (term, commit) = (raft.term, raft.commit)
            switch tape.byte() % 8 {
            case 0: raft.receive(.tick)
            case 1: for _ in 0..<30 { raft.receive(.tick) }
            case 2:
                let proposal = Proposal(id: UInt64(tape.byte()), kind: .command, payload: [tape.byte()])
                raft.receive(.propose([proposal]))
            default: raft.receive(.message(message(&tape, raft)))
            }
            settle(&raft, &committed)
            precondition(raft.term >= term, "the term fell from \(term) to \(raft.term)")
            precondition(raft.commit >= commit, "the commit index fell from \(commit) to \(raft.commit)")
        }
        guard raft.isVoter, raft.role != .leader else { return }
        // Past all promises, and the longest timeout that anybody can be told of.
        raft.now += 1 << 40
        for _ in 0..<2000 where raft.role == .follower { raft.receive(.tick) }
        precondition(raft.role != .follower, "nothing is heard, and it does not campaign")
    }

    /// What the shell does: everything is durable and applied at once.
    private static func settle(_ raft: inout Raft, _ committed: inout [Entry]) {
        while true {
            let ready = raft.takeReady()
            if ready.isEmpty { return }
            for entry in ready.apply {
                precondition(entry.index == UInt64(committed.count) + 2, "entry \(entry.index) is applied out of order")
                committed.append(entry)
            }
            if ready.needsDisk { raft.receive(.appended(sequence: ready.sequence)) }
            for message in ready.messagesWhenDurable where message.to == raft.id { raft.receive(.message(message)) }
            if let last = ready.apply.last { raft.receive(.applied(last.index)) }
        }
    }

    private static func message(_ tape: inout Tape, _ raft: Raft) -> Message {
        let from = NodeID([2, 3, 2, 3, 77, 1][Int(tape.byte()) % 6])
        return Message(from: from, to: 1, term: tape.number(near: raft.term), body: body(&tape, raft))
    }

    private static func body(_ tape: inout Tape, _ raft: Raft) -> Message.Body {
        let (last, term) = (raft.log.lastIndex, raft.term)
        let epoch = tape.number(near: 0)
        switch tape.byte() % 16 {
        case 0: return .preVote(lastIndex: tape.number(near: last), lastTerm: tape.number(near: term))
        case 1: return .preVoteReply(granted: tape.byte() % 2 == 0)
        case 2:
            return .vote(
                lastIndex: tape.number(near: last), lastTerm: tape.number(near: term), transfer: tape.byte() % 2 == 0)
        case 3: return .voteReply(granted: tape.byte() % 2 == 0)
        case 4, 5, 6: return append(&tape, raft, epoch)
        case 7: return .appendReply(.matched(tape.number(near: last)), logEpoch: epoch)
        case 8:
            return .appendReply(
                .conflict(
                    rejected: tape.number(near: last), hint: tape.number(near: last), hintTerm: tape.number(near: term)),
                logEpoch: epoch)
        case 9: return .appendReply(tape.byte() % 2 == 0 ? .staleTerm : .lost(tape.number(near: last)), logEpoch: epoch)
        case 10:
            return .heartbeat(
                Message.Heartbeat(
                    commit: tape.number(near: raft.commit), commitTerm: tape.number(near: term),
                    round: tape.number(near: 1), logEpoch: epoch,
                    electionMilliseconds: UInt32(truncatingIfNeeded: tape.number(near: 1000)),
                    stored: tape.number(near: last), asksForPromise: tape.byte() % 2 == 0,
                    sparesReceiver: tape.byte() % 2 == 0))
        case 11:
            return .heartbeatReply(
                round: tape.number(near: 1), logEpoch: epoch,
                health: Message.Health(rawValue: tape.byte() % 3) ?? .whole,
                promise: UInt32(truncatingIfNeeded: tape.number(near: 500)))
        case 12: return .timeoutNow
        case 13:
            let stamp = Stamp(start: tape.number(near: 1), number: tape.number(near: 1))
            return tape.byte() % 2 == 0
                ? .proposeRefused([tape.number(near: 1)], stamp)
                : .propose([Proposal(id: 1, kind: tape.byte() % 2 == 0 ? .command : .empty, payload: [])], stamp)
        case 14: return change(&tape)
        default:
            return tape.byte() % 2 == 0
                ? .readIndex([tape.number(near: 1)])
                : .readIndexReply([tape.number(near: 1)], index: tape.number(near: last))
        }
    }

    private static func append(_ tape: inout Tape, _ raft: Raft, _ epoch: UInt64) -> Message.Body {
        let previous = tape.number(near: raft.log.lastIndex)
        let previousTerm = tape.byte() % 4 == 0 ? tape.number(near: raft.term) : raft.log.term(at: previous) ?? 1
        let entries = (0..<UInt64(tape.byte() % 4)).map { place in
            let isConfiguration = tape.byte() % 8 == 0
            let members = (1...UInt64(tape.byte() % 4 + 1)).map { Member(id: $0, role: .voter, peerURLs: []) }
            let payload =
                isConfiguration
                ? ConfigurationEntry(requestID: 0, configuration: Configuration(members)).encoded() : [1]
            return Entry(
                index: tape.byte() % 16 == 0 ? tape.number(near: previous) : previous + 1 + place,
                term: tape.byte() % 8 == 0 ? tape.number(near: raft.term) : raft.term,
                proposal: Proposal(id: 1, kind: isConfiguration ? .configuration : .command, payload: payload))
        }
        return .append(
            previousIndex: previous, previousTerm: previousTerm, entries: entries,
            commit: tape.number(near: raft.commit), logEpoch: epoch)
    }

    private static func change(_ tape: inout Tape) -> Message.Body {
        let id = UInt64(tape.byte() % 5)
        let change: ConfigurationChange =
            switch tape.byte() % 5 {
            case 0: .add(Member(id: id, role: .learner, peerURLs: ["http://n\(id)"]))
            case 1: .promote(id)
            case 2: .remove(id)
            case 3: .prioritize(id, tape.byte())
            default: .several([.remove(id), .remove(id + 1)])
            }
        return .change(requestID: 1, change, Stamp(start: 1, number: tape.number(near: 1)))
    }
}
