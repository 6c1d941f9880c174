internal import Server
internal import Synchronization

/// Tells on standard error how something comes along that takes longer than a second.
final class Progress: Sendable {
    private static let intervalNanoseconds: UInt64 = 1_000_000_000
    private let what: String
    private let said = Mutex<UInt64>(monotonicNanoseconds())

    init(_ what: String) { self.what = what }

    func show(_ done: Int, of all: Int, _ unit: String = "bytes") {
        let now = monotonicNanoseconds()
        let isTime = said.withLock { said in
            guard now - said >= Self.intervalNanoseconds else { return false }
            said = now
            return true
        }
        if isTime, all > 0 { Console.error("\(what): \(done * 100 / all) % of \(all) \(unit)") }
    }
}
