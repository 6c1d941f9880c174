internal import Bytes
package import MVCC
package import Raft
package import Storage

/// What this release can carry out, and what only a later one can: see `FabricVersion`. A member that goes past an entry that
/// it does not know has another state than the others.
extension StateMeta {
    /// - Parameters:
    ///   - versions: of fabrics that this release can be part of.
    ///   - path: of what this was found in.
    package func expectKnown(_ versions: ClosedRange<UInt64>, path: String) throws(StorageError) {
        guard versions.contains(version) else {
            throw .unusable(
                """
                \(path) is of a fabric of version \(version), and this release of weft knows versions \(versions.lowerBound) to \
                \(versions.upperBound): install the release that wrote it
                """)
        }
    }

    /// The same of an entry that comes next.
    package func expectKnown(_ entry: Entry, _ versions: ClosedRange<UInt64>) throws(StorageError) {
        guard entry.kind == .command else { return }
        var lack: String?
        if let kind = CommandEnvelope.unknownKind(entry.payload) { lack = "a command of kind \(kind)" }
        // What does not raise the version needs nothing.
        if let raised = entry.raisedVersion, raised > version, !versions.contains(raised), refusalToRaise(entry) == nil
        {
            lack = "the fabric's version \(raised)"
        }
        guard let lack else { return }
        throw .unusable(
            """
            entry \(entry.index) of the log brings \(lack), which this release of weft does not know: install the release that \
            wrote it; nothing is lost
            """)
    }

    /// Why the fabric's version cannot rise as an entry demands, if it does: a member would be shut out.
    func refusalToRaise(_ entry: Entry) -> MVCCError? {
        guard let version = entry.raisedVersion, !makes(.raisesPastMembers) else { return nil }
        let lagging = members.everybody.map(\.id).filter { id in
            let release = attributes.first { $0.id == id }?.attributes.release
            return release.map { !$0.versions.contains(version) } ?? (version > FabricVersion.first)
        }
        return lagging.isEmpty ? nil : .membersLag(lagging)
    }
}

extension Entry {
    /// The version that it raises the fabric to, if it does.
    var raisedVersion: UInt64? { kind == .command ? CommandEnvelope.raisedVersion(payload) : nil }
}
