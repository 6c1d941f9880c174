internal import Replication
internal import Storage

/// The thread that makes log entries durable.
final class LogLane: Sendable {
    /// Between slices of chores.
    private static let choreNanoseconds: UInt64 = 20_000_000

    let mailbox = Mailbox<LogWork>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<LogStore>) {
        let writer = LogWriter(shell: core, store: handover.take())
        var nextChore: UInt64 = 0
        core.orFail { () throws(StorageError) in
            while true {
                guard try writer.handle(mailbox.take(until: writer.hasChores ? nextChore : nil)) else { return }
                let now = monotonicNanoseconds()
                guard now >= nextChore else { continue }
                nextChore = now + Self.choreNanoseconds
                try writer.doChores()
            }
        }
    }
}
