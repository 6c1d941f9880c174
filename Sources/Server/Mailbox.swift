internal import CPlatform
#if canImport(Glibc)
    internal import Glibc
#endif

/// Nanoseconds of a clock that only runs forward, also while the machine sleeps.
package func monotonicNanoseconds() -> UInt64 { reading(CLOCK_BOOTTIME) }

private func reading(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Milliseconds since 1970, by a clock that may jump.
func millisecondsSince1970() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// Hands batches from any thread to the one that owns the mailbox, or single items to one of several.
package final class Mailbox<Item: Sendable>: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let arrival: UnsafeMutablePointer<pthread_cond_t>
    /// So many may wait for something that wakes.
    private static var quietMax: Int { 16 }
    // Under `lock`:
    private var items: [Item] = []
    /// What `takeOne` has taken of them.
    private var first = 0
    /// Threads that wait for something and were not woken yet.
    private var waiting = 0
    private var isClosed = false

    package init() {
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

    /// - Parameter wakes: whether the owner is to look at once; else it may come along with what is posted next.
    /// - Returns: false when it is closed, and nobody will ever look.
    @discardableResult
    package func post(_ item: Item, wakes: Bool = true) -> Bool {
        pthread_mutex_lock(lock)
        guard !isClosed else {
            pthread_mutex_unlock(lock)
            return false
        }
        items.append(item)
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
                // Nobody can wait by the clock that runs on while the machine sleeps.
                let left = deadline - min(monotonicNanoseconds(), deadline)
                let (end, isTooFar) = reading(CLOCK_MONOTONIC).addingReportingOverflow(left)
                let last = isTooFar ? UInt64.max : end
                var time = timespec(tv_sec: Int(last / 1_000_000_000), tv_nsec: Int(last % 1_000_000_000))
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
        return taken
    }
}

extension Mailbox {
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
        // Also while there is always something left, as what was taken is kept until then.
        if first >= items.count / 2 + 1 {
            items.removeFirst(first)
            first = 0
        }
        return item
    }
}

/// Lets this thread rest.
func pause(nanoseconds: UInt64) {
    var rest = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    var remaining = timespec()
    while nanosleep(&rest, &remaining) != 0, errno == EINTR { rest = remaining }
}

/// Starts a thread that runs `body` once; tools show its name, of which the system keeps 15 bytes. One in the background
/// runs when others leave it time.
package func startThread(_ name: String, isInBackground: Bool = false, _ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let name: String
        let isInBackground: Bool
        let body: @Sendable () -> Void
        init(_ name: String, _ isInBackground: Bool, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.isInBackground = isInBackground
            self.body = body
        }
    }
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 2 << 20)
    let box = Unmanaged.passRetained(Box(name, isInBackground, body))
    let code = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
            weft_name_thread(String(box.name.prefix(15)))
            if box.isInBackground { weft_yield_to_others() }
            box.body()
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    precondition(code == 0, "cannot start thread \(name): \(String(cString: strerror(code)))")
}

/// Lets one thread wait for another, once.
final class Rendezvous<Value: Sendable>: Sendable {
    private let mailbox = Mailbox<Value>()

    func fulfil(_ value: Value) { mailbox.post(value) }

    func wait() -> Value { mailbox.take(until: nil)[0] }

    /// Nil when it does not come in time.
    func wait(until deadline: UInt64) -> Value? { mailbox.take(until: deadline).first }
}

/// Gives a thing to the one thread that shall own it, and keeps nothing of it.
final class Handover<Thing>: @unchecked Sendable {
    private var thing: Thing?

    init(_ thing: Thing) { self.thing = thing }

    func take() -> Thing {
        guard let taken = thing else { preconditionFailure("handed over twice") }
        thing = nil
        return taken
    }
}
