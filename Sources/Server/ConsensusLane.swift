internal import Raft
internal import Replication

/// The thread that owns consensus. It waits for nothing but its mailbox and the next tick.
final class ConsensusLane: Sendable {
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ raft: Raft) {
        var replica = Replica(shell: core, raft: raft)
        let tickNanoseconds = UInt64(core.settings.heartbeatMilliseconds) * 1_000_000
        var nextTick = monotonicNanoseconds() + tickNanoseconds
        replica.dispatch()
        while true {
            let work = core.consensus.take(until: min(nextTick, replica.raft.newsDue ?? .max))
            guard replica.handle(work) else { return end() }
            let now = monotonicNanoseconds()
            if now >= nextTick {
                replica.tick(now)
                // After a pause the missed ticks are gone: time that nobody lived through elects nobody.
                nextTick = max(nextTick + tickNanoseconds, now + tickNanoseconds / 2)
            }
            replica.dispatch()
        }
    }

    /// Whoever came too late hears so.
    private func end() {
        core.consensus.close()
        for case .read(let read) in core.consensus.take(until: nil) { read.proceed(.stopping) }
    }
}
