#if canImport(Glibc)
    internal import Glibc
#endif

/// Hands batches from any thread to the one that owns the mailbox, or single items to one of several.
///
/// It takes whatever is posted, and reports when it holds much: whoever posts what can wait, come again or be read elsewhere asks that
/// first.
package final class Mailbox<Item: Sendable>: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let arrival: UnsafeMutablePointer<pthread_cond_t>
    private let bytesMax: Int
    private let size: @Sendable (Item) -> Int
    /// So many may wait for something that wakes.
    private static var quietMax: Int { 16 }
    // Under `lock`:
    private var items: [Item] = []
    /// Of `items`.
    private var bytes = 0
    /// What `takeOne` has taken of them.
    private var first = 0
    /// Threads that wait for something and were not woken yet.
    private var waiting = 0
    private var isClosed = false

    /// - Parameters:
    ///   - bytesMax: from when on it is full; without it, never.
    ///   - size: bytes that an item holds.
    package init(bytesMax: Int = .max, size: @escaping @Sendable (Item) -> Int = { _ in 0 }) {
        self.bytesMax = bytesMax
        self.size = size
        lock = .allocate(capacity: 1)
        arrival = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(arrival, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(arrival)
        pthread_mutex_destroy(lock)
        arrival.deallocate()
        lock.deallocate()
    }

    /// If what waits here holds as many bytes as it should.
    package var isFull: Bool {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return bytes >= bytesMax
    }

    /// - Parameter wakes: whether the owner is to look at once; else it may come along with what is posted next.
    /// - Returns: false when it is closed, and nobody will ever look.
    @discardableResult
    package func post(_ item: Item, wakes: Bool = true) -> Bool {
        let size = size(item)
        pthread_mutex_lock(lock)
        guard !isClosed else {
            pthread_mutex_unlock(lock)
            return false
        }
        items.append(item)
        bytes += size
        let mustWake = waiting > 0 && (wakes || items.count >= Self.quietMax)
        if mustWake { waiting -= 1 }
        pthread_mutex_unlock(lock)
        if mustWake { pthread_cond_signal(arrival) }
        return true
    }

    /// Nothing is posted any more; what was is still to be taken.
    package func close() {
        pthread_mutex_lock(lock)
        isClosed = true
        waiting = 0
        pthread_mutex_unlock(lock)
        pthread_cond_broadcast(arrival)
    }

    /// Everything that was posted since the last call; waits for something until `deadline`, a time of
    /// `monotonicNanoseconds`, and for ever without one.
    package func take(until deadline: UInt64?) -> [Item] {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while items.isEmpty, !isClosed {
            waiting += 1
            if let deadline {
                var time = conditionTime(deadline)
                if pthread_cond_timedwait(arrival, lock, &time) == ETIMEDOUT {
                    waiting = max(waiting - 1, 0)
                    break
                }
            } else {
                pthread_cond_wait(arrival, lock)
            }
        }
        let taken = items
        items = []
        bytes = 0
        return taken
    }

    /// The next item; waits for it. Nil when it is closed, and all was taken. For mailboxes that several threads take from, each
    /// an item at a time.
    package func takeOne() -> Item? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while first == items.count {
            guard !isClosed else { return nil }
            waiting += 1
            pthread_cond_wait(arrival, lock)
        }
        let item = items[first]
        first += 1
        bytes -= size(item)
        // Also while there is always something left, as what was taken is kept until then.
        if first >= items.count / 2 + 1 {
            items.removeFirst(first)
            first = 0
        }
        return item
    }
}
