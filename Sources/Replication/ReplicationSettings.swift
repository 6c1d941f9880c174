internal import MVCC
package import Raft

/// How a member keeps its log and its state. Names and defaults are etcd's flags'.
package struct ReplicationSettings: Sendable {
    package var heartbeatMilliseconds = 100
    package var electionMilliseconds = 1000
    package var snapshotCount: UInt64 = 10_000
    package var catchUpEntries: UInt64 = 5_000
    /// Bytes of log entries that are kept for followers that lag, if that is less than `catchUpEntries`.
    package var catchUpBytes = 16 << 20
    /// Bytes of log entries that are kept for a follower that answers and lags.
    package var lagBytesMax = 256 << 20
    /// Bytes of changes in memory at which they are written to `kv.db`; up to three times as many where there are many keys.
    package var memtableBytesMax = 16 << 20
    /// Bytes of changes in memory, with those that are being written, from which on nothing is applied.
    package var pendingBytesMax = 128 << 20
    /// Age of changes in memory at which they are.
    package var memtableMillisecondsMax: UInt64 = 5000
    /// Bytes in use of `kv.db` at which puts are refused.
    package var quotaBytes: Int64 = 2 << 30
    package var autoCompaction = AutoCompaction.off
    /// How much is left of a lease is written down in steps of a tenth of it, and no more often than this.
    package var leaseAgingSecondsMin: Int64 = 60

    /// Versions of a fabric that this release can be part of.
    package var versions = FabricVersion.supported

    package init() {}

    package var raft: Raft.Settings {
        var settings = Raft.Settings()
        settings.electionTicks = max(2, electionMilliseconds / heartbeatMilliseconds)
        settings.tickMilliseconds = heartbeatMilliseconds
        settings.commitNewsNanoseconds = 1_000_000
        settings.mayHavePromised = true
        return settings
    }
}
