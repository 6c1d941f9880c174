internal import Certificates
package import Fabric
package import Server
package import Replication

/// Keeps the fabric in touch with those that it is paired with.
package struct PairKeeper: Sendable {
    private static let pause = Duration.seconds(1)
    /// Of the last word of the other side, from which on it is greeted again, in milliseconds.
    private static let greetingAge: Int64 = 4_000
    /// From which on it counts as unreachable.
    private static let silenceMax: Int64 = 30_000
    /// From which on a refusal counts: members take up whom to believe one after the other.
    private static let refusalAge: Int64 = 8_000

    private let member: RunningMember

    package init(of member: RunningMember) { self.member = member }

    /// Greets the others as long as this member leads. Returns when the task is cancelled.
    package func run() async {
        var greeted: [String: ContinuousClock.Instant] = [:]
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.pause)
            guard member.leads else { continue }
            let due = member.appliedFabric.pairs.filter { pair in
                !pair.isSuspended && !pair.terms.endpoints.isEmpty
                    && member.wallMilliseconds - pair.news.at >= Self.greetingAge
                    && greeted[pair.name].map { .now - $0 >= .milliseconds(Self.greetingAge) } ?? true
            }
            await withTaskGroup { group in
                for pair in due {
                    greeted[pair.name] = .now
                    group.addTask { await greet(pair) }
                }
            }
        }
    }

    private func greet(_ pair: ClusterPair) async {
        let note: PairNote
        let since = max(pair.news.at, pair.since)
        switch await PairDialer(of: member).greet(pair) {
        case .success((let greeting, let skew)):
            note = PairNote(pair, greeting, skew: skew, at: member.wallMilliseconds)
        case .failure(.unreachable(let reason)):
            // It may come by itself, or have been there a moment ago.
            guard member.wallMilliseconds - since >= Self.silenceMax else { return }
            note = PairNote(pair, .unreachable, reason: reason)
        case .failure(let error):
            guard member.wallMilliseconds - since >= Self.refusalAge else { return }
            note = PairNote(pair, .degraded, reason: error.text)
        }
        guard note.isNews(of: pair) else { return }
        // Without a leader: later.
        try? await member.note(note)
    }
}

extension PairNote {
    /// The other side has said this.
    package init(_ pair: ClusterPair, _ greeting: PairGreeting, skew: Int64, at time: Int64) {
        var news = PairNews()
        (news.at, news.skew) = (time, skew)
        (news.release, news.version, news.revision) = (greeting.release, greeting.version, greeting.revision)
        news.believed = greeting.believed
        self.init(pair, .ready, news: news)
        endpoints = greeting.endpoints
        authorities = greeting.authorities.map(\.der)
    }

    fileprivate func isNews(of pair: ClusterPair) -> Bool {
        news != nil || contact != pair.contact || reason != pair.reason
    }
}

extension RunningMember {
    /// Writes down what was heard of a pair.
    package func note(_ told: PairNote) async throws(ServerError) {
        _ = try await change(.notePair(told), by: name)
    }
}
