package import Access
package import Bytes

/// A command, and on whose behalf it is carried out. Whether they may is looked up where it is applied.
package struct AuthoredCommand: Equatable, Sendable {
    /// What one with an author begins with; the author and the command follow.
    package static let kind: UInt8 = 17
    /// The same for a client's certificate, by the name that it is listed under.
    package static let certificateKind: UInt8 = 18

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
            writer.byte(author.isCertificate ? Self.certificateKind : Self.kind)
            if author.isCertificate { writer.lengthPrefixed(author.name) } else { author.encode(into: &writer) }
        }
        command.encode(into: &writer)
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        guard let author = try Self.author(&reader) else {
            self.init(try Command(from: &reader))
            return
        }
        let command = try Command(from: &reader)
        guard !command.isByMembers else { throw .invalid("a member's own command on somebody's behalf") }
        self.init(command, by: author)
    }

    /// Takes the author from what begins with one.
    private static func author(_ reader: inout ByteReader) throws(DecodingFault) -> Author? {
        var ahead = reader
        let author: Author
        switch try ahead.byte() {
        case kind: author = try Author(from: &ahead)
        case certificateKind: author = Author(certificate: try ahead.lengthPrefixed())
        default: return nil
        }
        reader = ahead
        return author
    }

    /// The kind of the command itself.
    package static func commandKind(_ reader: ByteReader) throws(DecodingFault) -> UInt8 {
        var reader = reader
        _ = try author(&reader)
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
