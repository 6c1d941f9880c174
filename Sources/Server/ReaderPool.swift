internal import MVCC
internal import SQLite
internal import Synchronization

/// What a read has to wait for: others that are soon done, or any.
enum ReadLength {
    case short, long

    init(isShort: Bool) {
        self = isShort ? .short : .long
    }
}

/// Threads that answer reads, each on its own connection to `kv.db`. Short reads have threads of their own.
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

    /// Threads for reads of one length.
    private struct Desk: Sendable {
        let name: String
        let slots: [Slot]
        let queue = Mailbox<Job>()

        init(_ name: String, threads: Int) {
            self.name = name
            slots = (0..<threads).map { _ in Slot() }
        }
    }

    private let path: String
    private let short: Desk
    private let long: Desk
    /// Those of threads that are not the pool's.
    private let others = Mutex<[Slot]>([])

    /// - Parameter threads: for reads of each length.
    init(path: String, threads: Int) {
        self.path = path
        short = Desk("read", threads: threads)
        long = Desk("scan", threads: threads)
    }

    private var desks: [Desk] { [short, long] }

    func start() {
        for desk in desks {
            for (number, slot) in desk.slots.enumerated() {
                startThread("weft-\(desk.name)-\(number)") { [path, queue = desk.queue] in
                    while let job = queue.takeOne() { slot.read(path: path, job) }
                }
            }
        }
    }

    /// - Returns: false when the pool has stopped, and the job is never done.
    func submit(_ length: ReadLength, _ job: @escaping Job) -> Bool {
        switch length {
        case .short: short.queue.post(job)
        case .long: long.queue.post(job)
        }
    }

    /// What was submitted before is done.
    func stop() {
        for desk in desks { desk.queue.close() }
    }

    /// A connection for another thread.
    func makeSlot() -> Slot {
        let slot = Slot()
        others.withLock { $0.append(slot) }
        return slot
    }

    /// Runs `body` while no connection is open.
    func whileClosed(_ body: () -> Void) {
        let slots = desks.flatMap(\.slots) + others.withLock { $0 }
        func close(_ number: Int) {
            if number == slots.count { body() } else { slots[number].whileClosed { close(number + 1) } }
        }
        close(0)
    }
}
