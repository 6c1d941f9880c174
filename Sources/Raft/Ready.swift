/// Everything the core wants done, in the order of its fields. What must wait for the disk stands in
/// `messagesWhenDurable`: replying before the fsync cannot be expressed.
package struct Ready: Sendable {
    package struct Append: Sendable {
        /// Removes what the log holds from here on first.
        package var firstIndex: Index
        package var entries: [Entry]

        package init(firstIndex: Index, entries: [Entry]) {
            self.firstIndex = firstIndex
            self.entries = entries
        }
    }

    package struct LogRead: Equatable, Sendable {
        package var peer: NodeID
        package var from: Index
        package var through: Index
        package var costMax: Int
        package var term: Term
    }

    package struct ReadState: Equatable, Sendable {
        package var id: UInt64
        /// The read may be served once this is applied.
        package var index: Index
    }

    /// Numbers what goes to the disk; `Event.appended` gives it back.
    package var sequence: UInt64 = 0
    /// To be made durable, together with `append`, in one transaction.
    package var hardState: HardState?
    package var append: Append?
    /// To be sent at once.
    package var messages: [Message] = []
    /// To be sent when append `sequence` and all before it are durable.
    package var messagesWhenDurable: [Message] = []
    /// Replaces the state and the log by a snapshot that was received; `Event.installed` answers.
    package var install: SnapshotMark?
    /// Committed and durable here, in order, each once.
    package var apply: [Entry] = []
    package var readStates: [ReadState] = []
    /// Reads that found no leader or lost theirs; they may be asked again.
    package var readsDropped: [UInt64] = []
    /// Proposals that certainly were not appended in this attempt (see `Raft.attempt`); they may be proposed again.
    package var proposalsDropped: [(id: UInt64, attempt: UInt64)] = []
    package var changesRefused: [(requestID: UInt64, refusal: ChangeRefusal)] = []
    package var logReads: [LogRead] = []
    package var snapshotsWanted: [NodeID] = []
    /// What was lost is here again: the disk need not remember the loss any more.
    package var hasRecovered = false
    /// What peers said that cannot be.
    package var contradictions: [Contradiction] = []

    package var isEmpty: Bool {
        hardState == nil && append == nil && messages.isEmpty && messagesWhenDurable.isEmpty && install == nil
            && apply.isEmpty && readStates.isEmpty && readsDropped.isEmpty && proposalsDropped.isEmpty
            && changesRefused.isEmpty && logReads.isEmpty && snapshotsWanted.isEmpty && !hasRecovered
            && contradictions.isEmpty
    }

    /// If the log lane has work with this.
    package var needsDisk: Bool { hardState != nil || append != nil }
}

/// Something that a peer said and that cannot be: it lies, or a disk lost something. Nothing was done for it.
package enum Contradiction: Equatable, Sendable, CustomStringConvertible {
    /// A term that no election can have led to.
    case termJump(from: NodeID, to: Term)
    /// Another entry in the place of one that is committed.
    case overwrites(from: NodeID, index: Index)
    /// A configuration that cannot follow the one before it, up to that entry.
    case changesAllVoters(from: NodeID, index: Index)
    /// This member acknowledged an entry that it does not have.
    case commitBeyondLog(from: NodeID, index: Index)
    /// Nobody sent it again: this member votes without it.
    case lossUnresolved(index: Index)

    package var description: String {
        switch self {
        case .termJump(let sender, let term):
            "member \(String(sender, radix: 16)) speaks of term \(term), to which no election can have led"
        case .overwrites(let sender, let index):
            "member \(String(sender, radix: 16)) sends another entry \(index) than the one that is committed"
        case .changesAllVoters(let sender, let index):
            "member \(String(sender, radix: 16)) sends a configuration, up to entry \(index), that cannot follow the one before it"
        case .commitBeyondLog(let sender, let index):
            "member \(String(sender, radix: 16)) says that this one has entry \(index), which it has not"
        case .lossUnresolved(let index):
            "entry \(index), which this member is said to have had, never came again: it takes part in elections without it"
        }
    }
}

/// What happens to a member.
package enum Event: Sendable {
    case tick
    case message(Message)
    case propose([Proposal])
    case change(requestID: UInt64, ConfigurationChange)
    /// Requests for an index that is safe to read at; ids are never used twice.
    case readIndex([UInt64])
    /// `Ready.sequence` is durable.
    case appended(sequence: UInt64)
    case applied(Index)
    /// A log read was answered; empty when the entries were compacted meanwhile.
    case logRead(Ready.LogRead, [Entry])
    /// A snapshot sent by `from` is on disk and verified.
    case snapshotReceived(SnapshotMark, from: NodeID)
    case installed(Index)
    /// A snapshot of `index` is about to be sent to the peer: said before any of it leaves.
    case snapshotStarted(NodeID, index: Index)
    /// The peer has received and verified the snapshot of `index`; nil when that failed.
    case snapshotSent(NodeID, index: Index?)
    /// The shell knows that messages to this peer were lost.
    case unreachable(NodeID)
    /// The machine at this peer's address says that nobody listens there.
    case refused(NodeID)
    case transfer(to: NodeID)
    case campaign
    /// The log up to this index is no longer needed.
    case compact(to: Index)
    /// What is applied here was found to be damaged.
    case damaged
}
