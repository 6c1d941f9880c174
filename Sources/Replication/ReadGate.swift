package import Raft
internal import Synchronization

/// What consensus knows of linearizable reads, for the threads that are asked for them. While nobody else can have been elected,
/// all that was ever acknowledged is within this member's commit index. Consensus publishes both before it lets go of anything
/// that others could build on; any thread looks.
package final class ReadGate: Sendable {
    private let commit = Atomic<Index>(0)
    private let leaseUntil = Atomic<UInt64>(0)

    package init() {}

    /// - Parameter leaseUntil: see `Raft.leaseUntil`.
    func publish(commit: Index, leaseUntil: UInt64) {
        // In this order: who sees a lease sees a commit index of its leadership.
        self.commit.store(commit, ordering: .sequentiallyConsistent)
        self.leaseUntil.store(leaseUntil, ordering: .sequentiallyConsistent)
    }

    package var hasLease: Bool { leaseUntil.load(ordering: .relaxed) > 0 }

    /// If a state shows all that was acknowledged before, as far as that is known without asking anybody.
    /// - Parameters:
    ///   - applied: what the state has.
    ///   - now: the shell's clock.
    package func isCurrent(applied: Index, now: () -> UInt64) -> Bool {
        let until = leaseUntil.load(ordering: .sequentiallyConsistent)
        guard until > 0, commit.load(ordering: .sequentiallyConsistent) <= applied else { return false }
        // Last: what was published was so at a time within the lease.
        return now() < until
    }
}
