internal import Bytes

/// Membership changes (D 4), one vote at a time or several together, and the configurations of the log.
extension Raft {
    mutating func change(
        _ change: ConfigurationChange, requestID: UInt64, from requester: NodeID, _ stamp: Stamp
    ) {
        guard role == .leader else {
            if let leader, requester == id {
                send(.change(requestID: requestID, change, stamp), to: leader)
            } else {
                refuse(.notLeader, requestID: requestID, of: requester)
            }
            return
        }
        do {
            let next = try configuration.applying(change)
            try expectReady(for: next)
            appendConfiguration(next, requestID: requestID)
            leadership?.note(requester, awaits: log.lastIndex)
        } catch {
            refuse(error, requestID: requestID, of: requester)
        }
    }

    private mutating func refuse(_ refusal: ChangeRefusal, requestID: UInt64, of requester: NodeID) {
        if requester == id {
            ready.changesRefused.append((requestID, refusal))
        } else {
            send(.changeRefused(requestID: requestID, refusal), to: requester)
        }
    }

    private func expectReady(for next: Configuration) throws(ChangeRefusal) {
        // Where commits wait for a domain that is gone, a new leader cannot commit anything before it is told not to wait. That
        // touches no vote, so it is like any other entry.
        if next.isRelaxed(from: configuration), leadership?.transferTarget == nil { return }
        // One at a time, and none before an entry of this term is committed (the 2015 correction).
        guard hasCommittedInTerm || makes(.changesBeforeOwnTermIsCommitted),
            configurationIndex <= commit || makes(.changesTwiceAtOnce), leadership?.transferTarget == nil
        else { throw .notReady }
        if configuration.isJoint {
            guard !next.isJoint, next.voters == configuration.outgoing else { throw .notReady }
            return
        }
        for newcomer in next.voters where !configuration.isVoter(newcomer) {
            guard isCaughtUp(newcomer) else { throw .learnerNotCaughtUp }
        }
        // What it asks for from now on must be there, or the fabric would stop.
        if next.policy.isStricter(than: configuration.policy) {
            let isMet = next.reachedBySpread { $0 == id || isCaughtUp($0) ? 1 : 0 } ?? 1
            guard isMet == 1 else { throw .unhealthy }
        }
        // The voters that answer must be a quorum of what remains, or the fabric would stop.
        guard next.voters != configuration.voters else { return }
        let answers = next.isQuorum { voter in
            voter == id
                || leadership?.progress(of: voter).map { isActive($0) && $0.health != .recovering } == true
        }
        guard answers else { throw .unhealthy }
        guard keepsWhatWitnessesLack(next) else { throw .memberBehind }
    }

    /// What witnesses' logs do not begin with is at members with state alone, and in every quorum at one that holds it. So it stays
    /// where no more members come without it than quorums grow by; else those who lack it, and witnesses, may be no quorum.
    private func keepsWhatWitnessesLack(_ next: Configuration) -> Bool {
        if makes(.promotesBehindWitnesses) { return true }
        let end = next.afterJoint
        let before = configuration.isJoint ? configuration.outgoing : configuration.voters
        let lacking = end.voters.filter { end.isWitness($0) || $0 != id && !hasWhatWitnessesLack($0) }
        let coming = lacking.count { !before.contains($0) }
        return Configuration.majority(of: before) + coming <= Configuration.majority(of: end.voters)
            || lacking.allSatisfy(end.isWitness) || !end.isQuorum(lacking.contains)
    }

    private func hasWhatWitnessesLack(_ peer: NodeID) -> Bool {
        guard let current = leadership, let progress = current.progress(of: peer) else { return false }
        return progress.match >= current.witnessesBegin
    }

    private mutating func appendConfiguration(_ next: Configuration, requestID: UInt64) {
        let payload = ConfigurationEntry(requestID: requestID, configuration: next).encoded()
        let proposal = Proposal(id: requestID, kind: .configuration, payload: payload)
        append([Entry(index: log.lastIndex + 1, term: term, proposal: proposal)])
    }

    private func isCaughtUp(_ id: NodeID) -> Bool {
        guard let progress = leadership?.progress(of: id) else { return false }
        return progress.state == .replicating && isActive(progress)
            && progress.match + settings.promotionLagMax >= log.lastIndex
            && (hasWhatWitnessesLack(id) || makes(.promotesBehindWitnesses))
    }

    /// If a voter has just come, and could be taken out again. Where none has, waiting would be for ever.
    private var hasNewcomers: Bool { configuration.voters.contains { !configuration.outgoing.contains($0) } }

    /// Two sets of voters end with the entry after the one that began them (D 4.3).
    mutating func leaveJoint() {
        guard configuration.isJoint, hasCommittedInTerm, configurationIndex <= commit || makes(.leavesJointEarly),
            keepsWhatWitnessesLack(configuration) || !hasNewcomers
        else { return }
        appendConfiguration(configuration.afterJoint, requestID: 0)
    }

    /// A newcomer that has caught up becomes a voter without anybody's asking.
    mutating func promoteCaughtUp() {
        guard hasCommittedInTerm, configurationIndex <= commit, leadership?.transferTarget == nil,
            !configuration.isJoint
        else { return }
        for newcomer in configuration.members where newcomer.isJoining && isCaughtUp(newcomer.id) {
            let change =
                newcomer.replaces.map { .replace($0, by: newcomer.id) } ?? ConfigurationChange.promote(newcomer.id)
            guard let next = try? configuration.applying(change), (try? expectReady(for: next)) != nil else { continue }
            return appendConfiguration(next, requestID: 0)
        }
    }

    /// Takes up the configurations among `entries`: at once, not when they are committed (D 4.1).
    mutating func adoptConfigurations(of entries: [Entry]) {
        for entry in entries where entry.kind == .configuration {
            guard let change = try? ConfigurationEntry(decoding: entry.payload) else {
                preconditionFailure("entry \(entry.index) holds no configuration, though its checksum is right")
            }
            configurationsBefore.append((configurationIndex, configuration))
            configuration = change.configuration
            configurationIndex = entry.index
        }
        if role == .leader { syncProgress() }
    }

    /// The configurations to which this log may have to go back: the last one that is known to be committed, and those after it but
    /// for the newest. There may be several: what relaxes the policy waits for no commit.
    var configurationsReplaceable: ArraySlice<(index: Index, configuration: Configuration)> {
        guard configurationIndex > commit else { return [] }
        return configurationsBefore[(configurationsBefore.lastIndex { $0.index <= commit } ?? 0)...]
    }

    /// Where the last configuration stands that is known to be committed.
    package var committedConfigurationIndex: Index { configurationsReplaceable.first?.index ?? configurationIndex }

    /// Goes back to the configuration before `index`.
    mutating func dropConfigurations(from index: Index) {
        while configurationIndex >= index, let previous = configurationsBefore.popLast() {
            configurationIndex = previous.index
            configuration = previous.configuration
        }
    }

    /// Follows the configuration with one progress per peer. Who leaves has one until that is committed, and so hears of it.
    mutating func syncProgress() {
        guard var current = leadership else { return }
        var members = configuration.everybody.map(\.id)
        for before in configurationsReplaceable {
            members += before.configuration.everybody.map(\.id).filter { !members.contains($0) }
        }
        members.removeAll { $0 == id }
        current.peers.removeAll { !members.contains($0.id) }
        for member in members where current.place(of: member) == nil {
            let progress = Progress(match: 0, next: log.lastIndex + 1)
            current.peers.append(Leadership.Peer(id: member, progress: progress))
        }
        current.peers.sort { $0.id < $1.id }
        if let target = current.transferTarget, !members.contains(target) { current.transferTarget = nil }
        leadership = current
    }
}
