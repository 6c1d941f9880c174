package import Bytes
internal import Synchronization

/// All leases, their keys, and when each ends by this member's clock. Changed by the apply lane only; anybody may look.
package final class LeaseTable: Sendable {
    package struct Entry: Sendable {
        package internal(set) var lease: Lease
        package internal(set) var keys: Set<Key> = []
        /// Nanoseconds of the clock of who keeps the time; 0 until that is set.
        package internal(set) var deadline: UInt64 = 0
    }

    private let entries = Mutex<[Int64: Entry]>([:])

    init(_ leases: [Lease], _ attachments: [LeaseChanges.Attachment]) {
        entries.withLock { entries in
            for lease in leases { entries[lease.id] = Entry(lease: lease) }
            for attachment in attachments { entries[attachment.lease]?.keys.insert(Key(attachment.key)) }
        }
    }

    package subscript(_ id: Int64) -> Entry? { entries.withLock { $0[id] } }
    package var count: Int { entries.withLock { $0.count } }
    /// Ascending.
    package var ids: [Int64] { entries.withLock { $0.keys.sorted() } }

    func lease(_ id: Int64) -> Lease? { entries.withLock { $0[id]?.lease } }

    func put(_ lease: Lease) {
        entries.withLock { $0[lease.id, default: Entry(lease: lease)].lease = lease }
    }

    /// Answers the keys it had, ascending.
    func remove(_ id: Int64) -> [[UInt8]] {
        entries.withLock { $0.removeValue(forKey: id)?.keys }?.map(\.bytes).sorted(by: precedes) ?? []
    }

    func attach(_ key: [UInt8], to id: Int64) {
        entries.withLock { _ = $0[id]?.keys.insert(Key(key)) }
    }

    func detach(_ key: [UInt8], from id: Int64) {
        entries.withLock { _ = $0[id]?.keys.remove(Key(key)) }
    }

    // MARK: - Time

    /// Notes when a lease ends.
    package func setDeadline(_ deadline: UInt64, of id: Int64) {
        entries.withLock { $0[id]?.deadline = deadline }
    }

    /// The end and the generation of a lease, without its keys.
    package func time(of id: Int64) -> (deadline: UInt64, lease: Lease)? {
        entries.withLock { entries in entries[id].map { ($0.deadline, $0.lease) } }
    }

    /// Has every lease end when `body` says; it gets each one's end and seconds left.
    package func adjust(_ body: (UInt64, Lease) -> UInt64) {
        entries.withLock { entries in
            for id in Array(entries.keys) {
                guard let entry = entries[id] else { continue }
                entries[id]?.deadline = body(entry.deadline, entry.lease)
            }
        }
    }
}
