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
                for work in mailbox.take(until: nil) where try !applier.handle(work) {
                    guard case .stop(let flush, let done) = work else { continue }
                    if flush { try self.flush(applier) }
                    applier.failReads()
                    done()
                    return
                }
            }
        }
    }

    /// Has the checkpoint lane write all there is, applying nothing more.
    private func flush(_ applier: Applier<MemberCore>) throws(StorageError) {
        while applier.mustFlush() {
            for work in mailbox.take(until: nil) {
                switch work {
                case .written: _ = try applier.handle(work)
                case .reads(let reads, _): for read in reads { read.proceed(.stopping) }
                case .entries, .freeze, .measured, .tick, .install, .leave, .stop: break
                }
            }
        }
    }
}
