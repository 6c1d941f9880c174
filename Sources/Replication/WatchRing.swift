internal import MVCC

/// The newest changes, by revision: at least all that are not in `kv.db` yet, so that the file and this have everything.
struct WatchRing {
    private struct Revision {
        var changes: [KeyValue]
        var bytes: Int
    }

    private var revisions = ArraySlice<Revision>()
    private(set) var bytes = 0
    /// The oldest revision here, or the next one when there is none.
    private(set) var first: Int64
    /// What is in the file.
    private(set) var written: Int64
    private let bytesMax: Int

    init(revision: Int64, written: Int64, bytesMax: Int) {
        first = revision + 1
        self.written = written
        self.bytesMax = bytesMax
    }

    /// The newest revision.
    var last: Int64 { first + Int64(revisions.count) - 1 }

    /// Adds the changes of revision `last + 1`.
    mutating func append(_ changes: [KeyValue]) {
        let size = changes.reduce(64) { $0 + $1.key.count + $1.value.count + 96 }
        revisions.append(Revision(changes: changes, bytes: size))
        bytes += size
        trim()
    }

    mutating func noteWritten(through revision: Int64) {
        written = max(written, revision)
        trim()
    }

    private mutating func trim() {
        while bytes > bytesMax, first <= written, let oldest = revisions.first {
            bytes -= oldest.bytes
            first += 1
            // A slice keeps what it leaves out until its storage moves.
            revisions[revisions.startIndex].changes = []
            revisions.removeFirst()
        }
    }

    subscript(_ revision: Int64) -> [KeyValue] {
        revisions[revisions.startIndex + Int(revision - first)].changes
    }
}
