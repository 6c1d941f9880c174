internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// Counts logins that failed, by who tried and as whom, so that passwords cannot be guessed quickly. A right password is never counted.
package final class LoginAttempts: Sendable {
    private struct Count {
        /// Failures that still count; they are forgiven as time passes.
        var failures: Double
        /// Nanoseconds of a clock that only runs forward.
        var at: UInt64
    }

    private struct Key: Hashable {
        let address: String
        /// Nil for all names together.
        let user: [UInt8]?
    }

    /// What may fail at once, and how many are forgiven in a second.
    private static let perUser = (most: 20.0, forgiven: 1.0 / 3)
    private static let perAddress = (most: 200.0, forgiven: 3.0)
    private static let countMax = 20_000
    private let counts = Mutex<[Key: Count]>([:])

    package init() {}

    /// If another try is let in.
    package func admit(_ user: [UInt8], from address: String, now: UInt64) -> Bool {
        counts.withLock { counts in
            Self.keys(user, address).allSatisfy { key in
                Self.failures(counts[key], key, now) < (key.user == nil ? Self.perAddress : Self.perUser).most
            }
        }
    }

    package func noteFailure(of user: [UInt8], from address: String, now: UInt64) {
        counts.withLock { counts in
            if counts.count >= Self.countMax {
                counts = counts.filter { Self.failures($0.value, $0.key, now) > 0 }
                // As many sources at once are an attack: nobody is counted alone any more.
                if counts.count >= Self.countMax { counts = counts.filter { $0.key.user == nil } }
                if counts.count >= Self.countMax { counts = [:] }
            }
            for key in Self.keys(user, address) {
                counts[key] = Count(failures: Self.failures(counts[key], key, now) + 1, at: now)
            }
        }
    }

    private static func keys(_ user: [UInt8], _ address: String) -> [Key] {
        let network = network(of: address)
        return [Key(address: network, user: Array(user.prefix(256))), Key(address: network, user: nil)]
    }

    /// What one machine has: of version 6 usually a network of 2^64 addresses.
    private static func network(of address: String) -> String {
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: &bytes) { $0.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") }
    }

    private static func failures(_ count: Count?, _ key: Key, _ now: UInt64) -> Double {
        guard let count else { return 0 }
        let seconds = Double(now - min(count.at, now)) / 1e9
        return max(0, count.failures - seconds * (key.user == nil ? perAddress : perUser).forgiven)
    }
}
