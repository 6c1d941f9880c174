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
    }

    package var id: NodeID
    package var role: Role
    /// Where its peers reach it.
    package var peerURLs: [String]

    package init(id: NodeID, role: Role, peerURLs: [String]) {
        self.id = id
        self.role = role
        self.peerURLs = peerURLs
    }
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
}

/// One change of the membership; one at a time (Raft dissertation, section 4.1).
package enum ConfigurationChange: Equatable, Sendable {
    case add(Member)
    case promote(NodeID)
    case remove(NodeID)
    case update(NodeID, peerURLs: [String])
}

/// Who takes part. It takes effect at a member as soon as its entry is in that member's log.
package struct Configuration: Equatable, Sendable {
    /// By ascending id.
    package let members: [Member]
    /// Ascending.
    package let voters: [NodeID]

    package init(_ members: [Member] = []) {
        self.members = members.sorted { $0.id < $1.id }
        voters = self.members.filter { $0.role == .voter }.map(\.id)
    }

    package subscript(_ id: NodeID) -> Member? { members.first { $0.id == id } }

    package func isVoter(_ id: NodeID) -> Bool { self[id]?.role == .voter }

    /// The configuration after `change`.
    package func applying(_ change: ConfigurationChange) throws(ChangeRefusal) -> Configuration {
        var next = members
        switch change {
        case .add(let member):
            guard self[member.id] == nil else { throw .memberExists }
            try expectUnused(member.peerURLs, by: member.id)
            next.append(member)
        case .promote(let id):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            guard next[place].role != .voter else { throw .notLearner }
            next[place].role = .voter
        case .remove(let id):
            guard self[id] != nil else { throw .memberNotFound }
            next.removeAll { $0.id == id }
            guard next.contains(where: { $0.role == .voter }) else { throw .lastVoter }
        case .update(let id, let peerURLs):
            guard let place = next.firstIndex(where: { $0.id == id }) else { throw .memberNotFound }
            try expectUnused(peerURLs, by: id)
            next[place].peerURLs = peerURLs
        }
        return Configuration(next)
    }

    private func expectUnused(_ peerURLs: [String], by id: NodeID) throws(ChangeRefusal) {
        let taken = members.contains { other in other.id != id && other.peerURLs.contains { peerURLs.contains($0) } }
        if taken { throw .peerURLExists }
    }

    package func encode(into writer: inout ByteWriter) {
        writer.varint(UInt64(members.count))
        for member in members {
            writer.fixed(member.id)
            writer.byte(member.role.rawValue)
            writer.varint(UInt64(member.peerURLs.count))
            for url in member.peerURLs { writer.string(url) }
        }
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        encode(into: &writer)
        return writer.bytes
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let count = try reader.count(itemBytesMin: 10)
        var members: [Member] = []
        for _ in 0..<count {
            let id: NodeID = try reader.fixed()
            guard let role = Member.Role(rawValue: try reader.byte()) else { throw .invalid("member role") }
            let urlCount = try reader.count()
            var peerURLs: [String] = []
            for _ in 0..<urlCount { peerURLs.append(try reader.string()) }
            guard !members.contains(where: { $0.id == id }) else { throw .invalid("member named twice") }
            members.append(Member(id: id, role: role, peerURLs: peerURLs))
        }
        self.init(members)
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
