internal import Access
internal import Bytes
internal import MVCC
internal import Replication
internal import Server

/// etcd's Watch service.
enum Watches {
    /// Opens a stream for any number of watches.
    struct Open: Operation {
        /// Each of its watches is looked at when it is asked for.
        static var right: Right<Self> { .ofItsParts }

        /// It ends, or is not begun, while there is no leader.
        var requiresLeader = false
        /// It follows a linearizable read: what was acknowledged before is here.
        var isAfterRead = false

        func run(at desk: Desk) async throws(APIError) -> WatchSession {
            if !isAfterRead {
                try await desk.ask { member throws(ServerError) in try member.expectCaughtUp() }
            }
            if requiresLeader, !desk.member.hasLeaderLately { throw APIError(WatchEnd.noLeader) }
            return WatchSession(desk, WatchStream(requiresLeader: requiresLeader))
        }
    }

    struct Compacted: Error {
        var compactRevision: Int64
    }

    /// Asks for one watch: looked at then, and never again. Its session has heard of everything.
    struct Create: Operation {
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                try claim.authorizer.expect(.read, of: asked.range)
            }
        }

        var range: KeyRange

        func run(at desk: Desk) async throws(APIError) {}
    }

    /// Opens a stream for a watch that begins with a revision; 0 begins with what comes next.
    struct OpenFrom: Operation {
        static var right: Right<Self> {
            Right(hearing: .whereRightsCount) { asked, claim throws(AccessRefusal) in
                try claim.authorizer.expect(.read, of: asked.range)
            }
        }

        var range: KeyRange
        var revision: Int64

        func run(at desk: Desk) async throws(APIError) -> Result<WatchSession, Compacted> {
            // What another member was told to compact is compacted here, too.
            if revision > 0, desk.member.status.leader != nil { try? await desk.member.confirmCurrent() }
            let compactRevision = desk.member.compactRevision
            guard revision == 0 || revision >= compactRevision else {
                return .failure(Compacted(compactRevision: compactRevision))
            }
            return .success(try await Open().run(at: desk))
        }
    }
}

/// A change as watchers are told of it.
struct WatchEvent: Sendable {
    var change: KeyValue
    var previous: KeyValue?
}

/// What one watch is told.
struct WatchAnswer: Sendable {
    var header: ResponseHeader
    /// -1 of a watch that was refused.
    var id: Int64
    var isCreated = false
    var isCanceled = false
    var cancelReason = ""
    var compactRevision: Int64 = 0
    /// More of the same revision follows.
    var isFragment = false
    var events: [WatchEvent] = []
}

/// The watches of a stream. They end when it is let go of.
final class WatchSession: Sendable {
    private let desk: Desk
    private let stream: WatchStream
    /// It began when nobody's rights counted, as far as this member knew: it ends when they do.
    private let isOpenToAll: Bool
    /// If users counted then, and what the caller's certificate let it in as.
    private let began: (usersCount: Bool, standing: Standing)
    private var member: RunningMember { desk.member }

    /// etcd's `maxRequestBytes` with what surrounds it: larger answers are split where the client allows it.
    static let fragmentBytes = 1_572_864

    fileprivate init(_ desk: Desk, _ stream: WatchStream) {
        self.desk = desk
        self.stream = stream
        isOpenToAll = !desk.member.isGuarded
        began = (desk.member.access.isEnabled, desk.certified)
    }

    deinit { desk.member.close(stream) }

    // MARK: - Asking

    /// Waits until there is room for the answer to one more request.
    func awaitTurn() async { await stream.beginRequest() }

    func watch(_ request: WatchRequest) async throws(APIError) {
        try await hear()
        try await create(request)
    }

    /// Hears of all that was acknowledged before, where users count: a right that was taken is not known to a member that was cut off.
    /// Without a leader the stream ends, and its client comes again.
    func hear() async throws(APIError) {
        guard member.isGuarded else { return }
        try await desk.ask { member throws(ServerError) in try await member.confirmCurrentDespiteAlarms() }
    }

    /// Begins a watch of a session that has heard.
    func create(_ request: WatchRequest) async throws(APIError) {
        var request = request
        // Users do not count any more: a session of now ends if they come to count again.
        guard isOpenToAll || member.isGuarded else { throw Self.changed }
        do throws(APIError) {
            try await desk.carryOut(Watches.Create(range: request.range))
        } catch {
            request.refusal = error.grpcText
        }
        do throws(ServerError) { member.watch(try member.held(request), on: stream) } catch { throw APIError(error) }
    }

    func cancel(_ id: Int64) { member.cancelWatch(id, on: stream) }
    func askProgress() { member.askProgress(of: stream) }
    /// Has `outputs` say that it is over.
    func close() { stream.close() }

    // MARK: - Answers

    /// Everything there is to say, waiting for something; empty when it is over.
    func outputs() async throws(APIError) -> [WatchOutput] {
        let outputs: [WatchOutput]
        do throws(WatchEnd) { outputs = try await member.outputs(of: stream) } catch { throw APIError(error) }
        if let end {
            stream.close()
            throw end
        }
        return outputs
    }

    /// Why it ends, if it does: what let the caller in has changed since it began.
    private var end: APIError? {
        guard member.isGuarded else { return nil }
        let (access, standing) = (member.access, desk.certified)
        if isOpenToAll || access.trust.isThere && access.isEnabled != began.usersCount { return Self.changed }
        if standing.isLike(began.standing) { return nil }
        return standing == .stranger ? APIError(AccessRefusal.noCertificate) : Self.changed
    }

    private static let changed = APIError(
        .unavailable, "weft: whether users and roles count has changed: watch again, with a token if they do")

    /// What an output takes of the memory budget until it is sent. See `RunningMember.hold`.
    func hold(
        for output: WatchOutput, _ awaitRoom: () async throws(CancellationError) -> Void
    ) async throws(APIError) -> MemoryHold? {
        do throws(CancellationError) { return try await member.hold(for: output, awaitRoom) } catch {
            throw APIError.cancelled
        }
    }

    /// The store's revision.
    var revision: Int64 { member.revision }

    func header(revision: Int64) -> ResponseHeader { desk.header(revision: revision, term: member.status.term) }

    /// What a client is told for an output: several parts where that is allowed.
    func answers(to output: WatchOutput) async throws(APIError) -> [WatchAnswer] {
        switch output {
        case .created(let id, let revision):
            return [WatchAnswer(header: header(revision: revision), id: id, isCreated: true)]
        case .refused(let reason, let revision):
            return [
                WatchAnswer(
                    header: header(revision: revision), id: -1, isCreated: true, isCanceled: true, cancelReason: reason)
            ]
        case .progress(let id, let revision): return [WatchAnswer(header: header(revision: revision), id: id)]
        case .canceled(let id, let revision, let compactRevision):
            return [
                WatchAnswer(
                    header: header(revision: revision), id: id, isCanceled: true, compactRevision: compactRevision)
            ]
        case .changes(let id, let batch, let revision, let form):
            let parts = try await parts(of: batch.changes, form)
            return parts.enumerated().map { number, events in
                WatchAnswer(
                    header: header(revision: revision), id: id, isFragment: number < parts.count - 1, events: events)
            }
        }
    }

    /// With what was before where that is wanted.
    private func parts(of changes: [KeyValue], _ form: WatchForm) async throws(APIError) -> [[WatchEvent]] {
        var events = changes.map { WatchEvent(change: $0) }
        if form.wantsPrevious {
            let previous = try await desk.ask { member throws(ServerError) in try await member.previous(of: changes) }
            for (place, pair) in previous.enumerated() { events[place].previous = pair }
        }
        guard form.mayFragment else { return [events] }
        var parts: [[WatchEvent]] = [[]]
        var bytes = 0
        for event in events {
            let size = event.change.key.count + event.change.value.count + (event.previous?.value.count ?? 0) + 64
            if bytes > 0, bytes + size > Self.fragmentBytes {
                parts.append([])
                bytes = 0
            }
            parts[parts.count - 1].append(event)
            bytes += size
        }
        return parts
    }
}

extension KeyRange {
    /// As a watch says it: without a key it is the smallest one.
    init(watched key: [UInt8], rangeEnd: [UInt8]) {
        self.init(key: key.isEmpty ? [0] : key, rangeEnd: rangeEnd)
    }
}
