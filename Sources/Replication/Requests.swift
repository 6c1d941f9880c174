package import Access
package import Bytes
package import MVCC
internal import Raft

/// What a proposal came to.
package struct Applied: Sendable {
    package var result: CommandResult
    /// The store's revision after it.
    package var revision: Int64
    package var term: UInt64
    /// What the result takes of the member's memory budget until it is on its way to the client.
    package var hold: MemoryHold?

    package init(result: CommandResult, revision: Int64, term: UInt64) {
        self.result = result
        self.revision = revision
        self.term = term
    }
}

package typealias Outcome = Result<Applied, ServerError>

/// A read that waits until this member's state is recent enough.
package struct PendingRead: Sendable {
    package let deadline: UInt64
    /// Called once, on a lane: it must only pass work on.
    package let proceed: @Sendable (ServerError?) -> Void

    package init(deadline: UInt64, proceed: @escaping @Sendable (ServerError?) -> Void) {
        self.deadline = deadline
        self.proceed = proceed
    }
}

/// The payload of a command entry: who asked, then the command.
package enum CommandEnvelope {
    package static func encode(_ command: Command, by author: Author? = nil, requestID: UInt64) -> [UInt8] {
        var writer = ByteWriter(reserving: 320)
        writer.fixed(requestID)
        AuthoredCommand(command, by: author).encode(into: &writer)
        return writer.bytes
    }

    private static let kindPlace = MemoryLayout<UInt64>.size

    /// What it begins with. Commands of members themselves have no author.
    private static func kind(_ payload: [UInt8]) -> UInt8? { payload.count > kindPlace ? payload[kindPlace] : nil }

    /// The kind of the command itself.
    private static func commandKind(_ payload: [UInt8]) -> UInt8? {
        open(payload).flatMap { try? AuthoredCommand.commandKind($0.command) }
    }

    /// The kind of a command that only a later release knows.
    package static func unknownKind(_ payload: [UInt8]) -> UInt8? {
        commandKind(payload).flatMap { Command.kinds.contains($0) ? nil : $0 }
    }

    /// If it is a command that this release knows; what is wrong with it is found where it is applied, by all alike.
    package static func isKnown(_ payload: [UInt8]) -> Bool {
        commandKind(payload).map(Command.kinds.contains) ?? false
    }

    /// If the command is a member's attributes, or the fabric's version: those take that up, too, who have no state.
    static func isForWitnesses(_ payload: [UInt8]) -> Bool {
        kind(payload).map { Command.publishKinds.contains($0) || $0 == Command.raiseVersionKind } ?? false
    }

    /// If the command changes users, roles or rights: not all of its kind do.
    static func isOfAccess(_ payload: [UInt8]) -> Bool {
        guard commandKind(payload) == Command.accessKind, var (_, reader) = open(payload) else { return false }
        if case .access(.noteMembers, _)? = (try? AuthoredCommand(from: &reader))?.command { return false }
        return true
    }

    /// The version that a command raises the fabric to.
    static func raisedVersion(_ payload: [UInt8]) -> UInt64? {
        guard kind(payload) == Command.raiseVersionKind, var (_, reader) = open(payload),
            case .raiseVersion(let version)? = try? Command(from: &reader)
        else { return nil }
        return version
    }

    /// If a member may propose it: attributes only of itself.
    static func isOwn(_ payload: [UInt8], of sender: NodeID) -> Bool {
        guard kind(payload).map(Command.publishKinds.contains) ?? false, var (_, reader) = open(payload),
            case .publish(let id, _)? = try? Command(from: &reader)
        else { return true }
        return id == sender
    }

    /// The request's id, and a reader at the command; nil when there is not even an id.
    package static func open(_ payload: [UInt8]) -> (requestID: UInt64, command: ByteReader)? {
        var reader = ByteReader(payload)
        guard let requestID: UInt64 = try? reader.fixed() else { return nil }
        return (requestID, reader)
    }
}
