internal import Logging
internal import MVCC
internal import Raft
internal import SQLite
internal import Storage
internal import Transport

/// The thread that makes images of the state for members that are too far behind. An image is shared by all that need
/// one at the time.
final class SnapshotLane: Sendable {
    enum Work: Sendable {
        case send(to: NodeID)
        case ended(NodeID)
        case stop
    }

    let mailbox = Mailbox<Work>()
    private let core: MemberCore

    init(core: MemberCore) {
        self.core = core
    }

    func run() {
        var image: (header: SnapshotStore.Header, path: String)?
        var receivers: Set<NodeID> = []
        while true {
            for work in mailbox.take(until: nil) {
                switch work {
                case .send(let peer):
                    do {
                        // The log may have been cut past an older image.
                        if let old = image, receivers.isEmpty || old.header.mark.index + 1 < core.status.firstIndex {
                            try remove(old.path)
                            image = nil
                        }
                        let current = try image ?? makeImage()
                        image = current
                        receivers.insert(peer)
                        send(current.header, current.path, to: peer)
                    } catch {
                        core.logger.error("no snapshot can be made for member \(hex(peer)): \(error)")
                        core.consensus.post(.snapshotEnded(peer, nil))
                    }
                case .ended(let peer):
                    receivers.remove(peer)
                    if receivers.isEmpty, let old = image {
                        core.orFail { () throws(StorageError) in try remove(old.path) }
                        image = nil
                    }
                case .stop: return
                }
            }
        }
    }

    /// Removes an image and what SQLite put beside it when it was looked at.
    private func remove(_ path: String) throws(StorageError) {
        for suffix in ["", "-wal", "-shm"] { try File.remove(path + suffix) }
    }

    private func makeImage() throws -> (header: SnapshotStore.Header, path: String) {
        let path = core.snapshotStore.outgoingPath(core.view.appliedIndex)
        try remove(path)
        try StateReader(path: core.directory.statePath, cacheBytes: 1 << 20).copy(to: path)
        let meta = try inspectImage(at: path)
        let size = try SnapshotStore.measure(path)
        let mark = SnapshotMark(
            index: meta.appliedIndex, term: meta.appliedTerm,
            configuration: core.decodeConfiguration(meta.configuration))
        return (SnapshotStore.Header(mark: mark, bytes: size.bytes, checksum: size.checksum), path)
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
