internal import Replication
internal import Storage

/// The mailboxes of one member's lanes. They are there before the lanes, so that each can post to any.
struct Mailboxes: Sendable {
    private static let bytesMax = 64 << 20
    private static let watchBytesMax = 32 << 20

    let consensus = Mailbox<ConsensusWork>(bytesMax: bytesMax) { $0.bytes }
    let log = Mailbox<LogWork>()
    let apply = Mailbox<ApplyWork>(bytesMax: bytesMax) { $0.bytes }
    let checkpoint = Mailbox<CheckpointWork>()
    let snapshots = Mailbox<SnapshotWork>()
    let watches = Mailbox<WatchWork>(bytesMax: watchBytesMax) { $0.bytes }
    /// Reads and writes of images on their way.
    let transfers = Mailbox<@Sendable () -> Void>()
}

extension MemberCore {
    /// Runs a lane on a thread of its own until it ends; a failure ends the member.
    func start<L: Lane & SendableMetatype>(
        _ name: String, _ lane: consuming L, _ mailbox: Mailbox<L.Work>, isInBackground: Bool = false
    ) {
        let handover = Handover(lane)
        startThread(name, isInBackground: isInBackground) { [self] in
            var lane = handover.take()
            orFail { () throws(StorageError) in
                while try lane.handle(mailbox.take(until: lane.due)) {}
            }
            mailbox.close()
            lane.refuse(mailbox.take(until: nil))
        }
    }
}
