extension Int64 {
    /// Stops at the end of what it can be: a thousand nodes of 2^60 bytes are more.
    package mutating func add(_ other: Int64) {
        let (sum, isTooMuch) = addingReportingOverflow(other)
        self = isTooMuch ? .max : sum
    }
}

/// What follows from the records, for those who look.
extension FabricState {
    package enum Sync: Sendable {
        /// Every volume's replicas in the domain have everything.
        case inSync
        /// Some are being brought up to date, none waits for its node.
        case syncInProgress
        case notInSync
        /// There is nobody to ask: no node of it is online.
        case unknown
    }

    /// Counts of one domain's nodes and replicas.
    package struct DomainSummary: Sendable {
        package var nodes = 0
        package var onlineNodes = 0
        package var capacityBytes: Int64 = 0
        package var allocatedBytes: Int64 = 0
        package var current = 0
        package var stale = 0
        package var resyncing = 0

        package init() {}

        package var sync: Sync {
            if stale > 0 { return .notInSync }
            if resyncing > 0 { return .syncInProgress }
            return onlineNodes == 0 ? .unknown : .inSync
        }
    }

    /// Of all domains, in one walk.
    package func summaries() -> [String: DomainSummary] {
        var found: [String: DomainSummary] = [:]
        var domainOfNode: [String: String] = [:]
        for node in nodes {
            domainOfNode[node.name] = node.domain
            found[node.domain, default: DomainSummary()].nodes += 1
            found[node.domain]?.onlineNodes += node.isOnline ? 1 : 0
            found[node.domain]?.capacityBytes.add(node.capacityBytes)
            found[node.domain]?.allocatedBytes.add(allocatedBytes(on: node))
        }
        for volume in volumes() {
            for replica in volume.replicas {
                guard let domain = domainOfNode[replica.node] else { continue }
                switch replica.state {
                case .current: found[domain]?.current += 1
                case .stale: found[domain]?.stale += 1
                case .resyncing: found[domain]?.resyncing += 1
                }
            }
        }
        return found
    }

    package func allocatedBytes(on node: Node) -> Int64 {
        let usage = usage(of: node.name)
        return node.pools.reduce(into: Int64(0)) { $0.add(usage.allocatedBytes(in: $1.name)) }
    }

    /// Volumes by state.
    package struct VolumeSummary: Sendable {
        package var up = 0
        package var degraded = 0
        package var down = 0
        package var resyncing = 0
    }

    package func volumeSummary() -> VolumeSummary {
        var found = VolumeSummary()
        for volume in volumes() {
            switch volume.state {
            case .up: found.up += 1
            case .degraded: found.degraded += 1
            case .down: found.down += 1
            }
            if volume.replicas.contains(where: { $0.state == .resyncing }) { found.resyncing += 1 }
        }
        return found
    }

    /// What would become of volumes if a domain vanished now.
    package struct Loss: Sendable {
        /// Volumes whose current replicas are all in it: they would be down. The first few by name.
        package var down: [String] = []
        package var downCount = 0
        /// Volumes that would have fewer replicas than they should.
        package var degradedCount = 0
        /// Volumes attached to a node of it.
        package var attachedCount = 0
    }

    package func loss(of domain: String, namesMax: Int = 100) -> Loss {
        let inside = Set(nodes.filter { $0.domain == domain }.map(\.name))
        var loss = Loss()
        for volume in volumes() {
            if let attachment = volume.attachment, inside.contains(attachment.node) { loss.attachedCount += 1 }
            guard volume.replicas.contains(where: { inside.contains($0.node) }) else { continue }
            let left = volume.replicas.count {
                !inside.contains($0.node) && $0.state == .current && isAvailable($0.node)
            }
            if left == 0 {
                loss.downCount += 1
                if loss.down.count < namesMax { loss.down.append(volume.name) }
            } else if left < volume.replication {
                loss.degradedCount += 1
            }
        }
        return loss
    }
}
