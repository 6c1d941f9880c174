internal import Logging
internal import NIOCore
internal import Synchronization

/// Keeps what strangers do from filling the log: of each kind of complaint one line a minute, with how often it came since. Thread-safe.
package final class Complaints: Sendable {
    private struct Kind {
        var quietUntil: NIODeadline
        var count = 0
    }

    private static let quiet = TimeAmount.minutes(1)
    private static let kindsMax = 256
    private let kinds = Mutex<[String: Kind]>([:])

    package init() {}

    /// - Parameter kind: what shares a line; the newest text of it is written.
    /// - Returns: what to write, or nil while the kind is quiet.
    package func due(_ kind: String, _ text: String) -> String? {
        let now = NIODeadline.now()
        return kinds.withLock { kinds in
            if var known = kinds[kind], known.quietUntil > now {
                known.count += 1
                kinds[kind] = known
                return nil
            }
            let before = kinds[kind]?.count ?? 0
            if kinds.count >= Self.kindsMax { kinds = kinds.filter { $0.value.quietUntil > now } }
            // Too many kinds within a minute share one.
            let name = kinds.count >= Self.kindsMax ? "" : kind
            if name != kind, let shared = kinds[name], shared.quietUntil > now { return nil }
            kinds[name] = Kind(quietUntil: now + Self.quiet)
            return before == 0 ? text : "\(text) (and \(before) times more before)"
        }
    }
}
