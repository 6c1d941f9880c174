package import Raft

/// Consensus with its clock. It waits for nothing but what is posted and the next tick.
package struct ConsensusLane<Shell: ReplicationShell>: Lane {
    private let shell: Shell
    private var replica: Replica<Shell>
    private let tickNanoseconds: UInt64
    private var nextTick: UInt64

    package init(shell: Shell, raft: Raft) {
        self.shell = shell
        tickNanoseconds = UInt64(shell.settings.heartbeatMilliseconds) * 1_000_000
        nextTick = shell.now + tickNanoseconds
        replica = Replica(shell: shell, raft: raft)
        replica.dispatch()
    }

    package var due: UInt64? { min(nextTick, replica.raft.newsDue ?? .max) }

    package mutating func handle(_ work: [ConsensusWork]) -> Bool {
        guard replica.handle(work) else { return false }
        let now = shell.now
        if now >= nextTick {
            replica.tick(now)
            // After a pause the missed ticks are gone: time that nobody lived through elects nobody.
            nextTick = max(nextTick + tickNanoseconds, now + tickNanoseconds / 2)
        }
        replica.dispatch()
        return true
    }

    package func refuse(_ work: [ConsensusWork]) {
        for case .read(let read) in work { read.proceed(.stopping) }
    }
}
