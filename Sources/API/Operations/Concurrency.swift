internal import MVCC
internal import Replication
internal import Server

/// Locks and elections over keys with leases, as etcd's Lock and Election services make them: whoever of a name has the
/// oldest key holds it. The key's create revision is the holder's fencing token: it only ever grows.
struct Concurrency: Sendable {
    /// A claim to a name: `revision` is the create revision of `key`.
    struct Claim: Sendable {
        var key: [UInt8]
        var revision: Int64
        var lease: Int64
        /// The revision of the last write of it by whoever asked for it.
        var written: Int64 = 0
    }

    let desk: Desk
    /// Of a lock that was asked for without a lease, as with etcd.
    private static let ownTTL: Int64 = 60

    private static func prefix(_ name: [UInt8]) -> [UInt8] { name + [UInt8(ascii: "/")] }

    // MARK: - Claims

    /// Takes `name`, waiting in order for those who came before. A caller that goes away while it waits leaves nothing.
    func claim(_ name: [UInt8], lease: Int64, value: [UInt8]) async throws(APIError) -> Answered<Claim> {
        let lease = lease != 0 ? lease : try await grant()
        let key = Self.prefix(name) + Array(String(UInt64(bitPattern: lease), radix: 16).utf8)
        var (claim, isNew) = try await enter(key, lease: lease, value: value)
        // One that was here before and need not wait is its owner's, whoever goes away now.
        var isOwn = isNew
        do throws(APIError) {
            if !isNew, try await mustWait(claim, of: name) {
                // Asked for again, perhaps because the first answer was lost. It is written anew: from now on the claim is this
                // caller's, and the one before, when it finds that its client is gone, takes nothing back.
                claim = try await rewrite(claim, value: value)
                isOwn = true
            }
            try await awaitTurn(claim, of: name)
            // While it waited the lease may have ended.
            let found = try await read(RangeRequest(range: KeyRange(start: key, end: .single)))
            guard let own = found.body.pairs.first, own.createRevision == claim.revision else {
                throw Self.sessionExpired
            }
            guard !Task.isCancelled else { throw APIError.cancelled }
            return Answered(header: found.header, body: claim)
        } catch {
            if isOwn { await withdraw(claim) }
            throw error
        }
    }

    private static let sessionExpired = APIError(.unknown, "mutex: session is expired")

    private func grant() async throws(APIError) -> Int64 {
        try await desk.carryOut(Leases.Grant(id: 0, ttl: Self.ownTTL)).body.id
    }

    private func enter(
        _ key: [UInt8], lease: Int64, value: [UInt8]
    ) async throws(APIError) -> (Claim, isNew: Bool) {
        let range = KeyRange(start: key, end: .single)
        var put = PutRequest(key: key, value: value)
        put.lease = lease
        let txn = TxnRequest(
            compares: [Compare(range: range, relation: .equal, operand: .create(0))], success: [.put(put)],
            failure: [.range(RangeRequest(range: range))])
        let entered = try await desk.carryOut(KV.Txn(request: txn))
        var claim = Claim(key: key, revision: entered.header.revision, lease: lease, written: entered.header.revision)
        if case .range(let found)? = entered.body.responses.last, let own = found.pairs.first {
            claim.revision = own.createRevision
            claim.written = own.modRevision
            // Another value is proclaimed; the same is not written again.
            if own.value != value { claim = try await rewrite(claim, value: value) }
        }
        return (claim, entered.body.succeeded)
    }

    private func rewrite(_ claim: Claim, value: [UInt8]) async throws(APIError) -> Claim {
        var claim = claim
        claim.written = try await proclaim(claim, value: value).revision
        return claim
    }

    /// The newest of those that came before `claim`, and the revision as of which.
    private func predecessor(of claim: Claim, _ name: [UInt8]) async throws(APIError) -> (
        key: [UInt8]?, revision: Int64
    ) {
        var request = RangeRequest(range: KeyRange(prefix: Self.prefix(name)))
        request.sortTarget = .create
        request.sortOrder = .descend
        request.maxCreateRevision = claim.revision - 1
        request.limit = 1
        let found = try await read(request)
        return (found.body.pairs.first?.key, found.header.revision)
    }

    private func mustWait(_ claim: Claim, of name: [UInt8]) async throws(APIError) -> Bool {
        try await predecessor(of: claim, name).key != nil
    }

    /// Waits until nobody before `claim` is left.
    private func awaitTurn(_ claim: Claim, of name: [UInt8]) async throws(APIError) {
        while case (let before?, let revision) = try await predecessor(of: claim, name) {
            try await awaitDeletion(of: before, after: revision)
        }
    }

    private func awaitDeletion(of key: [UInt8], after revision: Int64) async throws(APIError) {
        var request = WatchRequest(range: KeyRange(start: key, end: .single))
        request.startRevision = revision + 1
        request.withoutPuts = true
        try await follow(request) { changes in !changes.isEmpty }
    }

    /// Watches until `isEnough` says so of some changes.
    private func follow(
        _ request: WatchRequest, until isEnough: ([KeyValue]) async throws(APIError) -> Bool
    ) async throws(APIError) {
        let session = try await desk.carryOut(Watches.Open(isAfterRead: true))
        try await session.watch(request)
        while true {
            let outputs = try await session.outputs()
            guard !Task.isCancelled else { throw APIError.cancelled }
            for output in outputs {
                switch output {
                case .changes(_, let batch, _, _): if try await isEnough(batch.changes) { return }
                case .canceled: return
                case .refused(let reason, _): throw APIError(.unknown, reason)
                case .created, .progress: break
                }
            }
        }
    }

    /// Takes a claim back, also when the caller's task is cancelled already.
    private func withdraw(_ claim: Claim) async {
        var deletion = Self.deletion(of: claim)
        let range = KeyRange(start: claim.key, end: .single)
        deletion.compares.append(Compare(range: range, relation: .equal, operand: .mod(claim.written)))
        _ = try? await desk.carryOut(KV.Txn(request: deletion))
    }

    private static func deletion(of claim: Claim) -> TxnRequest {
        let range = KeyRange(start: claim.key, end: .single)
        return TxnRequest(
            compares: [Compare(range: range, relation: .equal, operand: .create(claim.revision))],
            success: [.deleteRange(DeleteRangeRequest(range: range))])
    }

    // MARK: - Locks

    func unlock(_ key: [UInt8]) async throws(APIError) -> ResponseHeader {
        let range = KeyRange(start: key, end: .single)
        return try await desk.carryOut(KV.DeleteRange(request: DeleteRangeRequest(range: range))).header
    }

    // MARK: - Elections

    /// Sets the value of an election that is won.
    func proclaim(_ claim: Claim, value: [UInt8]) async throws(APIError) -> ResponseHeader {
        var put = PutRequest(key: claim.key, value: value)
        put.lease = claim.lease
        let range = KeyRange(start: claim.key, end: .single)
        let txn = TxnRequest(
            compares: [Compare(range: range, relation: .equal, operand: .create(claim.revision))],
            success: [.put(put)])
        let proclaimed = try await desk.carryOut(KV.Txn(request: txn))
        guard proclaimed.body.succeeded else { throw APIError(.unknown, "election: not leader") }
        return proclaimed.header
    }

    func resign(_ claim: Claim) async throws(APIError) -> ResponseHeader {
        try await desk.carryOut(KV.Txn(request: Self.deletion(of: claim))).header
    }

    /// The pair of who leads.
    func leader(_ name: [UInt8]) async throws(APIError) -> Answered<KeyValue> {
        let found = try await oldest(name)
        guard let pair = found.body.pairs.first else { throw APIError(.unknown, "election: no leader") }
        return Answered(header: found.header, body: pair, hold: found.body.hold)
    }

    /// Calls `body` with each leader, and each value that one proclaims, until it throws.
    func observe(
        _ name: [UInt8], _ body: (Answered<KeyValue>) async throws(APIError) -> Void
    ) async throws(APIError) {
        var said: KeyValue?
        while true {
            let found = try await oldest(name)
            if let pair = found.body.pairs.first, pair != said {
                said = pair
                try await body(Answered(header: found.header, body: pair, hold: found.body.hold))
            }
            var request = WatchRequest(range: KeyRange(prefix: Self.prefix(name)))
            request.startRevision = found.header.revision + 1
            try await follow(request) { changes in !changes.isEmpty }
        }
    }

    private func oldest(_ name: [UInt8]) async throws(APIError) -> Answered<RangeResult> {
        var request = RangeRequest(range: KeyRange(prefix: Self.prefix(name)))
        request.sortTarget = .create
        request.sortOrder = .ascend
        request.limit = 1
        return try await read(request)
    }

    private func read(_ request: RangeRequest) async throws(APIError) -> Answered<RangeResult> {
        try await desk.carryOut(KV.Range(request: request))
    }
}
