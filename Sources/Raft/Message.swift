/// What members say to each other. Figures and sections are those of the Raft paper (P) and dissertation (D).
package struct Message: Equatable, Sendable {
    package var from: NodeID
    package var to: NodeID
    package var term: Term
    package var body: Body

    package init(from: NodeID, to: NodeID, term: Term, body: Body) {
        self.from = from
        self.to = to
        self.term = term
        self.body = body
    }

    package enum Body: Equatable, Sendable {
        /// "Would you vote for me in `term`?", asked without raising anybody's term (D 9.6).
        case preVote(lastIndex: Index, lastTerm: Term)
        case preVoteReply(granted: Bool)
        /// RequestVote (P figure 2). `transfer` lifts the protection of a living leader (D 3.10, 4.2.3).
        case vote(lastIndex: Index, lastTerm: Term, transfer: Bool)
        case voteReply(granted: Bool)
        /// AppendEntries (P figure 2).
        case append(previousIndex: Index, previousTerm: Term, entries: [Entry], commit: Index, logEpoch: UInt64)
        case appendReply(AppendOutcome, logEpoch: UInt64)
        case heartbeat(Heartbeat)
        /// `promise`: for so many milliseconds after the heartbeat, even across a restart, the sender elects nobody.
        case heartbeatReply(round: UInt64, logEpoch: UInt64, health: Health, promise: UInt32)
        /// "Campaign now" (D 3.10).
        case timeoutNow
        /// A follower's requests for the leader. A leader of another term refuses, which is what makes it safe to ask again.
        case propose([Proposal], Stamp)
        /// What came in the message of this stamp was not appended and will not be.
        case proposeRefused([UInt64], Stamp)
        case change(requestID: UInt64, ConfigurationChange, Stamp)
        case changeRefused(requestID: UInt64, ChangeRefusal)
        case readIndex([UInt64])
        case readIndexReply([UInt64], index: Index)
    }

    /// How it stands with what a member has on disk.
    package enum Health: UInt8, Sendable {
        case whole = 0
        /// It lost its log, and cannot vote before it has everything back.
        case recovering = 1
        /// It found its state damaged, and waits for its repair.
        case damaged = 2
    }

    /// An AppendEntries without entries.
    package struct Heartbeat: Equatable, Sendable {
        /// Never beyond what the receiver is known to share.
        package var commit: Index
        /// That of the entry at `commit`, 0 if the sender's log begins after it. Where it is the same the logs are the same up to there
        /// (P 5.3), even if the receiver's disk forgot what replaced its tail.
        package var commitTerm: Term
        /// Numbers the reads it confirms (D 6.4), and the round trips it measures.
        package var round: UInt64
        /// The receiver's log as the sender knows it: see `Raft.logEpoch`.
        package var logEpoch: UInt64
        /// Without word from the leader for so long there may be an election.
        package var electionMilliseconds: UInt32
        /// All members that have state have the log up to here.
        package var stored: Index
        /// The receiver is to say how long it elects nobody else.
        package var asksForPromise: Bool
        /// The receiver, which is damaged, can be spared until it has everything back.
        package var sparesReceiver: Bool

        package init(
            commit: Index, commitTerm: Term = 0, round: UInt64, logEpoch: UInt64 = 0, electionMilliseconds: UInt32 = 0,
            stored: Index = 0, asksForPromise: Bool = false, sparesReceiver: Bool = false
        ) {
            self.commit = commit
            self.commitTerm = commitTerm
            self.round = round
            self.logEpoch = logEpoch
            self.electionMilliseconds = electionMilliseconds
            self.stored = stored
            self.asksForPromise = asksForPromise
            self.sparesReceiver = sparesReceiver
        }
    }

    package enum AppendOutcome: Equatable, Sendable {
        /// The logs agree up to and with this index, and the follower has it on disk.
        case matched(Index)
        /// No entry with the asked term at `rejected`. The follower's log may agree at `hint`, which is of `hintTerm`.
        case conflict(rejected: Index, hint: Index, hintTerm: Term)
        /// The sender's term is over.
        case staleTerm
        /// The follower had acknowledged more than its log can share with the leader's, which is no more than up to here.
        case lost(Index)
    }
}

extension Message {
    /// If it has entries for the log: they are sent again when they do not arrive.
    package var bringsEntries: Bool {
        if case .append(_, _, let entries, _, _) = body { !entries.isEmpty } else { false }
    }

    /// Bytes of the entries and proposals in it. One without any is small.
    package var payloadBytes: Int {
        switch body {
        case .append(_, _, let entries, _, _): entries.reduce(0) { $0 + $1.cost }
        case .propose(let proposals, _): proposals.reduce(0) { $0 + $1.payload.count }
        default: 0
        }
    }
}
