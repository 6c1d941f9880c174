internal import MVCC
internal import SQLite
internal import Storage
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
    /// Gets the newest state, and a connection to its file or the reason why there is none.
    typealias Job = @Sendable (View, Result<StateReader, SQLiteError>) -> Void

    /// Threads for reads of one length.
    private struct Desk: Sendable {
        let name: String
        let queue = Mailbox<Job>()
    }

    private static let cacheBytes = 4 << 20
    private let path: String
    private let marks: FileMarks
    /// For reads of each length.
    private let threads: Int
    private let short = Desk(name: "read")
    private let long = Desk(name: "scan")
    private let slots = Mutex<[ReaderSlot]>([])
    private let retired = Mutex<[RetiredFile]>([])

    /// - Parameter threads: for reads of each length.
    init(path: String, marks: FileMarks, threads: Int) {
        self.path = path
        self.marks = marks
        self.threads = threads
    }

    private var desks: [Desk] { [short, long] }

    /// - Parameter newest: the state as it is now.
    func start(newest: @escaping @Sendable () -> View) {
        for desk in desks {
            for number in 0..<threads {
                let slot = makeSlot()
                startThread("weft-\(desk.name)-\(number)") { [queue = desk.queue] in
                    slot.open(newest)
                    while let job = queue.takeOne() { slot.read(newest, job) }
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

    /// A connection for another thread, for as long as the member runs.
    func makeSlot() -> ReaderSlot {
        let slot = ReaderSlot(path: path, marks: marks, cacheBytes: Self.cacheBytes)
        slots.withLock { $0.append(slot) }
        return slot
    }

    /// Keeps a file that is no longer `kv.db` until nobody reads it.
    func retire(_ file: consuming File) {
        let file = RetiredFile(file)
        retired.withLock { $0.append(file) }
    }

    /// Lets go of files that are no longer `kv.db`; now and then, on a thread that nobody waits for.
    func closeOld(before newest: View) {
        for slot in slots.withLock({ $0 }) { slot.closeOld(before: newest) }
        let unread = retired.withLock { files in
            // Asked while none can be added that is still read.
            guard !marks.isOldOpen else { return [RetiredFile]() }
            defer { files = [] }
            return files
        }
        for file in unread { file.dissolve() }
    }
}

/// A file without a name. A large one goes in steps: at once, that holds up whoever syncs or locks a file meanwhile.
private final class RetiredFile: Sendable {
    private static let stepBytes = 4 << 20
    private static let pauseNanoseconds: UInt64 = 2_000_000
    private let file: File

    init(_ file: consuming File) {
        self.file = file
    }

    func dissolve() {
        // What fails here is left to the kernel.
        var size = (try? file.size()) ?? 0
        while size > 0 {
            size = max(size - Self.stepBytes, 0)
            guard (try? file.truncate(to: size)) != nil else { return }
            pause(nanoseconds: Self.pauseNanoseconds)
        }
    }
}
