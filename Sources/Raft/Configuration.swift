package import Bytes

/// A member as consensus knows it.
package struct Member: Equatable, Sendable {
    package enum Role: UInt8, Sendable {
        /// Counts in every quorum.
        case voter = 0
        /// Receives the log without a vote, and is promoted by the leader once it has caught up.
        case joining = 1
        /// Receives the log without a vote until somebody promotes it.
        case learner = 2
        /// Counts in every quorum and keeps the log, but no state: it can lead only until somebody who has state takes over.
        case witness = 3
        /// As `joining`; it will be a witness.
        case joiningWitness = 4
    }

    package var id: NodeID
    package var role: Role
    /// Where its peers reach it.
    package var peerURLs: [String]
    /// Of the voters that could lead as well, the one with the highest leads.
    package var priority: UInt8
    /// A joining member takes this one's place when it has caught up.
    package var replaces: NodeID?
    /// The failure domain it belongs to; empty when nobody said.
    package var domain: String

    package static let defaultPriority: UInt8 = 100

    package init(
        id: NodeID, role: Role, peerURLs: [String], priority: UInt8 = defaultPriority, replaces: NodeID? = nil,
        domain: String = ""
    ) {
        self.id = id
        self.role = role
        self.peerURLs = peerURLs
        self.priority = priority
        self.replaces = replaces
        self.domain = domain
    }

    package var isVoting: Bool { role == .voter || role == .witness }
    /// The leader promotes it by itself.
    package var isJoining: Bool { role == .joining || role == .joiningWitness }
    package var isWitness: Bool { role == .witness || role == .joiningWitness }
}

/// Why a change of the membership was refused.
package enum ChangeRefusal: UInt8, Error, Sendable {
    case memberExists = 1
    case peerURLExists = 2
    case memberNotFound = 3
    case notLearner = 4
    /// Another change is under way, or the leader has not committed an entry of its term yet.
    case notReady = 5
    case learnerNotCaughtUp = 6
    /// It would leave no voter.
    case lastVoter = 7
    /// The voters that answer now would be no majority of the new configuration.
    case unhealthy = 8
    case notLeader = 9
    /// A member that would stay lacks what no witness holds, and those who have it would be too few.
    case memberBehind = 10
}

/// One change of the membership (D 4.1), or several that take effect together (D 4.3).
package indirect enum ConfigurationChange: Equatable, Sendable {
    case add(Member)
    case promote(NodeID)
    case remove(NodeID)
    case update(NodeID, peerURLs: [String])
    case prioritize(NodeID, UInt8)
    /// Says which domain a member belongs to.
    case locate(NodeID, domain: String)
    /// Takes a domain out of what `spread` asks for, or back into it.
    case setActive(domain: String, Bool)
    /// In so many domains voters with state must have an entry before it is committed.
    case spread(UInt8)
    case readByLease(Bool)
    case several([ConfigurationChange])

    /// `old` goes and `new`, a learner that has caught up, votes in its place.
    package static func replace(_ old: NodeID, by new: NodeID) -> ConfigurationChange {
        .several([.promote(new), .remove(old)])
    }
}

/// Who takes part. It takes effect at a member as soon as its entry is in that member's log.
package struct Configuration: Equatable, Sendable {
    /// By ascending id.
    package let members: [Member]
    /// Ascending; witnesses, too.
    package let voters: [NodeID]
    /// While several changes take effect together: the voters before them, whose majority is needed, too (C_old,new of D
    /// 4.3); otherwise nobody.
    package let outgoing: [NodeID]
    /// Members that go when that ends.
    package let leaving: [Member]
    package let policy: Policy

    package init(
        _ members: [Member] = [], leaving: [Member] = [], outgoing: [NodeID] = [], policy: Policy = Policy()
    ) {
        self.policy = policy
        self.members = members.sorted { $0.id < $1.id }
        self.leaving = leaving.sorted { $0.id < $1.id }
        self.outgoing = outgoing.sorted()
        voters = self.members.filter(\.isVoting).map(\.id)
    }

    package subscript(_ id: NodeID) -> Member? { members.first { $0.id == id } }

    /// Everybody who gets the log, by ascending id.
    package var everybody: [Member] { leaving.isEmpty ? members : (members + leaving).sorted { $0.id < $1.id } }

    package func isVoter(_ id: NodeID) -> Bool { voters.contains(id) || outgoing.contains(id) }
    package func isWitness(_ id: NodeID) -> Bool { everybody.contains { $0.id == id && $0.isWitness } }

    package var isJoint: Bool { !outgoing.isEmpty }

    // MARK: - Quorums

    static func majority(of group: [NodeID]) -> Int { group.count / 2 + 1 }

    /// If those for whom `holds` are a majority of the voters, and of those before while there are two sets.
    package func isQuorum(_ holds: (NodeID) -> Bool) -> Bool {
        func isMajority(_ group: [NodeID]) -> Bool { group.count(where: holds) >= Self.majority(of: group) }
        return isMajority(voters) && (outgoing.isEmpty || makes(.needsOneMajorityOfTwo) || isMajority(outgoing))
    }

    /// The highest number that a quorum has reached.
    package func reachedByQuorum(_ value: (NodeID) -> UInt64) -> UInt64 {
        func reached(_ group: [NodeID]) -> UInt64 {
            let values = group.map(value).sorted(by: >)
            return values.isEmpty ? 0 : values[group.count / 2]
        }
        return outgoing.isEmpty || makes(.needsOneMajorityOfTwo)
            ? reached(voters) : min(reached(voters), reached(outgoing))
    }

    // MARK: - Changes

    /// The configuration in which the voters of before no longer count.
    package var afterJoint: Configuration { Configuration(members, policy: policy) }

    /// The configuration after `change`: with two sets of voters when more than one vote changes.
    package func applying(_ change: ConfigurationChange) throws(ChangeRefusal) -> Configuration {
        if case .remove(let id) = change, isJoint, voters.contains(id), !outgoing.contains(id) {
            return try withoutNewcomer(id)
        }
        let next = try changed(by: change)
        let changes = next.voters.count { !voters.contains($0) } + voters.count { !next.voters.contains($0) }
        guard changes > 1 else { return next }
        return Configuration(
            next.members, leaving: members.filter { next[$0.id] == nil }, outgoing: voters, policy: next.policy)
    }

    /// Back to the voters before, when who was to take the place of one is gone for good.
    private func withoutNewcomer(_ id: NodeID) throws(ChangeRefusal) -> Configuration {
        let before = Configuration(members.filter { $0.id != id } + leaving, policy: policy)
        guard before.voters == outgoing else { throw .notReady }
        return before
    }

    /// If it can come after `before` in a log: one vote changes at a time, or there are two sets of voters between (D 4.2, 4.3).
    package func canFollow(_ before: Configuration) -> Bool {
        guard members.contains(where: { $0.role == .voter }) else { return false }
        // A newcomer knows of none.
        if before.members.isEmpty { return true }
        if before.isJoint {
            if !isJoint, voters == before.outgoing { return true }
            return voters == before.voters && (!isJoint || outgoing == before.outgoing)
        }
        if isJoint { return outgoing == before.voters }
        return voters.count { !before.voters.contains($0) } + before.voters.count { !voters.contains($0) } <= 1
    }

    private func changed(by change: ConfigurationChange) throws(ChangeRefusal) -> Configuration {
        var next = members
        var policy = policy
        switch change {
        case .add(let member):
            guard self[member.id] == nil else { throw .memberExists }
            if let old = member.replaces, self[old] == nil { throw .memberNotFound }
            try expectUnused(member.peerURLs, by: member.id)
            next.append(member)
        case .promote(let id):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            guard !next[place].isVoting else { throw .notLearner }
            next[place].role = next[place].isWitness ? .witness : .voter
            next[place].replaces = nil
        case .remove(let id):
            guard self[id] != nil else { throw .memberNotFound }
            next.removeAll { $0.id == id }
            // A witness alone has no state to answer from.
            guard next.contains(where: { $0.role == .voter }) else { throw .lastVoter }
            for place in next.indices where next[place].replaces == id { next[place].replaces = nil }
        case .update(let id, let peerURLs):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            try expectUnused(peerURLs, by: id)
            next[place].peerURLs = peerURLs
        case .prioritize(let id, let priority):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            next[place].priority = priority
        case .locate(let id, let domain):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            next[place].domain = domain
        case .setActive(let domain, let isActive): policy.set(domain, isActive)
        case .spread(let domains): policy.domainsMin = domains
        case .readByLease(let isOn): policy.readsByLease = isOn
        case .several(let changes):
            var current = self
            for change in changes { current = try current.changed(by: change) }
            return current
        }
        // A policy changes between two sets of voters, too.
        return Configuration(next, leaving: leaving, outgoing: outgoing, policy: policy)
    }

    private func expectUnused(_ peerURLs: [String], by id: NodeID) throws(ChangeRefusal) {
        let taken = members.contains { other in other.id != id && other.peerURLs.contains { peerURLs.contains($0) } }
        if taken { throw .peerURLExists }
    }

    package func encode(into writer: inout ByteWriter) {
        for group in [members, leaving] {
            writer.varint(UInt64(group.count))
            for member in group { member.encode(into: &writer) }
        }
        // Those who know of no policy can read what has none.
        writer.varint(UInt64(outgoing.count) | (policy.isPlain ? 0 : Self.policyMark))
        for id in outgoing { writer.fixed(id) }
        if !policy.isPlain { policy.encode(into: &writer) }
    }

    private static let policyMark: UInt64 = 1 << 40

    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        encode(into: &writer)
        return writer.bytes
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        var groups: [[Member]] = []
        var ids: [NodeID] = []
        for _ in 0..<2 {
            var group: [Member] = []
            for _ in 0..<(try reader.count(itemBytesMin: 12)) {
                let member = try Member(from: &reader)
                guard !ids.contains(member.id) else { throw .invalid("member named twice") }
                ids.append(member.id)
                group.append(member)
            }
            groups.append(group)
        }
        var outgoing: [NodeID] = []
        let count = try reader.varint()
        for _ in 0..<(count & ~Self.policyMark) { outgoing.append(try reader.fixed()) }
        let policy = count & Self.policyMark == 0 ? Policy() : try Policy(from: &reader)
        self.init(groups[0], leaving: groups[1], outgoing: outgoing, policy: policy)
    }
}

extension ConfigurationChange {
    /// Longest name of a domain, and longest peer URL: everybody keeps them, and each image of the state begins with them.
    package static let domainBytesMax = 128
    package static let urlBytesMax = 1024
    package static let urlsMax = 16

    /// If nothing in it is too long to be kept.
    package var isWithinLimits: Bool {
        func areShort(_ urls: [String]) -> Bool {
            urls.count <= Self.urlsMax && urls.allSatisfy { $0.utf8.count <= Self.urlBytesMax }
        }
        return switch self {
        case .add(let member): member.domain.utf8.count <= Self.domainBytesMax && areShort(member.peerURLs)
        case .update(_, let urls): areShort(urls)
        case .locate(_, let domain), .setActive(let domain, _): domain.utf8.count <= Self.domainBytesMax
        case .promote, .remove, .prioritize, .spread, .readByLease: true
        case .several(let changes): changes.allSatisfy(\.isWithinLimits)
        }
    }
}

extension Member {
    package func encode(into writer: inout ByteWriter) {
        writer.fixed(id)
        writer.byte(role.rawValue | (domain.isEmpty ? 0 : Self.domainMark))
        writer.byte(priority)
        writer.varint(replaces ?? 0)
        writer.varint(UInt64(peerURLs.count))
        for url in peerURLs { writer.string(url) }
        if !domain.isEmpty { writer.string(domain) }
    }

    private static let domainMark: UInt8 = 0x80

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let id: NodeID = try reader.fixed()
        let kind = try reader.byte()
        guard let role = Role(rawValue: kind & ~Self.domainMark) else { throw .invalid("member role") }
        let priority = try reader.byte()
        let replaces = try reader.varint()
        let urlCount = try reader.count()
        var peerURLs: [String] = []
        for _ in 0..<urlCount { peerURLs.append(try reader.string()) }
        self.init(
            id: id, role: role, peerURLs: peerURLs, priority: priority, replaces: replaces == 0 ? nil : replaces,
            domain: kind & Self.domainMark == 0 ? "" : try reader.string())
    }
}

/// What an entry of kind `configuration` holds: the whole new configuration, so that an entry cut off the log is undone
/// by going back to the one before.
package struct ConfigurationEntry: Equatable, Sendable {
    /// The request that asked for it, 0 for the leader's own.
    package var requestID: UInt64
    package var configuration: Configuration

    package init(requestID: UInt64, configuration: Configuration) {
        self.requestID = requestID
        self.configuration = configuration
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.fixed(requestID)
        configuration.encode(into: &writer)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        requestID = try reader.fixed()
        configuration = try Configuration(from: &reader)
        try reader.expectEnd()
    }
}
