internal import MVCC
internal import Raft

/// What members have said that they run, and the version of the fabric that follows from it.
struct ModelReleases {
    private(set) var version: UInt64
    private var known: [NodeID: ClosedRange<UInt64>] = [:]
    private var members: [NodeID]

    init(version: UInt64, members: [NodeID]) {
        self.version = version
        self.members = members
    }

    mutating func note(_ command: Command) {
        switch command {
        case .publish(let id, let attributes): known[id] = attributes.release?.versions
        case .raiseVersion(let wanted):
            if wanted > version, members.allSatisfy({ known[$0]?.contains(wanted) == true }) { version = wanted }
        default: break
        }
    }

    mutating func note(_ configuration: Configuration) { members = configuration.everybody.map(\.id) }
}
