internal import Bytes

/// When a record was made and last changed, in the fabric's own revisions: an ETag is the latter.
package struct RecordMark: Equatable, Sendable {
    package internal(set) var createRevision: Int64 = 0
    package internal(set) var modRevision: Int64 = 0
    /// Milliseconds since 1970, by the clock of the member that asked for it.
    package internal(set) var createdAt: Int64 = 0
}

/// Who changed something for what reason, and when.
package struct Trace: Equatable, Sendable {
    /// Milliseconds since 1970.
    package var at: Int64
    package var by: String
    package var reason: String

    package init(at: Int64, by: String, reason: String = "") {
        self.at = at
        self.by = by
        self.reason = reason
    }
}

/// A failure domain: usually one Kubernetes cluster.
package struct Domain: Equatable, Sendable {
    package enum Kind: UInt8, CaseIterable, Sendable {
        case data = 0
        /// It breaks ties and holds no data.
        case witness = 1
    }

    package let name: String
    package internal(set) var kind: Kind
    package internal(set) var isActive = true
    /// Rises with each change of the state: what was decided under an earlier one does not hold any more.
    package internal(set) var epoch: Int64 = 1
    package internal(set) var labels = Labels()
    /// Of its last activation or deactivation.
    package internal(set) var lastChange: Trace
    package internal(set) var mark = RecordMark()
}

/// What a storage node offers in one place.
package struct Pool: Equatable, Sendable {
    package var name: String
    package var capacityBytes: Int64
    package var labels: Labels

    package init(name: String, capacityBytes: Int64, labels: Labels = Labels()) {
        self.name = name
        self.capacityBytes = capacityBytes
        self.labels = labels
    }
}

/// A storage node. Its labels `zone` and `rack` say where in its domain it stands.
package struct Node: Equatable, Sendable {
    package let name: String
    package internal(set) var domain: String
    package internal(set) var labels: Labels
    package internal(set) var pools: [Pool]
    /// Where others reach it; opaque here.
    package internal(set) var addresses: [String]
    /// Seconds that it is online after it was heard of.
    package internal(set) var ttl: Int64
    /// Its lease; 0 while it is offline.
    package internal(set) var lease: Int64 = 0
    /// No new replicas are placed on it.
    package internal(set) var isCordoned = false
    /// Its replicas are out of use.
    package internal(set) var isInMaintenance = false
    /// Since when it is as available as it is now: milliseconds since 1970.
    package internal(set) var changedAt: Int64
    package internal(set) var mark = RecordMark()

    package var isOnline: Bool { lease != 0 }
    package var capacityBytes: Int64 { pools.reduce(0) { $0 + $1.capacityBytes } }
    /// In zones and racks of different domains nothing is shared, whatever they are called.
    var zone: String { labels["zone"] ?? "" }
    var rack: String { labels["rack"] ?? "" }
}

/// A copy of a volume on a node.
package struct VolumeReplica: Equatable, Sendable {
    package enum State: UInt8, CaseIterable, Sendable {
        /// It has everything that was written.
        case current = 0
        /// It missed writes, or may have.
        case stale = 1
        /// It is being brought up to date, as told.
        case resyncing = 2
    }

    package let node: String
    package let pool: String
    package internal(set) var state: State
    /// The fabric's revision at which the state last came from somebody else than the node: a report of before is void, also one of a
    /// replica that was on the node earlier.
    package internal(set) var generation: Int64
    /// Since when it is in its state: milliseconds since 1970.
    package internal(set) var since: Int64
}

package struct Attachment: Equatable, Sendable {
    package let node: String
    /// The fabric's revision at which it was given out, so higher than all before it, also of a volume that had the name earlier:
    /// who writes under a lower one is fenced off.
    package let token: Int64
    package let at: Int64
}

package struct Volume: Equatable, Sendable {
    package enum State: UInt8, CaseIterable, Sendable {
        /// As many replicas as it should have are current and within reach.
        case up = 0
        /// Fewer, at least one.
        case degraded = 1
        /// None.
        case down = 2
    }

    package let id: Int64
    package let name: String
    package internal(set) var sizeBytes: Int64
    /// How many replicas it should have, 1 to 3.
    package internal(set) var replication: Int
    package internal(set) var labels: Labels
    /// Follows from its replicas and their nodes; kept here so that who watches the volume hears of it.
    package internal(set) var state = State.down
    /// In the order in which they were placed.
    package internal(set) var replicas: [VolumeReplica] = []
    package internal(set) var attachment: Attachment?
    /// The fencing token given out last, or one that was never given out and is higher.
    package internal(set) var lastToken: Int64 = 0
    package internal(set) var mark = RecordMark()

    package static let idPrefix = "vol-"
    package var idText: String { Self.idPrefix + String(id) }

    package func replica(on node: String) -> VolumeReplica? { replicas.first { $0.node == node } }
    func place(of node: String) -> Int? { replicas.firstIndex { $0.node == node } }
}

/// Something that happened, for people who look back later.
package struct AuditEvent: Equatable, Sendable {
    /// Counts events.
    package let number: Int64
    package let trace: Trace
    /// What it is about: `domain`, `node` or `volume`.
    package let kind: RecordKind
    package let name: String
    /// What happened, in one word and a few: `deactivated`, `replica stale on w1`.
    package let what: String
    package internal(set) var mark = RecordMark()
}

package enum RecordKind: UInt8, CaseIterable, Sendable {
    case meta = 0
    case domain = 1
    case node = 2
    case volume = 3
    case event = 4
    case policy = 5
    case pair = 6
    case application = 7

    package var name: String {
        switch self {
        case .meta: "fabric"
        case .domain: "domain"
        case .node: "node"
        case .volume: "volume"
        case .event: "event"
        case .policy: "schedule policy"
        case .pair: "pair"
        case .application: "application"
        }
    }
}
