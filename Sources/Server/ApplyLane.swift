internal import MVCC
internal import Replication
internal import Storage

/// The thread that owns the state.
final class ApplyLane: Sendable {
    let mailbox = Mailbox<ApplyWork>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run(_ handover: Handover<KeyValueStore>) {
        let applier = Applier(shell: core, store: handover.take())
        core.orFail { () throws(StorageError) in
            while true {
                let batch = mailbox.take(until: nil)
                for (place, work) in batch.enumerated() where try !applier.handle(work) {
                    return end(batch[(place + 1)...])
                }
            }
        }
    }

    /// Whoever came too late hears so.
    private func end(_ rest: ArraySlice<ApplyWork>) {
        mailbox.close()
        for case .reads(let reads, _) in rest + mailbox.take(until: nil) {
            for read in reads { read.proceed(.stopping) }
        }
    }
}
