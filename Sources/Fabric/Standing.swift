/// How a node stands when replicas are placed. Follows from its record, its domain's and what lies on it, and is kept: each replica
/// asks about all nodes.
struct Standing: Equatable, Ordered {
    struct PoolSpace: Equatable, Sendable {
        let name: String
        fileprivate(set) var freeBytes: Int64
    }

    let node: String
    let domain: String
    let zone: String
    let rack: String
    /// Its replicas count, and can be brought up to date.
    let isAvailable: Bool
    /// Why no replica is placed on it, however small.
    let obstacle: String?
    private(set) var pools: [PoolSpace]

    /// - Parameter isDomainActive: whether the node's domain is.
    init(_ node: Node, isDomainActive: Bool, _ usage: NodeUsage) {
        self.node = node.name
        domain = node.domain
        zone = node.zone
        rack = node.rack
        isAvailable = isDomainActive && node.isOnline && !node.isInMaintenance
        obstacle =
            if !isDomainActive {
                "domain \(node.domain) is inactive"
            } else if !node.isOnline {
                "it is offline"
            } else if node.isInMaintenance {
                "it is in maintenance"
            } else if node.isCordoned {
                "it is cordoned"
            } else { nil }
        pools = node.pools.map {
            PoolSpace(name: $0.name, freeBytes: $0.capacityBytes - usage.allocatedBytes(in: $0.name))
        }
    }

    var order: String { node }

    /// The pool with the most free, the first of several.
    var roomiest: PoolSpace? {
        var found = pools.first
        for pool in pools.dropFirst() where pool.freeBytes > found?.freeBytes ?? .min { found = pool }
        return found
    }

    var freeBytes: Int64 { roomiest?.freeBytes ?? 0 }

    func freeBytes(in pool: String) -> Int64 { pools.first { $0.name == pool }?.freeBytes ?? 0 }

    mutating func take(_ bytes: Int64, of pool: String) {
        guard let place = pools.firstIndex(where: { $0.name == pool }) else { return }
        pools[place].freeBytes -= bytes
    }
}
