internal import MVCC
internal import Replication
internal import Server

/// A change as watchers are told of it.
struct WatchEvent: Sendable {
    var change: KeyValue
    var previous: KeyValue?
}

extension RunningMember {
    /// etcd's `maxRequestBytes` with what surrounds it: larger answers are split for those who can bear it.
    static let fragmentBytes = 1_572_864

    /// - Parameter requiresLeader: it ends, or is not begun, while there is no leader.
    func makeWatchStream(requiresLeader: Bool) throws(APIError) -> WatchStream {
        do throws(ServerError) { try expectCaughtUp() } catch { throw APIError(error) }
        if requiresLeader, !hasLeaderLately { throw APIError(WatchEnd.noLeader) }
        return WatchStream(requiresLeader: requiresLeader)
    }

    /// The events of one answer, with what was before where that is wanted; several parts where that is allowed.
    func parts(of changes: [KeyValue], _ form: WatchForm) async throws(APIError) -> [[WatchEvent]] {
        var events = changes.map { WatchEvent(change: $0) }
        if form.wantsPrevious {
            let previous = try await kv { member throws(ServerError) in try await member.previous(of: changes) }
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

extension APIError {
    init(_ end: WatchEnd) {
        switch end {
        case .stopping: self.init(.unavailable, "etcdserver: server stopped")
        case .noLeader: self.init(.unavailable, "etcdserver: no leader")
        case .witness: self.init(ServerError.witness)
        }
    }
}
