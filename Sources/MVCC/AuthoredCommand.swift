package import Access
package import Bytes

/// A command, and on whose behalf it is carried out. Whether they may is looked up where it is applied.
package struct AuthoredCommand: Equatable, Sendable {
    /// What one with an author begins with; the author and the command follow.
    package static let kind: UInt8 = 17

    /// Nil for what a member does by itself, and for everything while rights are not looked at.
    package var author: Author?
    package var command: Command

    package init(_ command: Command, by author: Author? = nil) {
        self.author = author
        self.command = command
    }

    package var versionNeeded: UInt64 {
        author == nil ? command.versionNeeded : max(command.versionNeeded, FabricVersion.access)
    }

    package func encode(into writer: inout ByteWriter) {
        if let author {
            writer.byte(Self.kind)
            author.encode(into: &writer)
        }
        command.encode(into: &writer)
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        guard try Self.isAuthored(reader) else {
            self.init(try Command(from: &reader))
            return
        }
        _ = try reader.byte()
        let author = try Author(from: &reader)
        let command = try Command(from: &reader)
        guard !command.isByMembers else { throw .invalid("a member's own command on somebody's behalf") }
        self.init(command, by: author)
    }

    private static func isAuthored(_ reader: ByteReader) throws(DecodingFault) -> Bool {
        var reader = reader
        return try reader.byte() == kind
    }

    /// The kind of the command itself.
    package static func commandKind(_ reader: ByteReader) throws(DecodingFault) -> UInt8 {
        var reader = reader
        let first = try reader.byte()
        guard first == kind else { return first }
        _ = try Author(from: &reader)
        return try reader.byte()
    }
}

extension Command {
    /// If nobody but a member makes it.
    fileprivate var isByMembers: Bool {
        switch self {
        case .publish, .raiseVersion, .leaseExpire, .leaseAge: true
        case .put, .deleteRange, .txn, .compact, .leaseGrant, .leaseRenew, .leaseRevoke, .raiseAlarm, .lowerAlarm,
            .fabric,
            .access:
            false
        }
    }
}
