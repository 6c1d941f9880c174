internal import Raft
internal import Replication
internal import Server
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// Prints how a join comes along.
final class JoinProgress: Sendable {
    enum Outcome {
        case done, unreached
    }

    private let lastPercent = Mutex<Int>(-10)

    var noteSnapshot: @Sendable (Int, Int) -> Void {
        { [self] received, total in
            let percent = total == 0 ? 100 : received * 100 / total
            let isNews = lastPercent.withLock { last in
                guard percent >= last + 10 || percent == 100 && last != 100 else { return false }
                last = percent
                return true
            }
            if isNews { print("receiving the data: \(percent) % of \(total) bytes") }
        }
    }

    /// Follows the member until it is what it joined as; gives up when the leader does not come.
    func follow(_ member: RunningMember, isNew: Bool, seconds: Int) async -> Outcome {
        var lastSign = monotonicNanoseconds()
        var lastSeen = -1
        var lastIndex: Index = 0
        while true {
            try? await Task.sleep(for: .milliseconds(200))
            let status = member.status
            let role = member.membership[member.id]?.member.role
            switch role {
            case nil:
                let percent = lastPercent.withLock { $0 }
                if status.leader != nil || percent != lastSeen { lastSign = monotonicNanoseconds() }
                lastSeen = percent
                let waited = Int((monotonicNanoseconds() - lastSign) / 1_000_000_000)
                if isNew, waited >= seconds, status.lastIndex == 0 { return .unreached }
            case .voter:
                print("\(member.name) has caught up at entry \(status.applied) and is a voter: the join is done")
                warn(member)
                return .done
            case .witness:
                print("\(member.name) is a witness: it votes and keeps the log, and holds no keys")
                warn(member)
                return .done
            case .learner:
                print(
                    "\(member.name) is a learner, as asked; `weft member promote \(String(member.id, radix: 16))` gives it a vote"
                )
                return .done
            case .joining, .joiningWitness:
                if status.applied >= lastIndex + 1000 || lastIndex == 0 {
                    lastIndex = status.applied
                    print("catching up: entry \(status.applied) of \(max(status.commit, status.lastIndex))")
                }
            }
        }
    }
}

/// Says what is wrong with the layout that came about.
private func warn(_ member: RunningMember) {
    for warning in member.layoutWarnings { print("WARNING: \(warning)") }
}

/// Ends the process with a problem, from a place where it cannot be thrown.
func fail(_ problem: Problem) -> Never {
    Console.error("weft: \(problem.text)")
    exit(problem.exitCode)
}
