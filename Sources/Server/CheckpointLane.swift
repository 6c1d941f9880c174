internal import MVCC
internal import Replication
internal import SQLite
internal import Storage

/// The thread that owns the only connection that writes to `kv.db`.
final class CheckpointLane: Sendable {
    enum Work: Sendable {
        case write(KeyValueStore.Frozen)
        /// Says when all that was compacted is removed and free pages are given back, or it is so late; it goes on then.
        case defragment(until: UInt64, @Sendable () -> Void)
        /// Says when the new file is open.
        case replaceState(by: String, opened: Rendezvous<Void>)
        case stop(Rendezvous<Void>)
    }

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<StateWriter>) {
        let checkpointer = Checkpointer(shell: core, writer: handover.take(), marks: core.marks)
        var waiting: [(limit: UInt64, done: @Sendable () -> Void)] = []
        core.orFail { () throws(StorageError) in
            while true {
                // Once it is tidy, it is so late for everybody.
                let now = checkpointer.isTidying ? monotonicNanoseconds() : .max
                for other in waiting where other.limit <= now { other.done() }
                waiting.removeAll { $0.limit <= now }
                let work = mailbox.take(until: checkpointer.isTidying ? 0 : nil)
                for item in work {
                    switch item {
                    case .defragment(let limit, let done):
                        checkpointer.defragment()
                        waiting.append((limit, done))
                    case .write(let frozen): try checkpointer.write(frozen)
                    case .replaceState(let path, let opened):
                        try checkpointer.replaceState(by: path)
                        opened.fulfil(())
                    case .stop(let done):
                        for other in waiting { other.done() }
                        done.fulfil(())
                        return
                    }
                }
                if work.isEmpty { try checkpointer.tidy() }
            }
        }
    }
}
