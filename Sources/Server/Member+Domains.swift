package import Fabric
internal import MVCC
package import Raft
package import Replication
internal import Transport
internal import Sockets

/// Domains as far as they are a matter of members: who is where, what a loss would mean, what commits wait for.
extension RunningMember {
    /// Tells the fabric which domain this member belongs to, until it is known.
    package func announceDomain() async {
        let wanted = core.serverSettings.domain
        guard !wanted.isEmpty else { return }
        while !core.isStopping {
            guard let known = core.status.configuration[id] else { return }
            if known.domain == wanted { return }
            if (try? await change(.locate(id, domain: wanted))) == nil {
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// What would become of consensus if a domain vanished now.
    package struct Outlook: Sendable {
        /// If those voters that are there now, without the domain's, are a quorum.
        package var quorumRemains: Bool
        /// How many of them more than a quorum.
        package var margin: Int
        /// Who would lead best; nil when nobody could.
        package var leader: NodeID?
    }

    /// - Parameter domain: nil asks for how it is.
    package func outlook(without domain: String? = nil) -> Outlook {
        let status = core.status
        let configuration = status.configuration
        func stays(_ member: Member) -> Bool {
            (domain == nil || member.domain != domain) && isHeardOf(member.id, status)
        }
        let left = configuration.members.filter { $0.isVoting && stays($0) }
        let remains = configuration.isQuorum { id in left.contains { $0.id == id } }
        let able = left.filter { $0.role == .voter }
        let heir =
            able.first { $0.id == status.leader && $0.isVoting }
            ?? able.max { ($0.priority, $1.id) < ($1.priority, $0.id) }
        return Outlook(
            quorumRemains: remains, margin: left.count - (configuration.voters.count / 2 + 1),
            leader: remains ? heir?.id : nil)
    }

    /// The leader knows who answers; the others know who is connected to them.
    package func isHeardOf(_ member: NodeID, _ status: RaftStatus) -> Bool {
        if member == id { return true }
        if status.role == .leader { return status.peers.contains { $0.id == member && $0.isActive } }
        return core.transport.connected.contains(member)
    }

    /// What is wrong with the layout of members over domains, in words for operators.
    package var layoutWarnings: [String] {
        let configuration = core.status.configuration
        var warnings = configuration.indispensableDomains.map { domain in
            "without \(domain) no quorum of members would remain: \(Self.remedy(configuration, domain))"
        }
        let nowhere = configuration.members.filter { $0.domain.isEmpty }
        if !nowhere.isEmpty, nowhere.count < configuration.members.count {
            let names = nowhere.map { core.membership[$0.id]?.title ?? hex($0.id) }.joined(separator: ", ")
            warnings.append("nobody said which domain \(names) belongs to: start it with --domain")
        }
        return warnings
    }

    /// What is wrong with how members and clients reach each other.
    package var clearTextWarnings: [String] {
        func names(_ urls: (Membership.Entry) -> [String]) -> [String] {
            membership.entries.filter { urls($0).contains(where: Self.isClearText) }.map(\.title).sorted()
        }
        let found = [
            ("members", names(\.member.peerURLs)), ("clients", names(\.attributes.clientURLs)),
        ]
        let own = core.serverSettings.clearTextAddresses
        return found.filter { !$0.1.isEmpty }.map { who, names in
            "\(who) reach \(names.joined(separator: ", ")) in clear text: whoever is on the way reads and changes everything; docs/security.md says how to go to https://"
        }
            + (own.isEmpty
                ? []
                : [
                    "\(name) listens in clear text at \(own.joined(separator: ", ")): whoever is on the way reads and changes what goes there"
                ])
    }

    private static func isClearText(_ url: String) -> Bool {
        PeerAddress(url: url).map { !$0.isSecure && !isLoopback($0.host) } ?? false
    }

    private static func remedy(_ configuration: Configuration, _ domain: String) -> String {
        configuration.domains.count == 2
            ? "add a tie-breaker in a third site (weft join URL --witness --domain THIRD)"
            : "spread the voters so that no domain has half of them"
    }

    // MARK: - Policy

    /// If the leader answers reads by its lease.
    package var readsByLease: Bool { core.status.configuration.policy.readsByLease }

    package func setReadsByLease(_ isOn: Bool) async throws(ServerError) {
        guard fabricVersion >= FabricVersion.readsByLease else {
            throw .refused(.needsVersion(FabricVersion.readsByLease))
        }
        _ = try await change(.readByLease(isOn))
    }

    /// In so many domains a write is on disk before it is acknowledged; 1 when no domain is asked for.
    package var commitDomains: Int { max(1, Int(core.status.configuration.policy.domainsMin)) }

    package func setCommitDomains(_ count: Int) async throws(ServerError) {
        _ = try await change(.spread(UInt8(clamping: count)))
    }

    /// Carries out a change of a domain's state, for consensus and for the records. Commits wait for the domain no more before
    /// its end is written down, for they may wait in vain; and for it again only after its return is.
    package func setDomain(
        _ name: String, isActive: Bool, force: Bool = false, by: String, reason: String, expected: Int64?
    ) async throws(ServerError) -> (FabricAnswer, FabricState) {
        if isActive {
            let answer = try await change(.activate(name), by: by, reason: reason, expected: expected)
            await followRecord(of: name)
            return answer
        }
        let policy = core.status.configuration.policy
        if policy.domainsMin > 1, !policy.inactive.contains(name) {
            guard try await fabric(serializable: true).domain(name) != nil else {
                throw .refused(.fabric(.notFound(.domain, name)))
            }
            _ = try await change(.setActive(domain: name, false))
        }
        do throws(ServerError) {
            let answer = try await change(
                .deactivate(name, force: force), by: by, reason: reason, expected: expected)
            await followRecord(of: name)
            return answer
        } catch .refused(let refusal) {
            await followRecord(of: name)
            throw .refused(refusal)
        }
    }

    /// Domains whose records say otherwise than what commits wait for; those without a record are active.
    private var domainsOutOfStep: [(name: String, isActive: Bool)] {
        let (fabric, inactive) = (appliedFabric, core.status.configuration.policy.inactive)
        let ended = fabric.domains.filter { !$0.isActive && !inactive.contains($0.name) }.map { ($0.name, false) }
        return ended + inactive.filter { fabric.domain($0)?.isActive != false }.map { ($0, true) }
    }

    private func followRecord(of name: String) async {
        guard let found = domainsOutOfStep.first(where: { $0.name == name }) else { return }
        // When it cannot be now, because nobody there has caught up, it is tried again: see `keepDomainsInStep`.
        _ = try? await change(.setActive(domain: name, found.isActive))
    }

    /// Has commits wait for the domains that are active, whatever interrupted a change of that. Runs as long as the member does.
    package func keepDomainsInStep() async {
        var seen: [String] = []
        while !core.isStopping {
            try? await Task.sleep(for: .seconds(5))
            guard !Task.isCancelled else { return }
            let found = core.status.role == .leader ? domainsOutOfStep.map(\.name) : []
            // One that is being changed is left alone.
            for name in found where seen.contains(name) { await followRecord(of: name) }
            seen = found
        }
    }
}
