internal import Certificates
package import Fabric
package import Server

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
                !pair.isSuspended && age(of: pair.news.at) >= Self.greetingAge
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
        let silence = min(age(of: pair.news.at), age(of: pair.since))
        switch await PairDialer(of: member).greet(pair) {
        case .success((let greeting, let skew)): note = PairNote(pair, greeting, skew: skew, heardBy: member)
        case .failure(.unreachable(let reason)):
            // It may come by itself, or have been there a moment ago.
            guard silence >= Self.silenceMax else { return }
            note = PairNote(pair, .unreachable, reason: reason)
        case .failure(let error):
            guard silence >= Self.refusalAge else { return }
            note = PairNote(pair, .degraded, reason: error.text)
        }
        guard note.isNews(of: pair) else { return }
        // Without a leader: later.
        try? await member.note(note)
    }
}

extension PairKeeper {
    /// Milliseconds since then. What is to come was written by a clock that was wrong, and is old.
    private func age(of time: Int64) -> Int64 {
        let now = member.wallMilliseconds
        return time > now ? .max : now - time
    }
}

extension PairNote {
    /// The other side has said this.
    package init(_ pair: ClusterPair, _ greeting: PairGreeting, skew: Int64, heardBy member: RunningMember) {
        var news = PairNews()
        news.at = member.wallMilliseconds
        news.skew = min(max(skew, PairNews.times.lowerBound), PairNews.times.upperBound)
        (news.release, news.version, news.revision) = (greeting.release, greeting.version, greeting.revision)
        news.believed = greeting.believed
        self.init(pair, .ready, news: news)
        endpoints = greeting.endpoints
        authorities = member.believable(greeting.authorities, greeting.bridges, of: pair).map(\.der)
    }

    fileprivate func isNews(of pair: ClusterPair) -> Bool {
        news != nil || contact != pair.contact || reason != pair.reason
    }
}
