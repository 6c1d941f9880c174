package import Access
package import Bytes
package import Fabric

/// What a range answers and how (etcd's `RangeRequest`).
package struct RangeRequest: Equatable, Sendable {
    package enum SortOrder: UInt8, Sendable {
        case none = 0
        case ascend = 1
        case descend = 2
    }

    package enum SortTarget: UInt8, Sendable {
        case key = 0
        case version = 1
        case create = 2
        case mod = 3
        case value = 4
    }

    package var range: KeyRange
    /// Most pairs to answer; 0 or less is no limit.
    package var limit: Int64 = 0
    /// The revision to read at; 0 or less is the current one.
    package var revision: Int64 = 0
    package var sortOrder = SortOrder.none
    package var sortTarget = SortTarget.key
    /// Read this member's own state, without asking the leader.
    package var serializable = false
    package var keysOnly = false
    package var countOnly = false
    package var minModRevision: Int64 = 0
    package var maxModRevision: Int64 = 0
    package var minCreateRevision: Int64 = 0
    package var maxCreateRevision: Int64 = 0

    package init(range: KeyRange) {
        self.range = range
    }
}

package struct RangeResult: Equatable, Sendable {
    package var pairs: [KeyValue] = []
    /// There are more pairs than the limit let through.
    package var more = false
    /// Keys in the range at the read revision, whatever limit and filters say.
    package var count: Int64 = 0
    /// The store's revision when this was read.
    package var revision: Int64 = 0
    /// What the answer takes of the member's memory budget.
    package var hold: MemoryHold?

    package init() {}

    package static func == (a: RangeResult, b: RangeResult) -> Bool {
        (a.pairs, a.more, a.count, a.revision) == (b.pairs, b.more, b.count, b.revision)
    }
}

package struct PutRequest: Equatable, Sendable {
    package var key: [UInt8]
    package var value: [UInt8]
    package var lease: Int64 = 0
    package var wantsPrevious = false
    package var ignoresValue = false
    package var ignoresLease = false

    package init(key: [UInt8], value: [UInt8]) {
        self.key = key
        self.value = value
    }
}

package struct DeleteRangeRequest: Equatable, Sendable {
    package var range: KeyRange
    package var wantsPrevious = false

    package init(range: KeyRange) {
        self.range = range
    }
}

/// One condition of a txn; on a range every key must hold it.
package struct Compare: Equatable, Sendable {
    package enum Relation: UInt8, Sendable {
        case equal = 0
        case greater = 1
        case less = 2
        case notEqual = 3
    }

    package enum Operand: Equatable, Sendable {
        case version(Int64)
        case create(Int64)
        case mod(Int64)
        case value([UInt8])
        case lease(Int64)
    }

    package var range: KeyRange
    package var relation: Relation
    package var operand: Operand

    package init(range: KeyRange, relation: Relation, operand: Operand) {
        self.range = range
        self.relation = relation
        self.operand = operand
    }
}

package struct TxnRequest: Equatable, Sendable {
    package indirect enum Operation: Equatable, Sendable {
        case range(RangeRequest)
        case put(PutRequest)
        case deleteRange(DeleteRangeRequest)
        case txn(TxnRequest)
    }

    package var compares: [Compare]
    package var success: [Operation]
    package var failure: [Operation]

    package init(compares: [Compare] = [], success: [Operation] = [], failure: [Operation] = []) {
        self.compares = compares
        self.success = success
        self.failure = failure
    }

    var isNested: Bool { hasOperation { if case .txn = $0 { true } else { false } } }

    /// If an operation of one branch or the other is like that. Asked of every txn several times: it puts no array together.
    package func hasOperation(where isLike: (Operation) -> Bool) -> Bool {
        success.contains(where: isLike) || failure.contains(where: isLike)
    }

    /// If neither branch can write, however the compares turn out.
    package var isReadOnly: Bool {
        !hasOperation { operation in
            switch operation {
            case .range: false
            case .put, .deleteRange: true
            case .txn(let inner): !inner.isReadOnly
            }
        }
    }
}

package struct TxnResult: Equatable, Sendable {
    package indirect enum Response: Equatable, Sendable {
        case range(RangeResult)
        case put(previous: KeyValue?)
        case deleteRange(deleted: Int64, previous: [KeyValue])
        case txn(TxnResult)
    }

    package var succeeded: Bool
    package var responses: [Response]
    /// What the answer takes of the member's memory budget.
    package var hold: MemoryHold?

    package static func == (a: TxnResult, b: TxnResult) -> Bool {
        a.succeeded == b.succeeded && a.responses == b.responses
    }

    package init(succeeded: Bool, responses: [Response]) {
        self.succeeded = succeeded
        self.responses = responses
    }
}

/// What a member says of itself to all: its name and where clients reach it.
package struct MemberAttributes: Equatable, Sendable {
    package var name: String
    package var clientURLs: [String]
    /// What it runs; nil of release 0.1.0.
    package var release: Release?

    package init(name: String, clientURLs: [String], release: Release? = nil) {
        self.name = name
        self.clientURLs = clientURLs
        self.release = release
    }

    package struct Release: Equatable, Sendable {
        /// As in `weft version`.
        package var name: String
        /// Versions of a fabric that it can be part of.
        package var versions: ClosedRange<UInt64>

        package init(name: String, versions: ClosedRange<UInt64>) {
            self.name = name
            self.versions = versions
        }
    }
}

/// A change of the replicated state.
package enum Command: Equatable, Sendable {
    case put(PutRequest)
    case deleteRange(DeleteRangeRequest)
    case txn(TxnRequest)
    case compact(revision: Int64)
    case leaseGrant(id: Int64, ttl: Int64)
    case leaseRenew(Int64)
    case leaseRevoke(Int64)
    /// A leader of `term` found them at their ends; from no other term it counts.
    case leaseExpire(term: UInt64, [Lease.Mark])
    /// How much is left of them.
    case leaseAge([Lease.Mark])
    case publish(memberID: UInt64, MemberAttributes)
    case raiseAlarm(Alarm)
    case lowerAlarm(Alarm.Kind, memberID: UInt64)
    case fabric(FabricCommand)
    /// From now on the formats of this version are used: see `FabricVersion`.
    case raiseVersion(UInt64)
    /// Of users, roles and rights.
    case access(AccessChange, Trace)
}

/// What a command did.
package enum CommandResult: Equatable, Sendable {
    case put(previous: KeyValue?)
    case deleteRange(deleted: Int64, previous: [KeyValue])
    case txn(TxnResult)
    case lease(Lease)
    /// The alarm that was raised or lowered, if there was one.
    case alarm(Alarm?)
    /// A member's attributes changed.
    case published
    case fabric(FabricAnswer)
    case done
}

/// Why a request was not carried out; nothing of it was.
package enum MVCCError: Error, Equatable, Sendable {
    case keyNotFound
    case leaseNotFound
    case leaseExists
    case leaseTooLong
    case compacted
    case futureRevision
    case emptyKey
    case valueProvided
    case leaseProvided
    case tooManyOperations
    /// A txn that writes would look at more keys than `RowBudget` allows.
    case tooManyRows
    case duplicateKey
    /// The answer would be larger than `AnswerBudget` lets through; nothing was changed.
    case answerTooLarge
    /// The member's answers take all the memory that they may; nothing was changed.
    case noMemory
    /// The same, but what the request wrote is written.
    case answerTooLargeButDone
    /// An alarm is raised: too much is stored.
    case noSpace
    /// An alarm is raised: the members' states differ.
    case corrupt
    case fabric(FabricRefusal)
    case access(AccessRefusal)
    /// A command whose kind is known, and that is not well formed.
    case unreadable
    /// The fabric must have this version first: see `FabricVersion`.
    case needsVersion(UInt64)
    /// These members cannot be part of a fabric of that version: they run an earlier release, or have never said what they run.
    case membersLag([UInt64])
    /// A client's lease has an id that would be a node's in a fabric of the next version.
    case leaseInTheWay(Int64)
}
