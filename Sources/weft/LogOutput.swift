internal import Logging
internal import Server
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// Writes log lines to standard error on a thread of its own: nothing that a member does waits for who reads its log. When
/// nobody reads, lines beyond `bytesMax` are dropped and counted, and the count is written once there is room again.
final class LogOutput: Sendable {
    private static let bytesMax = 1 << 20

    private struct State {
        var waitingBytes = 0
        var dropped = 0
    }

    private let state = Mutex(State())
    private let lines = Mailbox<[UInt8]>()

    init() {
        startThread("weft-log-out") { [self] in
            while true { write(lines.take(until: nil)) }
        }
    }

    /// Takes a line, or drops it. Never waits.
    func add(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        let isTaken = state.withLock { state in
            guard state.waitingBytes + bytes.count <= Self.bytesMax else {
                state.dropped += 1
                return false
            }
            state.waitingBytes += bytes.count
            return true
        }
        if isTaken { lines.post(bytes) }
    }

    /// Waits until what was added is written, no longer than that.
    func flush(milliseconds: Int) {
        for _ in 0..<milliseconds where state.withLock({ $0.waitingBytes }) > 0 { usleep(1000) }
    }

    private func write(_ batch: [[UInt8]]) {
        let bytes = Array(batch.joined())
        Self.writeAll(bytes)
        let dropped = state.withLock { state in
            defer { state.dropped = 0 }
            state.waitingBytes -= bytes.count
            return state.dropped
        }
        guard dropped > 0 else { return }
        Self.writeAll(
            Array("\(Self.time()) warning weft: \(dropped) lines were dropped here: nobody read the log\n".utf8))
    }

    /// Blocks until somebody reads. A log that cannot be written ends nothing.
    private static func writeAll(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { buffer in
                Glibc.write(STDERR_FILENO, buffer.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if put < 0, errno == EAGAIN { usleep(10_000) }
            guard put > 0 || errno == EINTR || errno == EAGAIN else { return }
            done += max(put, 0)
        }
    }

    /// Now, by the wall clock and with its offset, as in 2026-11-27T23:34:15+0000.
    fileprivate static func time() -> String {
        var now = Glibc.time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 64)
        strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S%z", &parts)
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// Puts what a `Logger` is told into lines of a `LogOutput`.
struct LogOutputHandler: LogHandler {
    let label: String
    let output: LogOutput
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    init(label: String, output: LogOutput) {
        self.label = label
        self.output = output
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        output.add("\(LogOutput.time()) \(event.level) \(label): \(event.message)")
    }
}
