internal import Fabric

/// The version of a fabric's formats: commands, records and frames that came with a release are used only once the fabric has
/// that release's version, which `weft upgrade finish` raises when all members run it. A format never changes; a new one
/// gets a new kind, and the version from which it is used.
package enum FabricVersion {
    /// Release 0.1.0. It knows no versions, so from it to the next release all members stop and start together.
    package static let first: UInt64 = 1
    /// Configurations say if reads are answered by leases.
    package static let readsByLease: UInt64 = 2
    /// Users and roles.
    package static let access: UInt64 = 2
    /// What goes to another region: schedule policies, pairs, applications.
    package static let regions: UInt64 = 2
    /// What this release can be part of.
    package static let supported: ClosedRange<UInt64> = 1...2
}

extension Command {
    /// The version that a fabric must have before this is used. Those that tell of releases are needed to raise it.
    package var versionNeeded: UInt64 {
        switch self {
        case .put, .deleteRange, .txn, .compact, .leaseGrant, .leaseRenew, .leaseRevoke, .leaseExpire, .leaseAge,
            .publish,
            .raiseAlarm, .lowerAlarm, .raiseVersion:
            FabricVersion.first
        case .fabric(let command): command.isAboutRegions ? FabricVersion.regions : FabricVersion.first
        case .access: FabricVersion.access
        }
    }
}
