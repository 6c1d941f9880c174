/// What a leader says was lost here: see DESIGN.md, "What cannot be".
extension Raft {
    /// What a leader says that this member acknowledged, and that its log does not hold.
    struct Loss: Sendable {
        var index: Index
        /// The leader's. Whoever has an entry of that term, and as many entries, has all that the leader spoke of.
        var term: Term
        /// For so long it is taken for true unless it is said again.
        var ticks: Int

        func isHeld(byLogTo lastIndex: Index, _ lastTerm: Term) -> Bool {
            lastTerm > term || lastTerm == term && lastIndex >= index
        }
    }

    /// A leader speaks of nothing that was not acknowledged: either the disk lost it without a trace, or this is no leader. The
    /// leader is told up to where the logs may agree and sends again what is missing. Until then only a candidate that has it may be elected;
    /// but not for ever after the leader spoke of it last, or a liar could hold up elections. A leader says it with each heartbeat:
    /// what was said once holds them up for two election timeouts, what was said again for ten.
    mutating func noteLoss(of index: Index, to leader: NodeID) {
        let isNews = loss.map { $0.index < index || $0.term < term } ?? true
        if isNews { ready.contradictions.append(.commitBeyondLog(from: leader, index: index)) }
        loss = Loss(
            index: max(index, loss?.index ?? 0), term: term,
            ticks: max(loss?.ticks ?? 0, (isNews ? 2 : 10) * electionTicks))
        send(.appendReply(.lost(min(log.durableIndex, index - 1)), logEpoch: logEpoch), to: leader)
    }

    /// The log agrees with a leader's up to `index`.
    mutating func noteFound(through index: Index) {
        if let lost = loss, lost.index <= index { loss = nil }
    }

    mutating func tickLoss() {
        loss?.ticks -= 1
        if let lost = loss, lost.ticks <= 0 {
            ready.contradictions.append(.lossUnresolved(index: lost.index))
            loss = nil
        }
    }
}
