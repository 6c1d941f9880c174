internal import Access
package import Fabric
package import SQLite

/// Domains, nodes and volumes: records beside the keys, in the same state.
extension KeyValueStore {
    func apply(_ command: FabricCommand, term: UInt64) throws(SQLiteError) -> Result<CommandResult, MVCCError> {
        var command = command
        if case .expireNodes(let leaderTerm, let marks) = command.action {
            // What was renewed meanwhile goes on, and everything that another leader found.
            let ended = marks.filter { leaderTerm == term && leases.lease($0.id)?.generation == $0.generation }
            command.action = .expireNodes(term: term, ended)
        }
        let result = fabric.apply(command)
        for effect in fabric.takeLeaseEffects() {
            switch effect {
            case .grant(let id, let ttl): _ = begin(id, ttl: ttl)
            case .renew(let id): _ = renew(id)
            case .end(let id) where leases.lease(id) != nil: try end(id)
            case .end: break
            }
        }
        takeUpFabricChanges()
        return result.map(CommandResult.fabric).mapError(MVCCError.fabric)
    }

    func takeUpFabricChanges() {
        let changes = fabric.takeChanges()
        for change in changes { meta.mix(recordRows.note(change)) }
        fabricChanges += changes
    }

    /// Begins to use the formats of a later version.
    func raise(to version: UInt64, term: UInt64) throws(SQLiteError) {
        guard version > meta.version else { return }
        meta.version = version
        fabric.setLeases(NodeLeases(version: version))
        let at = fabric.newestTrace?.at ?? 0
        _ = try apply(FabricCommand(.exchangeLeases, Trace(at: at, by: "fabric", reason: "upgraded")), term: term)
    }

    /// Has the fabric's records go on from here, though others may have had newer ones: see `FabricState.recover`.
    package func recover(_ trace: Trace) throws(SQLiteError) {
        applyNothing(index: meta.appliedIndex + 1, term: meta.appliedTerm)
        let before = access
        access.beginAnew()
        for row in access.rows(since: before) { meta.mix(recordRows.note(row)) }
        _ = try apply(FabricCommand(.recover, trace), term: meta.appliedTerm)
    }

    /// What was changed of the fabric's records since this was asked last, in order.
    package func takeFabricChanges() -> [FabricChange] {
        defer { fabricChanges = [] }
        return fabricChanges
    }
}
