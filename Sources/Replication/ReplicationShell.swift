package import Access
package import Fabric
package import Logging
package import MVCC
package import Raft
package import Storage

/// What is posted to `Replica`, the consensus lane.
package enum ConsensusWork: Sendable {
    case raft(Event)
    case messages([Message])
    /// A request of this member's clients, or of the member itself.
    case propose(Proposal, deadline: UInt64)
    case change(requestID: UInt64, ConfigurationChange, deadline: UInt64)
    case read(PendingRead)
    /// Applied here up to `index`; `completed` are the requests of any member that were among it.
    case applied(Index, term: Term, completed: [UInt64])
    /// `kv.db` has everything up to this index on the device.
    case checkpointed(Index)
    case diskFull(Bool)
    /// These messages found no connection.
    case undelivered([Message])
    /// A snapshot goes out to this peer, of this index.
    case snapshotStarted(NodeID, Index)
    case snapshotEnded(NodeID, Index?)
    /// Hand the lead over, then say so.
    case retire(@Sendable () -> Void)
    case stop
}

extension ConsensusWork {
    /// What it holds of clients' values.
    package var bytes: Int {
        switch self {
        case .messages(let messages): messages.reduce(0) { $0 + $1.payloadBytes }
        case .propose(let proposal, _): proposal.payload.count
        default: 0
        }
    }
}

/// What is posted to `LogWriter`, the log lane.
package enum LogWork: Sendable {
    case append(sequence: UInt64, Ready.Append?, HardState?, messages: [Message])
    case read(Ready.LogRead)
    case compact(to: Index)
    case reset(SnapshotMark)
    /// What the lost log had is here again.
    case recovered
    case stop(@Sendable () -> Void)
}

/// What is posted to `Applier`, the apply lane.
package enum ApplyWork: Sendable {
    case entries([Entry])
    case reads([PendingRead], at: Index)
    /// The frozen memtable is in `kv.db`, of which so many bytes are in use; nil if that could not be read.
    case written(inUse: Int64?)
    /// Asks for everything applied to be written to `kv.db` soon.
    case freeze
    /// So many bytes of `kv.db` are in use.
    case measured(Int64)
    /// Time has passed; the term that this member leads, if it does.
    case tick(leading: Term?)
    case install(SnapshotMark, path: String)
    /// Ends the member by its own configuration, once what was applied with that is answered.
    case leave
    /// Writes everything to `kv.db` first, if asked to, and ends.
    case stop(flush: Bool, @Sendable () -> Void)
}

extension ApplyWork {
    /// What it holds of clients' values.
    package var bytes: Int {
        guard case .entries(let entries) = self else { return 0 }
        return entries.reduce(0) { $0 + $1.cost }
    }
}

/// What is posted to `Checkpointer`, the checkpoint lane.
package enum CheckpointWork: Sendable {
    case write(KeyValueStore.Frozen)
    /// Has all that was compacted removed and free pages given back. Says when that is done, or it is so late; it goes on then.
    case defragment(until: UInt64, @Sendable () -> Void)
    /// Puts a received image in the place of `kv.db`, and says when that is open.
    case replaceState(by: String, opened: @Sendable () -> Void)
    case stop(@Sendable () -> Void)
}

/// What surrounds the lanes of one member: threads and sockets in the daemon, one queue of events in the simulator.
///
/// The lanes hold all that decides; a shell only passes work between them and answers to those who asked. Everything here is
/// called from the lanes, so in the daemon from several threads at once.
package protocol ReplicationShell: WatchShell, SnapshotShell {
    var settings: ReplicationSettings { get }
    var identity: Identity { get }
    var directory: DataDirectory { get }
    /// Of `kv.db`.
    var marks: FileMarks { get }
    var metrics: Metrics { get }
    var logger: Logger { get }
    /// Nanoseconds of a clock that only runs forward.
    var now: UInt64 { get }
    /// Milliseconds since 1970, by a clock that may jump: for people to read.
    var wallMilliseconds: Int64 { get }
    /// Never answers the same twice, across starts of the member, too.
    func makeRequestID() -> UInt64

    /// - Parameter wakes: whether the lane looks at it at once; else with what comes next, or at the next tick.
    func post(_ work: ConsensusWork, wakes: Bool)
    @discardableResult func post(_ work: LogWork) -> Bool
    @discardableResult func post(_ work: ApplyWork) -> Bool
    @discardableResult func post(_ work: CheckpointWork) -> Bool
    func post(_ work: SnapshotWork)
    func send(_ messages: [Message])
    /// The image of `mark`, which was received; nil when it is not here.
    func takeReceivedSnapshot(_ mark: SnapshotMark) -> String?
    /// Has the image at `path` take the place of `kv.db` and answers the state in it. Until that is published the old file answers.
    func replaceState(by path: String) throws(StorageError) -> KeyValueStore
    /// Waits a while because there is no space for `file`; to be called again until there is some.
    func awaitSpace(for file: String)
    func noteSpace(for file: String)
    /// Waits a while for those who still read the state as it was.
    func awaitReaders()

    /// If somebody here waits for this request.
    func awaits(_ requestID: UInt64) -> Bool
    func finish(_ requestID: UInt64, _ outcome: Outcome)
    func failAllRequests(_ error: ServerError)
    /// If changes come faster than they can be applied, or written to `kv.db`.
    var isBehind: Bool { get }
    func publish(_ view: View, pendingBytes: Int)
    /// So many bytes of keys, values and history are stored here.
    func publish(storedBytes: Int64)
    /// Bytes of `kv.db`, and of what is in use of it.
    func publish(databaseSizes: (total: Int64, inUse: Int64))
    func publish(_ status: RaftStatus)
    /// For reads on other threads.
    var readGate: ReadGate { get }
    /// Ends the member: what its disk holds is not what it must hold. The next start repairs it.
    func fail(_ error: StorageError)
    /// Records of the fabric changed, in order.
    func noteFabric(_ changes: [FabricChange], revision: Int64)
    /// Before what is applied is seen or answered.
    func note(_ events: [TokenEvent])
    /// Other records of the fabric took the place of what was.
    func noteReplaced(fabricRevision: Int64)
    /// Keeps connections to the members of the newest configuration.
    /// - Parameters:
    ///   - index: where that stands in the log.
    ///   - committed: where the last one stands that is known to be committed.
    func follow(_ configuration: Configuration, at index: Index, committed: Index)
    /// The membership as of what is applied; `removed` have just gone.
    func noteMembership(_ meta: StateMeta)
    /// This member's own applied configuration says that it was removed.
    func leave()
    /// This member takes part: something is applied on its own disk.
    func noteBegun()
}

extension ReplicationShell {
    package func post(_ work: ConsensusWork) { post(work, wakes: true) }

    /// Ends the lanes one after the other, each when those before it have nothing more to say, and calls `done`.
    /// - Parameter flush: writes what is in memory to `kv.db` first.
    package func stopLanes(flush: Bool, _ done: @escaping @Sendable () -> Void) {
        post(ConsensusWork.stop)
        post(WatchWork.stop)
        post(SnapshotWork.stop)
        let endLog = { @Sendable [self] in if !post(LogWork.stop(done)) { done() } }
        let endCheckpoints = { @Sendable [self] in if !post(CheckpointWork.stop(endLog)) { endLog() } }
        if !post(ApplyWork.stop(flush: flush, endCheckpoints)) { endCheckpoints() }
    }
}
