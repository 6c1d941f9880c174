package import SQLite
internal import Synchronization

/// A connection to `kv.db` that follows the file: when the newest state is of another file than the connection, that one is opened,
/// and until it is published the old file answers. Used by one thread at a time, but for `closeOld`.
package final class ReaderSlot: Sendable {
    private struct Box: @unchecked Sendable {
        // Only ever used under the slot's lock.
        var reader: StateReader?
    }
    private struct Old: @unchecked Sendable {
        var readers: [StateReader] = []
    }
    private let box = Mutex(Box())
    /// Closing the last one of a large file takes time that a reader has not.
    private let old = Mutex(Old())
    private let path: String
    private let marks: FileMarks
    private let cacheBytes: Int

    /// - Parameter cacheBytes: pages kept in memory.
    package init(path: String, marks: FileMarks, cacheBytes: Int) {
        self.path = path
        self.marks = marks
        self.cacheBytes = cacheBytes
    }

    /// Has a connection for the first read: also for one that comes while another file takes the place of this one.
    package func open(_ newest: () -> View) {
        read(newest) { _, _ in }
    }

    /// Runs `body` with the newest state and a connection to its file, or with the reason why there is none.
    package func read<T: Sendable>(
        _ newest: () -> View, _ body: (View, Result<StateReader, SQLiteError>) -> T
    ) -> T {
        box.withLock { box in
            let view = newest()
            do throws(SQLiteError) {
                return body(view, .success(try reader(of: view.generation, in: &box)))
            } catch {
                return body(view, .failure(error))
            }
        }
    }

    private func reader(of generation: UInt64, in box: inout Box) throws(SQLiteError) -> StateReader {
        if let reader = box.reader, reader.use?.generation == generation { return reader }
        leave(&box)
        let opened = try marks.reader(path, cacheBytes: cacheBytes, of: generation)
        box.reader = opened
        return opened
    }

    /// Puts the connection where it is closed later.
    private func leave(_ box: inout Box) {
        guard let reader = box.reader else { return }
        box.reader = nil
        let left = Old(readers: [reader])
        old.withLock { $0.readers += left.readers }
    }

    /// Closes connections to files before that of the newest state: for a thread that nobody waits for.
    package func closeOld(before newest: View) {
        box.withLockIfAvailable { box in
            if let use = box.reader?.use, use.generation < newest.generation { leave(&box) }
        }
        let left = old.withLock { old in
            defer { old = Old() }
            return old
        }
        withExtendedLifetime(left) {}
    }
}
