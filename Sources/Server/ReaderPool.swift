internal import MVCC
internal import SQLite
internal import Synchronization

/// Threads that answer reads, each on its own connection to `kv.db`.
final class ReaderPool: Sendable {
    typealias Job = @Sendable (Result<StateReader, SQLiteError>) -> Void

    /// One thread's connection; held while a job runs.
    final class Slot: Sendable {
        private struct Box: @unchecked Sendable {
            // Only ever used under the slot's lock.
            var reader: StateReader?
        }
        private let box = Mutex(Box())

        /// Runs `body` with the connection, or with the reason why there is none.
        func read<T: Sendable>(path: String, _ body: (Result<StateReader, SQLiteError>) -> T) -> T {
            box.withLock { box in
                do throws(SQLiteError) {
                    if let reader = box.reader { return body(.success(reader)) }
                    let reader = try StateReader(path: path, cacheBytes: 4 << 20)
                    box.reader = reader
                    return body(.success(reader))
                } catch {
                    return body(.failure(error))
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
    /// Those of threads that are not the pool's.
    private let others = Mutex<[Slot]>([])
    private let queue = Mailbox<Job?>()

    init(path: String, threads: Int) {
        self.path = path
        slots = (0..<threads).map { _ in Slot() }
    }

    func start() {
        for (number, slot) in slots.enumerated() {
            startThread("weft-read-\(number)") { [path, queue] in
                while let job = queue.takeOne() { slot.read(path: path, job) }
            }
        }
    }

    func submit(_ job: @escaping Job) { queue.post(job) }

    func stop() { for _ in slots { queue.post(nil) } }

    /// A connection for another thread.
    func makeSlot() -> Slot {
        let slot = Slot()
        others.withLock { $0.append(slot) }
        return slot
    }

    /// Runs `body` while no connection is open.
    func whileClosed(_ body: () -> Void) {
        let slots = slots + others.withLock { $0 }
        func close(_ number: Int) {
            if number == slots.count { body() } else { slots[number].whileClosed { close(number + 1) } }
        }
        close(0)
    }
}
