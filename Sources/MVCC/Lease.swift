internal import Bytes

/// A lease as all members have it. When it ends is not among this: clocks are each member's own.
package struct Lease: Equatable, Sendable {
    /// Longer is for ever: 285 years (etcd's limit).
    package static let secondsMax: Int64 = 9_000_000_000

    package let id: Int64
    /// Seconds from its grant or last renewal to its end.
    package let ttl: Int64
    /// Seconds that were left when a leader last wrote that down; `ttl` after the grant and each renewal.
    package var remaining: Int64
    /// Counts grant and renewals: what was decided before one does not hold after it.
    package var generation: Int64

    init(id: Int64, ttl: Int64, remaining: Int64, generation: Int64 = 1) {
        self.id = id
        self.ttl = ttl
        self.remaining = remaining
        self.generation = generation
    }

    /// A lease at one generation, and a number that goes with it.
    package struct Mark: Equatable, Sendable {
        package var id: Int64
        package var generation: Int64
        /// Seconds left, where that is said.
        package var remaining: Int64

        package init(id: Int64, generation: Int64, remaining: Int64 = 0) {
            self.id = id
            self.generation = generation
            self.remaining = remaining
        }
    }
}

/// What became of a lease, for who keeps the time.
package enum LeaseEvent: Equatable, Sendable {
    /// Granted or renewed.
    case begun(Lease)
    /// Less is left of it than of a new one.
    case aged(Lease)
    case ended(Int64)
}

/// Changes of leases that are not in `kv.db` yet; the last of each counts.
package struct LeaseChanges: Sendable {
    struct Attachment: Hashable {
        var lease: Int64
        private let name: Key
        var key: [UInt8] { name.bytes }

        init(lease: Int64, key: [UInt8]) {
            self.lease = lease
            name = Key(key)
        }
    }

    var leases: [Int64: Lease?] = [:]
    var attachments: [Attachment: Bool] = [:]

    package init() {}

    package var isEmpty: Bool { leases.isEmpty && attachments.isEmpty }
    /// About what they take in memory.
    var bytes: Int { 80 * leases.count + 120 * attachments.count }
}

extension RowSum {
    static func of(_ lease: Lease) -> UInt32 {
        var writer = ByteWriter()
        for number in [lease.id, lease.ttl, lease.remaining, lease.generation] { writer.signed(number) }
        return CRC32C.of(writer.bytes)
    }

    static func of(_ attachment: LeaseChanges.Attachment) -> UInt32 {
        var writer = ByteWriter()
        writer.signed(attachment.lease)
        writer.lengthPrefixed(attachment.key)
        return CRC32C.of(writer.bytes)
    }
}
