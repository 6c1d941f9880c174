/// What somebody asks of the fabric, or the fabric of itself.
package struct FabricCommand: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        case putDomain(DomainSpec)
        case activate(String)
        /// The last active data domain only with `force`.
        case deactivate(String, force: Bool)
        case removeDomain(String)
        case putNode(NodeSpec)
        case setNode(String, isCordoned: Bool?, isInMaintenance: Bool?)
        case removeNode(String)
        /// A leader of `term` found the leases of nodes at their ends.
        case expireNodes(term: UInt64, [LeaseMark])
        /// A node says that it goes.
        case revokeLease(Int64)
        case createVolume(VolumeSpec)
        case updateVolume(VolumeReference, VolumeChange)
        case deleteVolume(VolumeReference)
        /// Away from a node that is within reach only with `force`.
        case attach(VolumeReference, node: String, force: Bool)
        /// Of this token only, unless it is 0.
        case detach(VolumeReference, token: Int64)
        case report(VolumeReference, node: String, VolumeReplica.State, generation: Int64)
        /// The fabric goes on from what one member had: what was given out since by others is not given out again.
        case recover
        /// Of all nodes: what `NodeLeases` are has changed.
        case exchangeLeases
        /// Decides anew where the replicas of these should be.
        case replan([Int64])
        case putPolicy(String, PolicyTerms)
        case removePolicy(String)
        case putPair(String, PairTerms)
        /// By which fabric: one that was restored is another.
        case setPair(String, isSuspended: Bool, of: UInt64)
        case removePair(String)
        /// A member heard of the other side, or did not.
        case notePair(PairNote)
        case putApplication(String, ApplicationTerms)
        case removeApplication(String)
    }

    package var action: Action
    package var trace: Trace
    /// The revision that what is changed must have; 0 is none, for something that must not be there.
    package var expected: Int64?

    package init(_ action: Action, _ trace: Trace, expected: Int64? = nil) {
        self.action = action
        self.trace = trace
        self.expected = expected
    }

    /// If fabrics of the first version do not know it.
    package var isAboutRegions: Bool {
        switch action {
        case .putPolicy, .removePolicy, .putPair, .setPair, .removePair, .notePair,
            .putApplication, .removeApplication:
            true
        default: false
        }
    }

    package var makesVolume: Bool { if case .createVolume = action { true } else { false } }
}

/// A lease as whoever found its end knew it.
package struct LeaseMark: Equatable, Sendable {
    package var id: Int64
    package var generation: Int64

    package init(id: Int64, generation: Int64) {
        self.id = id
        self.generation = generation
    }
}

package struct DomainSpec: Equatable, Sendable {
    package var name: String
    /// Nil leaves it as it is; a new one is for data.
    package var kind: Domain.Kind?
    package var labels: Labels?

    package init(name: String, kind: Domain.Kind? = nil, labels: Labels? = nil) {
        self.name = name
        self.kind = kind
        self.labels = labels
    }
}

package struct NodeSpec: Equatable, Sendable {
    package var name: String
    package var domain: String
    package var labels: Labels
    package var pools: [Pool]
    package var addresses: [String]
    package var ttl: Int64

    package static let defaultPool = "default"
    package static let defaultTTL: Int64 = 30

    package init(
        name: String, domain: String, labels: Labels = Labels(), pools: [Pool] = [], addresses: [String] = [],
        ttl: Int64 = defaultTTL
    ) {
        self.name = name
        self.domain = domain
        self.labels = labels
        self.pools = pools
        self.addresses = addresses
        self.ttl = ttl
    }
}

package struct VolumeSpec: Equatable, Sendable {
    package var name: String
    package var sizeBytes: Int64
    package var replication: Int
    package var labels: Labels

    package init(name: String, sizeBytes: Int64, replication: Int = 1, labels: Labels = Labels()) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.replication = replication
        self.labels = labels
    }
}

/// What of a volume changes; nil leaves it as it is.
package struct VolumeChange: Equatable, Sendable {
    package var sizeBytes: Int64?
    package var replication: Int?
    package var labels: Labels?

    package init(sizeBytes: Int64? = nil, replication: Int? = nil, labels: Labels? = nil) {
        self.sizeBytes = sizeBytes
        self.replication = replication
        self.labels = labels
    }
}

/// A volume by its id, `vol-12`, or its name.
package enum VolumeReference: Equatable, Sendable {
    case id(Int64)
    case name(String)

    package init(_ text: String) {
        if text.hasPrefix(Volume.idPrefix), let id = Int64(text.dropFirst(Volume.idPrefix.count)) {
            self = .id(id)
        } else {
            self = .name(text)
        }
    }

    package var text: String {
        switch self {
        case .id(let id): Volume.idPrefix + String(id)
        case .name(let name): name
        }
    }
}

/// What a command did.
package enum FabricResult: Equatable, Sendable {
    case domain(Domain)
    case node(Node)
    case volume(Volume)
    case policy(SchedulePolicy)
    case pair(ClusterPair)
    case application(Application)
    case removed
    /// How much was changed by what the fabric asked of itself.
    case changed(Int)
}

extension FabricResult {
    /// Of the record it leaves behind; 0 without one.
    var createRevision: Int64 {
        switch self {
        case .domain(let domain): domain.mark.createRevision
        case .node(let node): node.mark.createRevision
        case .volume(let volume): volume.mark.createRevision
        case .policy(let policy): policy.mark.createRevision
        case .pair(let pair): pair.mark.createRevision
        case .application(let application): application.mark.createRevision
        case .removed, .changed: 0
        }
    }
}

/// The same, and if there was nothing of the kind before.
package struct FabricAnswer: Equatable, Sendable {
    package let result: FabricResult
    package let isNew: Bool
}

/// Why a command was not carried out; nothing of it was.
package enum FabricRefusal: Error, Equatable, Sendable {
    case invalid(String)
    case notFound(RecordKind, String)
    /// Something stands against it; the text says what, and what to do.
    case conflict(String)
    /// The revision is not the expected one.
    case changed(RecordKind, String, revision: Int64)
    /// There is no place for it.
    case noSpace(String)
}
