package import Bytes
package import Credentials
package import MVCC
package import Replication
internal import Transport

/// How a member runs. Names and defaults are etcd's flags'.
package struct ServerSettings: Sendable {
    package struct Founder: Sendable {
        package var name: String
        package var peerURLs: [String]

        package init(name: String, peerURLs: [String]) {
            self.name = name
            self.peerURLs = peerURLs
        }
    }

    package var name = "default"
    /// The failure domain this member belongs to; empty when nobody said.
    package var domain = ""
    package var dataDirectory = "default.weft"
    package var advertisedPeerURLs = ["http://localhost:2380"]
    /// If that was said, and not assumed.
    package var isPeerAddressSaid = false
    package var advertisedClientURLs = ["http://localhost:2379"]
    /// Where this member listens in clear text beyond loopback.
    package var clearTextAddresses: [String] = []
    /// Until when the first of the certificates that operators brought is good, in seconds since 1970; nil without any.
    package var broughtCertificateEnd: @Sendable () -> Int64? = { nil }
    /// `--initial-cluster`, by name.
    package var founders: [Founder] = []
    package var clusterToken = "etcd-cluster"
    /// If an empty directory may begin a fabric; not with `--initial-cluster-state existing`.
    package var mayFound = true
    /// If an empty directory is meant to begin one: it was said, the founders were named, or it is a trial on loopback.
    package var isFoundingAsked = true
    package var replication = ReplicationSettings()
    package var requestBytesMax = 1_572_864
    package var limits = RequestLimits()
    /// Requests of this member's clients under way at once.
    package var requestsMax = 20_000
    package var requestsBytesMax = 128 << 20
    /// What requests and answers of all clients may take in memory together.
    package var budget = MemoryBudget(bytesMax: MachineMemory.defaultBudget)
    /// For short reads, and as many for those of many keys.
    package var readerThreads = 2
    /// Watches that ask for it hear this often that nothing happened.
    package var watchProgressNanoseconds: UInt64 = 600_000_000_000
    /// What this build calls itself, for the other members.
    package var release = ""
    /// Whoever reaches the client port may do everything while users do not count, though the fabric has a CA of its own.
    package var letsStrangersIn = true
    package var tokens = TokenSettings.simple
    /// That a simple token lives without being used.
    package var tokenSeconds: UInt64 = 300
    /// See `PasswordHash.costs`.
    package var bcryptCost = PasswordHash.usualCost
    /// Between two walks over all of `kv.db` in search of damage; 0 for none.
    package var scrubNanoseconds: UInt64 = 3_600_000_000_000
    /// Takes the place of this process by a new start of it; comes back when that cannot be.
    package var startAnew: @Sendable () -> Void = {}
    /// Waits a moment until what was logged is written; before the process ends without more ado.
    package var flushLog: @Sendable () -> Void = {}

    package init() {}

    /// etcd's: 5 s for the work and two elections for a change of leader.
    package var requestTimeoutNanoseconds: UInt64 {
        (5_000 + 2 * UInt64(replication.electionMilliseconds)) * 1_000_000
    }
}
