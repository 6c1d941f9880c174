/// What becomes of replicas when nodes and domains go and come.
extension FabricState {
    /// So many replicas are brought up to date on one node at a time.
    package static let resyncsPerNodeMax = 16
    /// A node that is away for less is expected back: its replicas are not made anew elsewhere.
    package static let patienceMilliseconds: Int64 = 10 * 60_000

    /// Decides anew about these volumes. Answers how many it changed.
    mutating func replan(_ ids: [Int64], _ trace: Trace) -> Int {
        var count = 0
        for id in ids {
            guard let known = volumeTable[id], let volume = replanned(known, trace, mayReplace: true) else { continue }
            put(volume, trace)
            noteReplan(of: volume, from: known, trace)
            count += 1
        }
        return count
    }

    /// Those of up to `count` volumes from `start` on for which there is something to decide, and where to go on: nil at the end.
    package func inNeedOfPlan(from start: Int64, count: Int, at now: Int64) -> (ids: [Int64], next: Int64?) {
        var ids: [Int64] = []
        var seen = 0
        // While every node has its hands full no place is looked for.
        let mayReplace = standings.rows().contains { $0.isAvailable && hasResyncToSpare($0.node) }
        for volume in volumeTable.rows(from: start) {
            if seen == count { return (ids, volume.id) }
            seen += 1
            if replanned(volume, Trace(at: now, by: ""), mayReplace: mayReplace) != nil { ids.append(volume.id) }
        }
        return (ids, nil)
    }

    /// The volume as it should be; nil when it is that.
    private func replanned(_ known: Volume, _ trace: Trace, mayReplace: Bool) -> Volume? {
        // Whole and within reach: most are.
        if known.replicas.count == known.replication,
            known.replicas.allSatisfy({ $0.state == .current && isReachable($0) })
        {
            return nil
        }
        var volume = known
        dropSurplus(&volume)
        resync(&volume, trace)
        if mayReplace { replace(&volume, trace) }
        return volume == known ? nil : volume
    }

    private func hasResyncToSpare(_ node: String) -> Bool { usage(of: node).resyncing < Self.resyncsPerNodeMax }

    private func isReachable(_ replica: VolumeReplica) -> Bool { isAvailable(replica.node) }

    /// Stale replicas within reach are brought up to date from those that have everything.
    private func resync(_ volume: inout Volume, _ trace: Trace) {
        guard currentReplicas(of: volume) > 0 else { return }
        for place in volume.replicas.indices {
            let replica = volume.replicas[place]
            guard replica.state == .stale, isReachable(replica), hasResyncToSpare(replica.node) else { continue }
            volume.replicas[place].become(.resyncing, at: changeRevision, trace)
        }
    }

    /// A replica that is lost for long is made anew elsewhere, from one that has everything.
    private func replace(_ volume: inout Volume, _ trace: Trace) {
        guard currentReplicas(of: volume) > 0 else { return }
        // What is lost for long keeps nobody away from where it was.
        let present = volume.replicas.filter { isReachable($0) || isExpectedBack($0, at: trace.at) }.map(\.node)
        let missing = volume.replication - present.count
        guard missing > 0 else { return }
        let lost = volume.replicas.map(\.node).filter { !present.contains($0) }
        for site in place(missing, sizeBytes: volume.sizeBytes, beside: present, without: lost)
        where hasResyncToSpare(site.node) {
            volume.replicas.append(
                VolumeReplica(
                    node: site.node, pool: site.pool, state: .resyncing, generation: changeRevision, since: trace.at))
        }
    }

    /// Its node is away, and not for long; those of inactive domains stay away.
    private func isExpectedBack(_ replica: VolumeReplica, at now: Int64) -> Bool {
        guard let node = nodeTable[replica.node], domainTable[node.domain]?.isActive == true else { return false }
        return now &- node.changedAt < Self.patienceMilliseconds
    }

    /// Replicas beyond what the volume should have go, once enough others have everything: those that share a domain, zone or
    /// rack first, so that what remains is spread as well as it can be.
    private func dropSurplus(_ volume: inout Volume) {
        while currentReplicas(of: volume) >= volume.replication, volume.replicas.count > volume.replication {
            guard let place = worstSurplus(of: volume) else { return }
            volume.replicas.remove(at: place)
        }
    }

    private func worstSurplus(of volume: Volume) -> Int? {
        let hasSpare = currentReplicas(of: volume) > volume.replication
        func isDispensable(_ replica: VolumeReplica) -> Bool {
            let isCurrent = replica.state == .current && isReachable(replica)
            return (!isCurrent || hasSpare) && volume.attachment?.node != replica.node
        }
        // More neighbours first, then those that have less, then the younger.
        let ranked = volume.replicas.indices.filter { isDispensable(volume.replicas[$0]) }
            .map { place in (crowding(of: place, in: volume), volume.replicas[place].state == .current ? 0 : 1, place) }
        guard let worst = ranked.max(by: { $0 < $1 }) else { return nil }
        // One that is not current, alone in its domain, will spread the volume better once it is back.
        return worst.0 == 0 && worst.1 == 1 ? nil : worst.2
    }

    /// How many other replicas share its domain, zone and rack.
    private func crowding(of place: Int, in volume: Volume) -> Int {
        guard let node = nodeTable[volume.replicas[place].node] else { return .max }
        let others = volume.replicas.indices.filter { $0 != place }.compactMap { nodeTable[volume.replicas[$0].node] }
        let inDomain = others.filter { $0.domain == node.domain }
        let inZone = inDomain.filter { $0.zone == node.zone }
        return 10_000 * inDomain.count + 100 * inZone.count + inZone.count { $0.rack == node.rack }
    }

    private mutating func noteReplan(of volume: Volume, from known: Volume, _ trace: Trace) {
        for replica in volume.replicas {
            let before = known.replica(on: replica.node)
            if before == nil {
                note(.volume, volume.name, "replica planned on \(replica.node)", trace)
            } else if before?.state != replica.state {
                note(.volume, volume.name, "replica \(replica.state) on \(replica.node)", trace)
            }
        }
        for replica in known.replicas where volume.replica(on: replica.node) == nil {
            note(.volume, volume.name, "replica dropped from \(replica.node)", trace)
        }
    }
}
