internal import Bytes
internal import JSON
internal import Storage
internal import Synchronization

/// What was denied to whom: a file of JSON lines at this member, for nobody's eyes but the owner's. The same denial over and over is one
/// line with a count, and the file is set aside when it is large, so that strangers fill neither disk nor log. Thread-safe.
package final class AuditLog: Sendable {
    package struct Denial: Hashable, Sendable {
        /// Empty for a caller without a name.
        package var user: String
        package var address: String
        /// The operation, such as "KV.Put".
        package var what: String
        package var reason: String

        package init(user: String, address: String, what: String, reason: String) {
            self.user = user
            self.address = address
            self.what = what
            self.reason = reason
        }
    }

    private struct State {
        var counts: [Denial: Int] = [:]
        /// Of how many kinds those from each address are.
        var kinds: [String: Int] = [:]
        /// Denials of more kinds than are told apart.
        var others = 0
    }

    /// Denials of one kind within this time are one line.
    private static let pauseNanoseconds: UInt64 = 10_000_000_000
    private static let kindsMax = 200
    /// Of one address: whoever invents names leaves room for others.
    private static let kindsPerAddressMax = 20
    private static let fileBytesMax = 64 << 20
    private static let textBytesMax = 256
    private let path: String
    private let state = Mutex(State())
    private let queue = Mailbox<Void>()

    package init(path: String) {
        self.path = path
    }

    func start() {
        startThread("weft-audit", isInBackground: true) { [self] in
            while queue.takeOne() != nil {
                write()
                pause(nanoseconds: Self.pauseNanoseconds)
            }
            write()
        }
    }

    func stop() { queue.close() }

    package func note(_ denial: Denial) {
        // What a stranger sends is cut before it is kept.
        let denial = Denial(
            user: Self.cut(denial.user), address: Self.cut(denial.address), what: Self.cut(denial.what),
            reason: Self.cut(denial.reason))
        let isFirst = state.withLock { state in
            let isFirst = state.counts.isEmpty && state.others == 0
            let isKnown = state.counts[denial] != nil
            let kinds = state.kinds[denial.address, default: 0]
            if isKnown || kinds < Self.kindsPerAddressMax && state.counts.count < Self.kindsMax {
                state.counts[denial, default: 0] += 1
                if !isKnown { state.kinds[denial.address] = kinds + 1 }
            } else {
                state.others += 1
            }
            return isFirst
        }
        if isFirst { queue.post(()) }
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= textBytesMax ? text : String(decoding: text.utf8.prefix(textBytesMax), as: UTF8.self)
    }

    private func write() {
        let (counts, others) = state.withLock { state in
            defer { (state.counts, state.kinds, state.others) = ([:], [:], 0) }
            return (state.counts, state.others)
        }
        var text: [UInt8] = []
        let time = millisecondsSince1970()
        for (denial, count) in counts.sorted(by: { $0.value > $1.value }) { text += Self.line(denial, count, at: time) }
        if others > 0 {
            let denial = Denial(
                user: "", address: "", what: "others", reason: "more kinds of denials than are told apart")
            text += Self.line(denial, others, at: time)
        }
        guard !text.isEmpty else { return }
        // Where it cannot be written nothing else stops: the disk's owner hears of that by other ways.
        try? append(text)
    }

    private func append(_ text: [UInt8]) throws(StorageError) {
        let file = try File(path, .create)
        let size = try file.size()
        if size + text.count > Self.fileBytesMax {
            try File.rename(path, to: path + ".1")
            try File(path, .create).write(text, at: 0)
        } else {
            try file.write(text, at: size)
        }
    }

    private static func line(_ denial: Denial, _ count: Int, at time: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.name("time")
            json.number(time)
            json.name("count")
            json.number(count)
            for (name, text) in [
                ("user", denial.user), ("address", denial.address), ("what", denial.what), ("reason", denial.reason),
            ] {
                json.name(name)
                json.string(text)
            }
        }
        return json.bytes + [UInt8(ascii: "\n")]
    }
}
