internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import Storage
internal import Transport

/// The thread that makes images of the state for members that are too far behind. An image is shared by all that need
/// one at the time.
final class SnapshotLane: Sendable {
    enum Work: Sendable {
        case send(to: NodeID)
        case ended(NodeID)
        /// Makes the image of a backup at this path.
        case backup(String, @Sendable (Result<Int, StorageError>) -> Void)
        case stop
    }

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run() {
        var outgoing = OutgoingSnapshots()
        while true {
            for work in mailbox.take(until: nil) {
                switch work {
                case .send(let peer):
                    do throws(StorageError) {
                        // What is damaged here goes to nobody else.
                        let image =
                            core.isDamaged
                            ? nil
                            : try outgoing.begin(
                                for: peer, in: core.status.configuration, of: core.directory, core.marks,
                                appliedIndex: core.view.appliedIndex, firstIndex: core.status.firstIndex)
                        if let image {
                            send(image.header, image.path, to: peer)
                        } else {
                            // Asked for again with the next heartbeat that is answered.
                            core.consensus.post(.snapshotEnded(peer, nil))
                        }
                    } catch {
                        core.noteDamage(error)
                        core.logger.error("no snapshot can be made for member \(hex(peer)): \(error)")
                        core.consensus.post(.snapshotEnded(peer, nil))
                    }
                case .backup(let path, let done):
                    let made = Result { () throws(StorageError) in
                        try Backup.makeImage(of: core.directory, core.marks, at: path)
                    }
                    if case .failure(let error) = made { core.noteDamage(error) }
                    done(made)
                case .ended(let peer): core.orFail { () throws(StorageError) in try outgoing.end(for: peer) }
                case .stop: return
                }
            }
        }
    }

    private func send(_ header: SnapshotStore.Header, _ path: String, to peer: NodeID) {
        core.logger.info(
            "sending a snapshot of index \(header.mark.index), \(header.bytes) bytes, to member \(hex(peer))")
        core.consensus.post(.snapshotStarted(peer, header.mark.index))
        let core = core
        core.transport.sendSnapshot(header, at: path, to: peer) { [mailbox] succeeded in
            if succeeded { core.metrics.snapshotsSent.add() }
            core.consensus.post(.snapshotEnded(peer, succeeded ? header.mark.index : nil))
            mailbox.post(.ended(peer))
        }
    }
}
