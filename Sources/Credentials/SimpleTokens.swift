internal import COpenSSL
internal import Synchronization

/// etcd's simple tokens: random letters, a point, and the index of the entry that issued them. Every member takes one, and each renews it
/// for itself when it is used. A start forgets them, but for young ones that the log brings again.
package final class SimpleTokens: Sendable {
    private struct Entry {
        let user: [UInt8]
        /// Nanoseconds of a clock that only runs forward.
        var end: UInt64
    }

    private static let secretCount = 16
    private static let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    private let ttlNanoseconds: UInt64
    private let entries = Mutex<[[UInt8]: Entry]>([:])

    /// - Parameter ttl: seconds that one lives without being used.
    package init(ttl: UInt64) {
        ttlNanoseconds = ttl * 1_000_000_000
    }

    /// The secret part of a new one.
    package static func makeSecret() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<secretCount).map { _ in letters.randomElement(using: &generator) ?? letters[0] }
    }

    /// What members keep of a secret.
    package static func digest(of secret: some Sequence<UInt8>) -> [UInt8] {
        let secret = Array(secret)
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        SHA256(secret, secret.count, &digest)
        return digest
    }

    /// - Parameter age: nanoseconds since it was issued.
    package func add(_ digest: [UInt8], of user: [UInt8], age: UInt64, now: UInt64) {
        guard age < ttlNanoseconds else { return }
        entries.withLock { entries in
            // Now and then those that nobody uses any more go.
            if entries.count & (entries.count - 1) == 0 { entries = entries.filter { $0.value.end > now } }
            entries[digest] = Entry(user: user, end: now + ttlNanoseconds - age)
        }
    }

    package var count: Int { entries.withLock { $0.count } }

    package func endAll(of user: [UInt8]) { entries.withLock { $0 = $0.filter { $0.value.user != user } } }
    package func endAll() { entries.withLock { $0 = [:] } }

    /// Whose a token is; it lives on from now. Nil when there is none, or none any more.
    package func use(_ token: String, now: UInt64) -> [UInt8]? {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == Self.secretCount, UInt64(Substring(parts[1])) != nil else {
            return nil
        }
        let digest = Self.digest(of: parts[0])
        return entries.withLock { entries in
            guard let entry = entries[digest], entry.end > now else { return nil }
            entries[digest]?.end = now + ttlNanoseconds
            return entry.user
        }
    }
}
