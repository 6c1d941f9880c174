internal import MVCC
internal import Raft
package import Replication
package import Storage

/// Members that begin with what a backup holds.
extension RunningMember {
    /// Fills the fresh directory of a founder; `serve` then starts it as one. Founders that find each other must be
    /// filled from the same backup, with the same bump.
    package static func restore(
        _ path: String, _ contents: Backup.Contents, into directory: DataDirectory, _ settings: ServerSettings,
        revisionBump: Int64, compacts: Bool
    ) throws -> StateRestored {
        guard directory.isFresh() else {
            throw StorageError.unusable("\(directory.path) holds a member already; choose another --data-dir")
        }
        // The backup is part of the fabric's id: founders of different contents refuse each other.
        let mark =
            contents.digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } ^ UInt64(bitPattern: revisionBump)
            ^ (compacts ? 0 : 1 << 63)
        let identity = try identity(settings, directory, nil, mark: mark)
        let meta = try Backup.restore(
            path, contents, into: directory,
            Backup.Plan(
                identity: identity, founding: foundingConfiguration(settings), revisionBump: revisionBump,
                compacts: compacts))
        return StateRestored(
            clusterID: identity.clusterID, memberID: identity.memberID, revision: meta.revision,
            compactRevision: meta.compactRevision, keys: meta.keyCount)
    }

    package struct StateRestored: Sendable {
        package let clusterID: UInt64
        package let memberID: UInt64
        package let revision: Int64
        package let compactRevision: Int64
        package let keys: Int64
    }
}
