package import Logging
internal import Raft
package import Replication
package import Storage

/// Fabrics that go on from one member of another.
extension RunningMember {
    /// What the member in `directory` has.
    package static func inspectForRecovery(_ directory: DataDirectory, logger: Logger) throws -> Recovery.Findings {
        guard let identity = try directory.identity() else {
            throw StorageError.unusable("there is no member in \(directory.path)")
        }
        return try Recovery.inspect(directory, identity, logger: logger)
    }

    /// The new fabric's one member has another id than before, so that the old ones take it for nobody they know.
    /// Nothing is changed in `source`: see `giveUp`.
    package static func recover(
        from source: DataDirectory, _ findings: Recovery.Findings, into target: DataDirectory, by: String,
        revisionBump: Int64, logger: Logger
    ) throws -> StateRestored {
        let member = Member(
            id: UInt64.random(in: 1...UInt64.max), role: .voter, peerURLs: findings.own?.peerURLs ?? [],
            priority: findings.own?.priority ?? Member.defaultPriority, domain: findings.own?.domain ?? "")
        let identity = Identity(
            clusterID: FabricIDs.cluster([member.id, UInt64.random(in: 1...UInt64.max)]), memberID: member.id,
            name: findings.identity.name)
        try target.writeSettings(try source.settings())
        let rebuilt = try Recovery.rebuild(
            from: source, findings, as: identity, founding: Configuration([member]), into: target,
            at: millisecondsSince1970(), by: by, revisionBump: revisionBump, logger: logger)
        return StateRestored(
            clusterID: identity.clusterID, memberID: member.id, revision: rebuilt.revision,
            compactRevision: rebuilt.revision, keys: rebuilt.keys)
    }

    /// Sees to it that a member whose fabric goes on elsewhere never starts again.
    package static func giveUp(_ directory: DataDirectory, _ findings: Recovery.Findings) throws {
        var old = findings.identity
        old.state = .removed
        try directory.write(old)
    }
}
