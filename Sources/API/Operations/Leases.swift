internal import Access
internal import MVCC
internal import Replication
internal import Server

/// etcd's Lease service.
enum Leases {
    struct Grant: LoopOperation {
        static var right: Right<Self> { .caller }

        /// 0 lets the member choose.
        var id: Int64
        /// Seconds.
        var ttl: Int64

        func run(at desk: Desk) async throws(APIError) -> Answered<Lease> {
            let (lease, applied) = try await desk.ask { member throws(ServerError) in
                try await member.grantLease(id: id, ttl: ttl, by: desk.author)
            }
            return Answered(header: desk.header(applied), body: lease)
        }

        func begin(at desk: Desk, _ done: @escaping @Sendable (Result<Answered<Lease>, APIError>) -> Void) -> Bool {
            desk.member.grantLease(id: id, ttl: ttl, by: desk.author) { outcome in
                switch outcome {
                case .success((let lease, let applied)):
                    done(.success(Answered(header: desk.header(applied), body: lease)))
                case .failure(let error): done(.failure(APIError(error)))
                }
            }
        }
    }

    struct Revoke: Operation {
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in try claim.expectWriting(asked.id) }
        }

        var id: Int64

        func run(at desk: Desk) async throws(APIError) -> Answered<Void> {
            let applied = try await desk.ask { member throws(ServerError) in
                try await member.revokeLease(id, by: desk.author)
            }
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
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                for id in asked.ids { try claim.expectWriting(id) }
            }
        }

        var ids: [Int64]
        /// Of one operation.
        static let idsMax = 1000

        func run(at desk: Desk) async throws(APIError) -> [Answered<Renewed>] {
            let renewed = try await desk.ask { member throws(ServerError) in
                try await member.renewLeases(Set(ids), by: desk.author)
            }
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
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                try claim.expectCaller()
                if asked.withKeys { try claim.authorizer.expectReadingKeys(of: asked.id) }
            }
        }

        var id: Int64
        var withKeys: Bool

        var isRead: Bool { withKeys }

        func run(at desk: Desk) async throws(APIError) -> Answered<Time> {
            let time = try await desk.ask { member throws(ServerError) in
                try await member.leaseTime(id, withKeys: withKeys)
            }
            // A key may have come to it since the right was looked at.
            try desk.expectReading(time?.keys ?? [])
            return desk.answered(
                Time(id: id, left: time?.left ?? -1, granted: time?.granted ?? 0, keys: time?.keys ?? []), time?.hold)
        }
    }

    struct List: Operation {
        static var right: Right<Self> {
            Right { _, claim throws(AccessRefusal) in
                try claim.expectCaller()
                try claim.authorizer.expectReadingKeysOfAllLeases()
            }
        }

        var isRead: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> Answered<[Int64]> {
            let (ids, hold) = try await desk.ask { member throws(ServerError) in try await member.leaseIDs() }
            _ = try await desk.authorize(self)
            return desk.answered(ids, hold)
        }
    }
}
