internal import Logging
internal import MVCC
package import Replication
internal import Storage
internal import Synchronization

/// After a start a member may be behind what it answered before: a killed process had applied more than `kv.db` holds.
extension RunningMember {
    /// etcd's `--wait-cluster-ready-timeout`.
    private static let patienceNanoseconds: UInt64 = 5_000_000_000
    private static let lookNanoseconds: UInt64 = 10_000_000

    /// Waits until this member has applied all that it was answering from before it was started, or all that was committed when it
    /// was. Without a leader that may be never: after five seconds what needs no leader is refused until there is one. Blocks.
    package func awaitCaughtUp() {
        guard !core.hasCaughtUp.load(ordering: .relaxed), !isWitness else { return }
        Task(priority: .high) { await catchUp() }
        let limit = core.now + Self.patienceNanoseconds
        while !core.hasCaughtUp.load(ordering: .relaxed), !isWitness, !core.isStopping {
            if let before = core.served.before, core.view.appliedIndex >= before {
                return core.hasCaughtUp.store(true, ordering: .relaxed)
            }
            guard core.now < limit else {
                return core.logger.warning(
                    """
                    no leader answers, and this member may lack what it answered from before it was started: it refuses \
                    serializable reads and watches until there is a leader
                    """)
            }
            pause(nanoseconds: Self.lookNanoseconds)
        }
    }

    private func catchUp() async {
        while !core.isStopping {
            let hasCaughtUp = await withCheckedContinuation { continuation in
                let read = PendingRead(deadline: core.now + Self.patienceNanoseconds) { [core] failure in
                    if failure == nil { core.noteCaughtUp() }
                    continuation.resume(returning: failure == nil)
                }
                core.mail.consensus.post(.read(read))
            }
            if hasCaughtUp { return }
            try? await Task.sleep(nanoseconds: Self.lookNanoseconds * 10)
        }
    }

    /// For what is answered from this member's own state, without asking others.
    package func expectCaughtUp() throws(ServerError) {
        guard core.hasCaughtUp.load(ordering: .relaxed) || isWitness else { throw .catchingUp }
    }
}
