internal import Bytes
internal import Raft
internal import Replication

/// What a seed decides before the run begins.
package struct Plan: Sendable {
    package var faults: [Fault]
    package var voters: Int
    /// Machines in all; those without a member can become one.
    var machines: Int
    var clients: Int
    var keys: Int
    /// Between an answer and the next request of a client.
    var thinkNanoseconds: UInt64
    /// How long faults happen.
    package var faultSeconds: UInt64
    var faultNanoseconds: UInt64
    /// How long a process that ended stays away.
    var restartNanoseconds: UInt64
    var linkNanoseconds: UInt64
    var syncNanoseconds: UInt64
    /// The last founder is a witness.
    var hasWitness: Bool
    /// Members differ in priority.
    var hasPriorities: Bool
    /// Members belong to domains.
    var hasDomains: Bool
    /// In so many domains an entry is on disk before it is committed.
    var spread: UInt8
    /// The operator turns reads by lease on and off; never where clocks stand still, which leases do not bear.
    var readsByLease: Bool
    /// Clients ask for domains, nodes and volumes, too.
    var hasNodes: Bool
    /// Clients are users whose rights change.
    var hasUsers: Bool
    var raft = Raft.Settings()
    var replication = ReplicationSettings()

    /// Milliseconds between a client's requests and between faults, and the seconds of it all.
    private static let paces: [(think: UInt64, seconds: UInt64, fault: UInt64)] = [
        (5, 15, 500), (50, 30, 100), (50, 30, 300), (100, 60, 1000), (100, 60, 3000), (400, 120, 1000),
        (400, 200, 4000),
        (2000, 600, 4000), (10_000, 3600, 20_000),
    ]

    /// - Parameter without: faults that are left out though the seed has them.
    package init(seed: UInt64, without: Set<String> = []) {
        var dice = Dice(seed: seed, purpose: "plan")
        let share = dice.pick([0.0, 0.2, 0.3, 0.5, 0.5, 0.8])
        faults = Fault.allCases.filter { _ in dice.chance(share) }
        voters = dice.pick([1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5])
        machines = voters + 2
        clients = dice.between(1, 4)
        keys = dice.pick([3, 10, 50])
        // The busier, the shorter: a run costs about the same.
        let pace = dice.pick(Self.paces)
        thinkNanoseconds = pace.think * 1_000_000
        faultSeconds = pace.seconds
        faultNanoseconds = pace.fault * 1_000_000
        restartNanoseconds = min(3_000_000_000, 5 * faultNanoseconds)
        linkNanoseconds = dice.pick([50, 200, 1000, 10_000, 50_000, 250_000, 500_000]) * 1000
        syncNanoseconds = dice.pick([100, 1000, 10_000, 100_000]) * 1000
        if dice.chance(0.5) {
            raft.recentBytesMax = 2000
            // One entry in each message, or a few.
            raft.messageBytesMax = dice.pick([1, 1, 1000])
            raft.window = Window(bytesMax: 4000, messagesMax: dice.pick([1, 2, 8]))
            raft.applyBytesMax = 2000
        }
        raft.commitNewsNanoseconds = UInt64(dice.pick([0, 2, 50])) * 1_000_000
        raft.promotionLagMax = Index(dice.pick([0, 16, 256]))
        let isBusy = faults.contains(.busySnapshots)
        replication.snapshotCount = UInt64(isBusy ? dice.between(5, 40) : dice.pick([100, 1000]))
        replication.catchUpEntries = UInt64(isBusy ? dice.between(1, 10) : dice.pick([20, 500]))
        replication.lagBytesMax = dice.pick([0, 0, 0, 256 << 20])
        replication.memtableMillisecondsMax = UInt64(dice.pick([300, 1000, 5000]))
        replication.memtableBytesMax = dice.pick([3000, 50_000, 16 << 20])
        // So little that applying often waits for the file.
        if replication.memtableBytesMax == 3000 { replication.pendingBytesMax = 3000 }
        raft.electionTicks = dice.pick([5, 10, 10, 10])
        hasWitness = voters >= 3 && dice.chance(faults.contains(.newVoter) ? 0.5 : 0.1)
        if hasWitness, faults.contains(.newVoter) {
            // Who catches up does so entry by entry, and gets its vote early; the witness cuts its log often.
            raft.messageBytesMax = 1
            raft.promotionLagMax = 256
            replication.snapshotCount = UInt64(dice.between(2, 8))
            replication.catchUpEntries = 1
        }
        hasPriorities = dice.chance(0.3)
        readsByLease = dice.chance(0.7) && (!faults.contains(.freeze) || makes(.readsByStoppedClocks))
        raft.mayHavePromised = readsByLease
        replication.leaseAgingSecondsMin = Int64(dice.pick([1, 60]))
        replication.autoCompaction = dice.pick([.off, .off, .periodic(seconds: 30), .revision(retained: 20)])
        replication.quotaBytes = dice.pick([100_000, 130_000, 2 << 30, 2 << 30])
        replication.electionMilliseconds = raft.electionTicks * replication.heartbeatMilliseconds
        hasDomains = voters >= 3 && dice.chance(0.5)
        spread = hasDomains && dice.chance(0.6) ? 2 : 0
        hasNodes = dice.chance(0.4)
        // An earlier release knows none.
        hasUsers = dice.chance(0.3) && !faults.contains(.upgrade)
        faults.removeAll { without.contains($0.rawValue) }
    }
}
