internal import Logging
package import Raft
package import Storage

/// What is posted to `SnapshotLane`.
package enum SnapshotWork: Sendable {
    case send(to: NodeID)
    /// It has the image, or gave up.
    case ended(NodeID)
    /// Makes the image of a backup at this path.
    case backup(String, @Sendable (Result<Int, StorageError>) -> Void)
    case stop
}

/// What the snapshot lane needs of what surrounds it.
package protocol SnapshotShell: AnyObject, Sendable {
    /// Sends an image, and posts `.snapshotEnded` and `.ended` when that is over.
    func send(_ image: SnapshotImage, to peer: NodeID)
    /// What an image of the state has to know: the newest configuration, what is applied, and where the log begins. Nil when the
    /// state is damaged: that goes to nobody else.
    var imageSource: (configuration: Configuration, appliedIndex: Index, firstIndex: Index)? { get }
    /// What `kv.db` holds may not be what was written.
    func noteDamage(_ error: StorageError)
}

/// Makes images of the state for members that are too far behind, and for backups. An image is shared by all that need one at the
/// time.
package struct SnapshotLane<Shell: ReplicationShell>: Lane {
    private let shell: Shell
    private var outgoing = OutgoingSnapshots()

    package init(shell: Shell) {
        self.shell = shell
    }

    package mutating func handle(_ work: [SnapshotWork]) throws(StorageError) -> Bool {
        for (place, item) in work.enumerated() {
            switch item {
            case .send(let peer): send(to: peer)
            case .ended(let peer): try outgoing.end(for: peer)
            case .backup(let path, let done):
                let made = Result { () throws(StorageError) in
                    try Backup.makeImage(of: shell.directory, shell.marks, at: path)
                }
                if case .failure(let error) = made { shell.noteDamage(error) }
                done(made)
            case .stop:
                refuse(Array(work[(place + 1)...]))
                return false
            }
        }
        return true
    }

    package func refuse(_ work: [SnapshotWork]) {
        for case .backup(_, let done) in work { done(.failure(.unusable("this member has ended"))) }
    }

    private mutating func send(to peer: NodeID) {
        do throws(StorageError) {
            let image = try shell.imageSource.flatMap { source throws(StorageError) in
                try outgoing.begin(
                    for: peer, in: source.configuration, of: shell.directory, shell.marks,
                    appliedIndex: source.appliedIndex, firstIndex: source.firstIndex)
            }
            // Asked for again with the next heartbeat that is answered.
            guard let image else { return shell.post(ConsensusWork.snapshotEnded(peer, nil)) }
            shell.logger.info(
                "sending a snapshot of index \(image.header.mark.index), \(image.header.bytes) bytes, to member \(String(peer, radix: 16))"
            )
            shell.post(ConsensusWork.snapshotStarted(peer, image.header.mark.index))
            shell.send(image, to: peer)
        } catch {
            shell.noteDamage(error)
            shell.logger.error("no snapshot can be made for member \(String(peer, radix: 16)): \(error)")
            shell.post(ConsensusWork.snapshotEnded(peer, nil))
        }
    }
}
