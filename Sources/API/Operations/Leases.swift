internal import MVCC
internal import Replication
internal import Server

/// etcd's Lease service.
enum Leases {
    struct Grant: LoopOperation {
        /// 0 lets the member choose.
        var id: Int64
        /// Seconds.
        var ttl: Int64

        func run(at desk: Desk) async throws(APIError) -> Answered<Lease> {
            let (lease, applied) = try await desk.ask { member throws(ServerError) in
                try await member.grantLease(id: id, ttl: ttl)
            }
            return Answered(header: desk.header(applied), body: lease)
        }

        func begin(at desk: Desk, _ done: @escaping @Sendable (Result<Answered<Lease>, APIError>) -> Void) -> Bool {
            desk.member.grantLease(id: id, ttl: ttl) { outcome in
                switch outcome {
                case .success((let lease, let applied)):
                    done(.success(Answered(header: desk.header(applied), body: lease)))
                case .failure(let error): done(.failure(APIError(error)))
                }
            }
        }
    }

    struct Revoke: Operation {
        var id: Int64

        func run(at desk: Desk) async throws(APIError) -> Answered<Void> {
            let applied = try await desk.ask { member throws(ServerError) in try await member.revokeLease(id) }
            return Answered(header: desk.header(applied), body: ())
        }
    }

    struct Renewed: Sendable {
        var id: Int64
        /// 0 when there is no such lease.
        var ttl: Int64
    }

    /// Renewals that come together share what one costs.
    struct KeepAlive: Operation {
        var ids: [Int64]
        /// Of one operation.
        static let idsMax = 1000

        func run(at desk: Desk) async throws(APIError) -> [Answered<Renewed>] {
            let renewed = try await desk.ask { member throws(ServerError) in try await member.renewLeases(Set(ids)) }
            return ids.map { id in desk.answered(Renewed(id: id, ttl: renewed[id] ?? 0)) }
        }
    }

    struct Time: Sendable {
        var id: Int64
        /// Seconds; -1 when there is no such lease.
        var left: Int64
        var granted: Int64
        var keys: [[UInt8]]
    }

    struct TimeToLive: Operation {
        var id: Int64
        var withKeys: Bool

        func run(at desk: Desk) async throws(APIError) -> Answered<Time> {
            let time = try await desk.ask { member throws(ServerError) in
                try await member.leaseTime(id, withKeys: withKeys)
            }
            return desk.answered(
                Time(id: id, left: time?.left ?? -1, granted: time?.granted ?? 0, keys: time?.keys ?? []))
        }
    }

    struct List: Operation {
        func run(at desk: Desk) async throws(APIError) -> Answered<[Int64]> {
            desk.answered(try await desk.ask { member throws(ServerError) in try await member.leaseIDs() })
        }
    }
}
