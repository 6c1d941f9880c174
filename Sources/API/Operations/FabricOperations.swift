internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// The fabric as a whole: how it is, how it would be without a domain, and how it is run.
enum WholeFabric {
    struct Peer: Sendable {
        var entry: Membership.Entry
        var isLeader: Bool
        var isHeardOf: Bool
        /// Only the leader knows them.
        var lag: (entries: UInt64, roundTripNanoseconds: UInt64)?
    }

    struct Overview: Sendable {
        var records: FabricState
        var outlook: RunningMember.Outlook
        var commitDomains: Int
        var readsByLease: Bool
        var members: [Peer]
        var warnings: [String]
    }

    struct Status: Operation {
        static var right: Right<Self> { .observe }

        var serializable: Bool

        func run(at desk: Desk) async throws(APIError) -> Overview {
            let records = try await Records.Read(serializable: serializable).run(at: desk)
            let (member, status) = (desk.member, desk.member.status)
            let members = member.membership.entries.map { entry in
                let peer = status.peers.first { $0.id == entry.member.id }
                return Peer(
                    entry: entry, isLeader: status.leader == entry.member.id,
                    isHeardOf: member.isHeardOf(entry.member.id, status),
                    lag: peer.map { (status.lastIndex - min($0.match, status.lastIndex), $0.roundTripNanoseconds) })
            }
            return Overview(
                records: records, outlook: member.outlook(), commitDomains: member.commitDomains,
                readsByLease: member.readsByLease, members: members,
                warnings: member.layoutWarnings + member.clearTextWarnings + member.certificateWarnings
                    + member.pairWarnings)
        }
    }

    struct Loss: Sendable {
        var domain: Domain
        var loss: FabricState.Loss
        var outlook: RunningMember.Outlook
        /// Who would lead.
        var heir: String?
        var warnings: [String]
    }

    /// What the loss of a domain would mean.
    struct Preflight: Operation {
        static var right: Right<Self> { .observe }

        var domain: String
        var serializable: Bool

        /// Nil when there is no such domain.
        func run(at desk: Desk) async throws(APIError) -> Loss? {
            let member = desk.member
            // Asked when things go wrong: an answer from what is known here is better than none.
            var records = member.appliedFabric
            if member.status.leader != nil {
                records = try await Records.Read(serializable: serializable).run(at: desk)
            }
            guard let found = records.domain(domain) else { return nil }
            let outlook = member.outlook(without: domain)
            return Loss(
                domain: found, loss: records.loss(of: domain), outlook: outlook,
                heir: outlook.leader.map { member.membership[$0]?.title ?? String($0, radix: 16) },
                warnings: member.layoutWarnings)
        }
    }

    // MARK: - Policies

    /// If the leader answers linearizable reads by its lease, without asking the others.
    struct ReadLeaseReads: Operation {
        static var right: Right<Self> { .observe }

        func run(at desk: Desk) async throws(APIError) -> Bool {
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            return desk.member.readsByLease
        }
    }

    struct SetLeaseReads: Operation {
        static var right: Right<Self> { .operate }

        var isOn: Bool

        func run(at desk: Desk) async throws(APIError) -> Bool {
            try await desk.noting("turn lease reads \(isOn ? "on" : "off")", by: desk.name(orClaimed: "")) {
                member throws(ServerError) in try await member.setReadsByLease(isOn)
            }
            return desk.member.readsByLease
        }
    }

    /// In how many domains a write is on disk before it is acknowledged.
    struct ReadDurability: Operation {
        static var right: Right<Self> { .observe }

        func run(at desk: Desk) async throws(APIError) -> Int {
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            return desk.member.commitDomains
        }
    }

    struct SetDurability: Operation {
        static var right: Right<Self> { .operate }

        var domains: Int64

        func run(at desk: Desk) async throws(APIError) -> Result<Int, FabricRefusal> {
            guard (1...3).contains(domains) else { return .failure(.invalid("domains is 1 to 3")) }
            let active = desk.member.status.configuration.activeDomains.count
            guard domains <= max(active, 1) else {
                return .failure(
                    .conflict(
                        "members with data are in \(active) active domains: a write cannot be on disk in \(domains)"))
            }
            try await desk.noting("commit in \(domains) domains", by: desk.name(orClaimed: "")) {
                member throws(ServerError) in try await member.setCommitDomains(Int(domains))
            }
            return .success(desk.member.commitDomains)
        }
    }

    // MARK: - Upgrades

    struct Versions: Sendable {
        /// Of the formats in use.
        var version: UInt64
        /// The newest that this release can be part of.
        var newest: UInt64
        var members: [Membership.Entry]
    }

    struct ReadUpgrade: Operation {
        static var right: Right<Self> { .observe }

        func run(at desk: Desk) async throws(APIError) -> Versions {
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            return desk.versions
        }
    }

    /// Raising the version is the last step of an upgrade: until then every member can go back to the release before.
    struct FinishUpgrade: Operation {
        static var right: Right<Self> { .operate }

        func run(at desk: Desk) async throws(APIError) -> Versions {
            try await desk.noting("finish the upgrade", by: desk.name(orClaimed: "")) { member throws(ServerError) in
                _ = try await member.finishUpgrade()
            }
            return desk.versions
        }
    }
}

extension Desk {
    fileprivate var versions: WholeFabric.Versions {
        WholeFabric.Versions(
            version: member.fabricVersion, newest: member.versions.upperBound, members: member.membership.entries)
    }
}
