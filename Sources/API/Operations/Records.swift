internal import Access
internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
internal import Schedules
internal import Server

/// The records of the storage cluster: domains, nodes, volumes and events.
enum Records {
    struct Read: Operation {
        static var right: Right<Self> { .observe }
        var tellsWhatIs: Bool { true }

        /// From what is applied here, without asking anybody.
        var serializable = false

        func run(at desk: Desk) async throws(APIError) -> FabricState {
            try await desk.ask { member throws(ServerError) in try await member.fabric(serializable: serializable) }
        }
    }

    /// In whose name something is changed, and what is expected of the record.
    struct Terms: Sendable {
        var by: String
        var reason = ""
        /// A revision, 0 for none, nil for any.
        var expected: Int64?
    }

    struct Changed: Sendable {
        var answer: FabricAnswer
        /// The records after it.
        var fabric: FabricState
    }

    /// What the records say to a change: that is an answer, too.
    typealias Outcome = Result<Changed, FabricRefusal>

    struct Change: Operation {
        static var right: Right<Self> {
            Right(hearing: .always) { asked, claim throws(AccessRefusal) in
                try claim.expect(asked.action.use(of: claim.fabric))
            }
        }

        var action: FabricCommand.Action
        var terms: Terms

        func run(at desk: Desk) async throws(APIError) -> Outcome {
            try await desk.outcome { member throws(ServerError) in
                try await member.change(
                    action, by: desk.name(orClaimed: terms.by), reason: terms.reason, expected: terms.expected)
            }
        }
    }

    struct Register: Operation {
        static var right: Right<Self> {
            Right(hearing: .always) { asked, claim throws(AccessRefusal) in
                try claim.expect(.act(node: asked.node.name))
            }
        }

        var node: NodeSpec
        var terms: Terms

        func run(at desk: Desk) async throws(APIError) -> Outcome {
            try await desk.outcome { member throws(ServerError) in
                try await member.register(node, by: desk.name(orClaimed: terms.by), expected: terms.expected)
            }
        }
    }

    struct Heartbeat: Operation {
        static var right: Right<Self> {
            Right(hearing: .always) { asked, claim throws(AccessRefusal) in try claim.expect(.act(node: asked.node)) }
        }

        var node: String

        /// For how many seconds the node is online now.
        func run(at desk: Desk) async throws(APIError) -> Result<Int64, FabricRefusal> {
            let answer = try await desk.refusable { member throws(ServerError) in try await member.heartbeat(of: node) }
            return answer.flatMap { seconds in
                guard let seconds else {
                    return .failure(.conflict("node \"\(node)\" is offline: register it again"))
                }
                return .success(seconds)
            }
        }
    }

    /// Makes or changes a schedule policy; its time zone has to be known here.
    struct PutPolicy: Operation {
        static var right: Right<Self> { .operate }

        var name: String
        var policy: PolicyTerms
        var terms: Terms

        func run(at desk: Desk) async throws(APIError) -> Outcome {
            do throws(ZoneError) { _ = try ZoneFiles.zone(policy.timeZone) } catch {
                return .failure(.invalid(error.description))
            }
            return try await Change(action: .putPolicy(name, policy), terms: terms).run(at: desk)
        }
    }

    /// What a policy has come due next.
    struct PreviewPolicy: Operation {
        static var right: Right<Self> { .observe }
        static let countMax = 100
        private static let afterMax: Int64 = 32_503_680_000_000

        var name: String
        var count: Int
        /// Milliseconds since 1970; nil is now.
        var after: Int64?

        struct Due: Sendable {
            /// Milliseconds since 1970.
            var at: Int64
            /// What the zone's clocks are ahead of UTC by then, in seconds.
            var offset: Int
        }

        /// Nil when there is no such policy.
        func run(at desk: Desk) async throws(APIError) -> (policy: SchedulePolicy, dues: [Due])? {
            let start = after ?? millisecondsSince1970()
            guard (1...Self.countMax).contains(count), (0...Self.afterMax).contains(start) else {
                throw APIError(
                    .invalidArgument,
                    "count is 1 to \(Self.countMax), and after milliseconds from 1970 to the year 3000")
            }
            guard let policy = try await Read().run(at: desk).policy(name) else { return nil }
            let zone: Zone
            do throws(ZoneError) { zone = try ZoneFiles.zone(policy.terms.timeZone) } catch {
                throw APIError(.failedPrecondition, error.description)
            }
            var (dues, last) = ([Due](), start)
            for _ in 0..<count {
                last = policy.terms.recurrence.next(after: last, in: zone)
                dues.append(Due(at: last, offset: zone.offset(at: last / 1000)))
            }
            return (policy, dues)
        }
    }

    struct SetDomain: Operation {
        static var right: Right<Self> { .operate }

        var name: String
        var isActive: Bool
        /// Also when that costs volumes.
        var force = false
        var terms: Terms

        func run(at desk: Desk) async throws(APIError) -> Outcome {
            try await desk.outcome { member throws(ServerError) in
                try await member.setDomain(
                    name, isActive: isActive, force: force, by: desk.name(orClaimed: terms.by), reason: terms.reason,
                    expected: terms.expected)
            }
        }
    }

    struct RemoveDomain: Operation {
        static var right: Right<Self> { .operate }

        var name: String
        var terms: Terms

        func run(at desk: Desk) async throws(APIError) -> Outcome {
            let members = desk.member.status.configuration.members.count { $0.domain == name }
            guard members == 0 else {
                return .failure(.conflict("\(members) members of the fabric belong to domain \"\(name)\""))
            }
            return try await Change(action: .removeDomain(name), terms: terms).run(at: desk)
        }
    }

    /// Changes as they happen.
    struct Watch: Operation {
        static var right: Right<Self> { .observe }
        var tellsWhatIs: Bool { true }

        /// What the client knows already; nil begins with what comes next.
        var after: Int64?

        func run(at desk: Desk) async throws(APIError) -> RecordFeed {
            let start = try await current(desk)
            if let after, after > start { return .toCome(after) }
            guard desk.member.fabricFeed.reaches(back: after ?? start) else { return .forgotten(after ?? start) }
            return .changes(RecordChanges(desk: desk, start: after ?? start))
        }

        /// The revision of the records here; asks for all that others have when the client knows more, or nothing.
        private func current(_ desk: Desk) async throws(APIError) -> Int64 {
            let applied = desk.member.appliedFabric.revision
            if let after, after <= applied { return applied }
            return try await Read().run(at: desk).revision
        }
    }

    enum RecordFeed: Sendable {
        case changes(RecordChanges)
        /// There is no such revision yet.
        case toCome(Int64)
        /// What came after this revision is not kept any more.
        case forgotten(Int64)
    }

    struct RecordChanges: Sendable {
        fileprivate let desk: Desk
        let start: Int64

        fileprivate init(desk: Desk, start: Int64) {
            self.desk = desk
            self.start = start
        }

        /// The records as they are now.
        var fabric: FabricState { desk.member.appliedFabric }

        /// What came after `revision`, waiting for something, and the revision now; nil when it is not kept any more, or the task
        /// is cancelled.
        func next(after revision: Int64) async -> (changes: [FabricChange], revision: Int64)? {
            let found = await desk.member.fabricFeed.changes(after: revision)
            // Who may look no more hears no more.
            do throws(APIError) { _ = try await desk.authorize(Records.Watch()) } catch { return nil }
            return found
        }
    }
}

extension FabricCommand.Action {
    /// Nodes report on their own replicas and attach what they serve; everything else is for those who run the fabric.
    fileprivate func use(of fabric: FabricState) -> FabricUse {
        switch self {
        case .attach(_, let node, force: false), .report(_, let node, _, _): return .act(node: node)
        case .detach(let volume, _):
            guard let node = fabric.volume(volume)?.attachment?.node else { return .operate }
            return .act(node: node)
        default: return .operate
        }
    }
}

extension Desk {
    fileprivate func refusable<T: Sendable>(
        _ body: (RunningMember) async throws(ServerError) -> T
    ) async throws(APIError) -> Result<T, FabricRefusal> {
        do throws(ServerError) {
            return .success(try await body(member))
        } catch .refused(.fabric(let refusal)) {
            return .failure(refusal)
        } catch {
            throw APIError(error)
        }
    }

    fileprivate func outcome(
        _ body: (RunningMember) async throws(ServerError) -> (FabricAnswer, FabricState)
    ) async throws(APIError) -> Records.Outcome {
        try await refusable(body).map { Records.Changed(answer: $0.0, fabric: $0.1) }
    }
}
