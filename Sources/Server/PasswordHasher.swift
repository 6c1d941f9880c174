internal import Credentials
internal import Synchronization

/// Computes hashes of passwords on threads of its own: one takes as long as thousands of requests.
final class PasswordHasher: Sendable {
    private static let threads = 2
    /// More at once are refused: they would only be late.
    private static let waitingMax = 64
    private let queue = Mailbox<@Sendable () -> Void>()
    private let waiting = Atomic<Int>(0)

    func start() {
        for number in 0..<Self.threads {
            startThread("weft-hash-\(number)", isInBackground: true) { [queue] in
                while let job = queue.takeOne() { job() }
            }
        }
    }

    func stop() { queue.close() }

    /// - Returns: nil when there is too much to do, or it has stopped.
    func run<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T? {
        guard waiting.wrappingAdd(1, ordering: .relaxed).newValue <= Self.waitingMax else {
            waiting.wrappingSubtract(1, ordering: .relaxed)
            return nil
        }
        defer { waiting.wrappingSubtract(1, ordering: .relaxed) }
        return await withCheckedContinuation { continuation in
            let isTaken = queue.post { continuation.resume(returning: body()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }
}
