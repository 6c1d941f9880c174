internal import MVCC
internal import Raft

/// One simulated machine: what stays when its process dies.
struct Machine {
    enum Role {
        /// No member lives here.
        case free
        case member(NodeID)
    }

    let number: Int
    var role: Role
    var process: SimulatedProcess?
    var clock: Clock
    /// Of fabrics, that the release installed on it knows.
    var versions = FabricVersion.supported
    /// Its process stands still until then.
    var pausedUntil: UInt64 = 0
    /// Its disk is slow until then.
    var stalledUntil: UInt64 = 0
    /// Its process is slow to apply and to write until then.
    var overloadedUntil: UInt64 = 0
    /// It keeps what it applied in memory until then.
    var keepsStateUntil: UInt64 = 0
    /// How its log and hard state were when the world last heard of them; nil when the disk was harmed since.
    var durable: Durable?
    /// What the fabric is asked to add, until it has.
    var joining: Member?
    /// Its last process ended because an operation of its disk failed.
    var diedOfDisk = false
    /// It lost, or may have lost, what it had promised to keep.
    var isDamaged = false
    /// The newest in the log of its last process.
    var lastConfiguration: Configuration?
    /// The member and the log that were harmed; whole again is only another.
    var harmed: (id: NodeID, logEpoch: UInt64)?

    struct Durable {
        var lastIndex: Index
        var hardState: HardState
        /// Batches handed to the disk since.
        var hasBatchUnderWay = false
    }

    var nodeID: NodeID? {
        if case .member(let id) = role { id } else { nil }
    }
}
