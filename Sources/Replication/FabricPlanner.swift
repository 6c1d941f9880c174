internal import Fabric
internal import MVCC
internal import Raft

/// Finds, for a leader, the volumes that need a decision: a slice of all at a time, as long as anything
/// changes, and now and then because time has passed. What becomes of them is decided where it is applied.
struct FabricPlanner {
    /// So many are looked at per tick, and so many decided about at once.
    private static let lookMax = 2000
    private static let planMax = 100
    private static let restNanoseconds: UInt64 = 10_000_000_000
    private static let retryNanoseconds: UInt64 = 10_000_000_000

    /// Where to go on; nil when a pass is over.
    private var cursor: Int64?
    /// The revision at which the newest pass began.
    private var revision: Int64 = 0
    private var nextPass: UInt64 = 0
    /// What was proposed last has to be applied first.
    private var awaited: (revision: Int64, until: UInt64)?

    /// The domains that members belong to, with the kind that their members make them.
    private var memberDomains: [(name: String, kind: Domain.Kind)] = []
    /// When each of them may be asked for again.
    private var asked: [String: UInt64] = [:]

    mutating func follow(_ configuration: Configuration) {
        memberDomains = configuration.domains.map { domain in
            let members = configuration.members.filter { $0.domain == domain }
            return (domain, members.allSatisfy(\.isWitness) ? .witness : .data)
        }
    }

    /// What a leader is to propose now.
    mutating func tick(now: UInt64, wall: Int64, isLeading: Bool, _ fabric: FabricState) -> Command? {
        guard isLeading else {
            cursor = nil
            awaited = nil
            asked = [:]
            return nil
        }
        if let awaited, fabric.revision == awaited.revision, now < awaited.until { return nil }
        awaited = nil
        let missing = memberDomains.first { fabric.domain($0.name) == nil && asked[$0.name] ?? 0 < now }
        if let missing {
            // It may be refused; then there are other things to do.
            asked[missing.name] = now + Self.restNanoseconds
            let spec = DomainSpec(name: missing.name, kind: missing.kind)
            return .fabric(
                FabricCommand(.putDomain(spec), Trace(at: wall, by: "fabric", reason: "a member belongs to it")))
        }
        guard fabric.volumeCount > 0 else { return nil }
        if cursor == nil, fabric.revision != revision || now >= nextPass {
            cursor = 0
            revision = fabric.revision
            nextPass = now + Self.restNanoseconds
        }
        var looked = 0
        while let start = cursor, looked < Self.lookMax {
            let found = fabric.inNeedOfPlan(from: start, count: Self.planMax, at: wall)
            cursor = found.next
            looked += Self.planMax
            guard found.ids.isEmpty else {
                awaited = (fabric.revision, now + Self.retryNanoseconds)
                return .fabric(FabricCommand(.replan(found.ids), Trace(at: wall, by: "fabric")))
            }
        }
        return nil
    }
}
