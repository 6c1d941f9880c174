internal import Fabric
internal import MVCC
internal import Raft

/// Sites: which member is where, what commits wait for, and storage nodes that come, go and use volumes.
extension World {
    static let domains = ["east", "west", "third"]

    /// The domain of a machine, when the seed has any.
    func domain(of machine: Int) -> String { plan.hasDomains ? Self.domains[machine % Self.domains.count] : "" }

    /// What a step of consensus committed is on disk in as many domains as the configuration asks for, unless the step
    /// changed that.
    func checkSpread(_ raft: Raft, configurationBefore: Configuration, commitBefore: Index) {
        // Before a configuration is committed, what the one before asked for counts.
        guard raft.role == .leader, raft.commit > commitBefore, raft.configuration == configurationBefore,
            raft.configurationIndex <= commitBefore
        else { return }
        guard let reached = raft.configuration.reachedBySpread({ durable[$0] ?? 0 }), reached < raft.commit else {
            return
        }
        attempt { () throws(Violation) in
            throw Violation(
                check: "commits are on disk in as many domains as asked for",
                detail: "\(raft.id) committed \(raft.commit), and only \(reached) is")
        }
    }

    /// The operator takes a domain out of what commits wait for, or back.
    func changeDomains(_ leader: SimulatedProcess, _ configuration: Configuration) {
        guard plan.spread > 1, faultDice.chance(0.2) else { return }
        let domain = faultDice.pick(Self.domains)
        change(leader, .setActive(domain: domain, configuration.policy.inactive.contains(domain)))
    }

    /// The operator has reads answered by a lease, or no more.
    func changeReads(_ leader: SimulatedProcess, _ configuration: Configuration) {
        guard plan.readsByLease, faultDice.chance(0.1) else { return }
        change(leader, .readByLease(!configuration.policy.readsByLease))
    }

    /// Something of what storage nodes and their operators ask.
    func chooseFabricWork(_ process: SimulatedProcess) -> Command {
        let node = "n\(clients.dice.below(6))"
        let domain = clients.dice.pick(Self.domains)
        let volume = VolumeReference.name("v\(clients.dice.below(8))")
        // As the node was told, or something else.
        let told = process.view?.fabric.volume(volume)?.replica(on: node)?.generation
        let generation = clients.dice.chance(0.8) ? told ?? 1 : Int64(clients.dice.between(1, 50))
        let action: FabricCommand.Action
        switch clients.dice.below(12) {
        case 0...2:
            action = .putNode(
                NodeSpec(
                    name: node, domain: Self.domains[Int(node.utf8.last ?? 0) % 3],
                    pools: [Pool(name: "p", capacityBytes: 1000)], ttl: Int64(clients.dice.between(2, 12))))
        case 3, 4:
            action = .createVolume(
                VolumeSpec(
                    name: volume.text, sizeBytes: Int64(clients.dice.between(1, 300)),
                    replication: clients.dice.between(1, 3)))
        case 5: action = .attach(volume, node: node, force: clients.dice.chance(0.3))
        case 6: action = .detach(volume, token: 0)
        case 7: action = .deactivate(domain, force: clients.dice.chance(0.5))
        case 8: action = .activate(domain)
        case 9: action = .report(volume, node: node, .current, generation: generation)
        case 10:
            action = .setNode(node, isCordoned: clients.dice.chance(0.3), isInMaintenance: clients.dice.chance(0.3))
        default:
            action =
                clients.dice.chance(0.3)
                ? .deleteVolume(volume) : .report(volume, node: node, .stale, generation: generation)
        }
        return .fabric(FabricCommand(action, Fabric.Trace(at: Int64(now / 1_000_000), by: "client")))
    }
}

extension Oracle {
    /// What must hold of volumes in every state, and from each to the next.
    mutating func checkVolumes(_ fabric: FabricState, at index: Index) throws(Violation) {
        guard index > volumesIndex else { return }
        volumesIndex = index
        for volume in fabric.volumes() {
            let current = volume.replicas.filter { $0.state == .current }
            let reachable = current.filter { fabric.isAvailable($0.node) }
            guard !current.isEmpty, reachable.isEmpty || reachable.count == current.count else {
                throw Violation(
                    check: "a replica that counts has everything",
                    detail: "\(volume.name): \(current.count) current, \(reachable.count) of them within reach")
            }
            let known = tokens[volume.id] ?? 0
            guard volume.lastToken >= known else {
                throw Violation(
                    check: "fencing tokens rise", detail: "\(volume.name): \(volume.lastToken) after \(known)")
            }
            tokens[volume.id] = volume.lastToken
        }
    }
}
