internal import Access
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// etcd's KV service.
enum KV {
    struct Range: Operation {
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in try claim.authorizer.expect(asked.request) }
        }

        var request: RangeRequest

        var isRead: Bool { true }
        func check(_ limits: RequestLimits) throws(MVCCError) { try limits.check(request) }

        func run(at desk: Desk) async throws(APIError) -> Answered<RangeResult> {
            let (result, term) = try await desk.ask { member throws(ServerError) in try await member.range(request) }
            return Answered(header: desk.header(revision: result.revision, term: term), body: result)
        }
    }

    /// The same for a codec that sends an answer bit by bit: a large one never is in memory as a whole.
    struct LargeRange: Operation {
        enum Found: Sendable {
            case whole(Answered<RangeResult>)
            case portions(RangePortions)
        }

        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in try claim.authorizer.expect(asked.request) }
        }

        var request: RangeRequest
        /// A larger answer comes in portions.
        private static let wholeBytesMax = 8 << 20

        var isRead: Bool { true }
        func check(_ limits: RequestLimits) throws(MVCCError) { try limits.check(request) }

        func run(at desk: Desk) async throws(APIError) -> Found {
            guard request.isPlain else { return .whole(try await Range(request: request).run(at: desk)) }
            let whole = try await desk.ask { member throws(ServerError) -> (RangeResult, term: Term)? in
                do throws(ServerError) {
                    return try await member.range(request, bytesMax: Self.wholeBytesMax)
                } catch .refused(.answerTooLarge) {
                    return nil
                }
            }
            if let (result, term) = whole {
                return .whole(Answered(header: desk.header(revision: result.revision, term: term), body: result))
            }
            let now = try await desk.ask { member throws(ServerError) in
                try await member.current(serializable: request.serializable)
            }
            return .portions(
                RangePortions(desk: desk, request: request, header: desk.header(revision: now.revision, term: now.term))
            )
        }
    }

    struct Put: CommandOperation {
        typealias Answer = Answered<KeyValue?>

        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in try claim.authorizer.expect(asked.request) }
        }

        var request: PutRequest

        var command: Command? { .put(request) }
        func check(_ limits: RequestLimits) throws(MVCCError) { try limits.check(request) }
        static func counter(_ metrics: Metrics) -> Counter? { metrics.puts }

        /// The pair before, if it was asked for and there was one.
        static func answer(_ applied: Applied, _ header: ResponseHeader) -> Answered<KeyValue?> {
            guard case .put(let previous) = applied.result else { preconditionFailure("a put without its result") }
            return Answered(header: header, body: previous, hold: applied.hold)
        }
    }

    struct Deletion: Sendable {
        var count: Int64
        /// If they were asked for.
        var previous: [KeyValue]
    }

    struct DeleteRange: CommandOperation {
        typealias Answer = Answered<Deletion>

        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in try claim.authorizer.expect(asked.request) }
        }

        var request: DeleteRangeRequest

        var command: Command? { .deleteRange(request) }
        func check(_ limits: RequestLimits) throws(MVCCError) { try limits.check(request) }
        static func counter(_ metrics: Metrics) -> Counter? { metrics.deletes }

        static func answer(_ applied: Applied, _ header: ResponseHeader) -> Answered<Deletion> {
            guard case .deleteRange(let count, let previous) = applied.result else {
                preconditionFailure("a deletion without its result")
            }
            return Answered(header: header, body: Deletion(count: count, previous: previous), hold: applied.hold)
        }
    }

    struct Txn: CommandOperation {
        typealias Answer = Answered<TxnResult>

        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                // As in etcd anybody may ask for nothing; not where certificates say who is anybody.
                if !claim.access.isEnabled { try claim.expectCaller() }
                try claim.authorizer.expect(asked.request)
            }
        }

        var request: TxnRequest

        var isRead: Bool { request.isReadOnly }
        var command: Command? { request.isReadOnly ? nil : .txn(request) }
        func check(_ limits: RequestLimits) throws(MVCCError) { try limits.check(request) }
        static func counter(_ metrics: Metrics) -> Counter? { metrics.txns }

        func read(_ member: RunningMember) async throws(ServerError) -> Applied { try await member.readTxn(request).1 }

        static func answer(_ applied: Applied, _ header: ResponseHeader) -> Answered<TxnResult> {
            guard case .txn(let result) = applied.result else { preconditionFailure("a txn without its result") }
            return Answered(header: header, body: result, hold: applied.hold)
        }
    }

    struct Compact: CommandOperation {
        typealias Answer = Answered<Void>

        static var right: Right<Self> { .root }

        var revision: Int64

        var command: Command? { .compact(revision: revision) }
        static func answer(_ applied: Applied, _ header: ResponseHeader) -> Answered<Void> {
            Answered(header: header, body: ())
        }
    }
}

/// A range whose answer is too large to be in memory at once: all its keys in their order, as of one revision.
struct RangePortions: Sendable {
    fileprivate let desk: Desk
    let request: RangeRequest
    let header: ResponseHeader

    fileprivate init(desk: Desk, request: RangeRequest, header: ResponseHeader) {
        self.desk = desk
        self.request = request
        self.header = header
    }

    func forEach(withValues: Bool, _ body: (View.Portion) async throws(APIError) -> Void) async throws(APIError) {
        let revision = request.revision > 0 ? request.revision : header.revision
        var range = request.range
        while true {
            let asked = range
            let portion = try await desk.ask { member throws(ServerError) in
                try await member.portion(of: asked, at: revision, withValues: withValues)
            }
            _ = try await desk.authorize(KV.LargeRange(request: request))
            try await body(portion)
            guard let next = portion.next else { return }
            range.start = next
        }
    }
}

extension RangeRequest {
    /// If its answer is all keys of a range in their own order.
    fileprivate var isPlain: Bool {
        limit <= 0 && !countOnly && sortTarget == .key && sortOrder != .descend && minModRevision == 0
            && maxModRevision == 0 && minCreateRevision == 0 && maxCreateRevision == 0
    }
}
