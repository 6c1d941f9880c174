internal import MVCC
internal import Replication
internal import SQLite
internal import Storage

/// The thread that owns the only connection that writes to `kv.db`.
final class CheckpointLane: Sendable {
    enum Work: Sendable {
        case write(KeyValueStore.Frozen)
        /// Says when all that was compacted is removed and free pages are given back.
        case defragment(Rendezvous<Void>)
        /// Says when the new file is open, and keeps readers away until it hears that the new state is published.
        case replaceState(by: String, opened: Rendezvous<Void>, published: Rendezvous<Void>)
        case stop(Rendezvous<Void>)
    }

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<StateWriter>) {
        let checkpointer = Checkpointer(shell: core, writer: handover.take(), pruneMark: core.pruneMark)
        var waiting: [Rendezvous<Void>] = []
        core.orFail { () throws(StorageError) in
            while true {
                if !checkpointer.isTidying {
                    for done in waiting { done.fulfil(()) }
                    waiting = []
                }
                let work = mailbox.take(until: checkpointer.isTidying ? 0 : nil)
                for item in work {
                    switch item {
                    case .defragment(let done):
                        checkpointer.defragment()
                        waiting.append(done)
                    case .write(let frozen): try checkpointer.write(frozen)
                    case .replaceState(let path, let opened, let published):
                        core.readers.whileClosed {
                            core.orFail { () throws(StorageError) in try checkpointer.replaceState(by: path) }
                            opened.fulfil(())
                            published.wait()
                        }
                    case .stop(let done):
                        for other in waiting + [done] { other.fulfil(()) }
                        return
                    }
                }
                if work.isEmpty { try checkpointer.tidy() }
            }
        }
    }
}
