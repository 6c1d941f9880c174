internal import MVCC
internal import SQLite
internal import Synchronization

/// Threads that answer reads, each on its own connection to `kv.db`.
final class ReaderPool: Sendable {
    typealias Job = @Sendable (Result<StateReader, SQLiteError>) -> Void

    /// One thread's connection; held while a job runs.
    private final class Slot: Sendable {
        private struct Box: @unchecked Sendable {
            // Only ever used under the slot's lock.
            var reader: StateReader?
        }
        private let box = Mutex(Box())

        func run(_ job: Job, path: String) {
            box.withLock { box in
                do throws(SQLiteError) {
                    if box.reader == nil { box.reader = try StateReader(path: path, cacheBytes: 4 << 20) }
                    if let reader = box.reader { job(.success(reader)) }
                } catch {
                    job(.failure(error))
                }
            }
        }

        func whileClosed(_ body: () -> Void) {
            box.withLock { box in
                box.reader = nil
                body()
            }
        }
    }

    private let path: String
    private let slots: [Slot]
    private let queue = Mailbox<Job?>()

    init(path: String, threads: Int) {
        self.path = path
        slots = (0..<threads).map { _ in Slot() }
    }

    func start() {
        for (number, slot) in slots.enumerated() {
            startThread("weft-read-\(number)") { [path, queue] in
                while let job = queue.takeOne() { slot.run(job, path: path) }
            }
        }
    }

    func submit(_ job: @escaping Job) { queue.post(job) }

    func stop() { for _ in slots { queue.post(nil) } }

    /// Runs `body` while no connection of the pool is open.
    func whileClosed(_ body: () -> Void) {
        func close(_ number: Int) {
            if number == slots.count { body() } else { slots[number].whileClosed { close(number + 1) } }
        }
        close(0)
    }
}
