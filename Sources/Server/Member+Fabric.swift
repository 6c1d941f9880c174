package import Fabric
internal import MVCC
internal import Raft
package import Replication

/// Domains, nodes and volumes.
extension RunningMember {
    /// The records as of now; with all that was acknowledged before, unless `serializable`.
    package func fabric(serializable: Bool = false) async throws(ServerError) -> FabricState {
        if serializable { try expectCaughtUp() } else { try await confirmCurrent() }
        guard !isWitness else { throw .witness }
        return core.view.fabric
    }

    /// The records as far as they are applied here.
    package var appliedFabric: FabricState { core.view.fabric }

    package var fabricFeed: FabricFeed { core.fabricFeed }

    /// Carries out a command now, in the name of `by`; answers what it did, and the records after it.
    package func change(
        _ action: FabricCommand.Action, by: String, reason: String = "", expected: Int64? = nil
    ) async throws(ServerError) -> (FabricAnswer, FabricState) {
        let trace = Trace(at: core.wallMilliseconds, by: by, reason: reason)
        let applied = try await propose(.fabric(FabricCommand(action, trace, expected: expected)))
        guard case .fabric(let answer) = applied.result else {
            preconditionFailure("a fabric command without its result")
        }
        return (answer, core.view.fabric)
    }

    /// No lease of a node is shorter than what any lease is.
    package func register(_ spec: NodeSpec, by: String, expected: Int64?) async throws(ServerError) -> (
        FabricAnswer, FabricState
    ) {
        var spec = spec
        if spec.ttl > 0 { spec.ttl = max(spec.ttl, leaseSecondsMin) }
        return try await change(.putNode(spec), by: by, expected: expected)
    }

    /// A node is heard of; answers for how many seconds it is online now, nil when it is not.
    package func heartbeat(of name: String) async throws(ServerError) -> Int64? {
        var node = appliedFabric.node(name)
        if node?.isOnline != true { node = try await fabric().node(name) }
        guard let node else { throw .refused(.fabric(.notFound(.node, name))) }
        guard node.isOnline else { return nil }
        return try await renewLease(node.lease)?.0.ttl
    }
}
