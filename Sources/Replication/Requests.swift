package import Bytes
package import MVCC

/// What a proposal came to.
package struct Applied: Sendable {
    package var result: CommandResult
    /// The store's revision after it.
    package var revision: Int64
    package var term: UInt64

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
    package static func encode(_ command: Command, requestID: UInt64) -> [UInt8] {
        var writer = ByteWriter(reserving: 320)
        writer.fixed(requestID)
        command.encode(into: &writer)
        return writer.bytes
    }

    /// If the command is a member's attributes, which also those take up who have no state.
    static func isPublish(_ payload: [UInt8]) -> Bool {
        guard var (_, reader) = open(payload), case .publish? = try? Command(from: &reader) else { return false }
        return true
    }

    /// The request's id, and a reader at the command; nil when there is not even an id.
    package static func open(_ payload: [UInt8]) -> (requestID: UInt64, command: ByteReader)? {
        var reader = ByteReader(payload)
        guard let requestID: UInt64 = try? reader.fixed() else { return nil }
        return (requestID, reader)
    }
}
