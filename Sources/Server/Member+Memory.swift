package import Bytes
internal import MVCC
package import Replication

/// What watches and answers take of the member's memory budget.
extension RunningMember {
    /// What an answer takes, and the words for it, until they wait to be sent. Waits a while for memory. Nil for a small one, which is
    /// counted when it waits to be sent.
    /// - Parameter bytes: of the keys and values in it.
    func hold(forAnswerOf bytes: Int) async throws(ServerError) -> MemoryHold? {
        guard bytes > MemoryBudget.smallBytes else { return nil }
        let taken = min(bytes * Self.copies, core.budget.bytesMax / 2)
        return try await whileMemoryLacks { () async throws(ServerError) in try take(taken) }
    }

    private static let smallKeyBytes = 1 << 10
    /// What is said, the words for it, and what the connection takes of those.
    private static let copies = 3

    /// A request with what its keys take for as long as the watch lives; refused when there is no memory for them.
    package func held(_ request: WatchRequest) throws(ServerError) -> WatchRequest {
        let bytes = request.range.start.count + request.range.rangeEnd.count
        guard bytes > Self.smallKeyBytes else { return request }
        guard core.budget.take(bytes, share: MemoryBudget.requestShare) else { throw .tooManyRequests }
        var held = request
        held.hold = MemoryHold(core.budget, bytes)
        return held
    }

    /// What the words for an output will take until they wait to be sent. Waits for the client first, so that one that takes nothing
    /// holds nothing; then while there is no memory. Nil for a small one, which is counted when it waits to be sent.
    /// - Parameter awaitRoom: returns when the client has taken enough of what was sent before.
    /// - Throws: when the client is gone or the task is cancelled.
    package func hold(
        for output: WatchOutput, _ awaitRoom: () async throws(CancellationError) -> Void
    ) async throws(CancellationError) -> MemoryHold? {
        guard case .changes(_, let batch, _, let form) = output, batch.bytes > MemoryBudget.smallBytes else {
            return nil
        }
        let bytes = min(batch.bytes * (form.wantsPrevious ? 2 * Self.copies : Self.copies), core.budget.bytesMax / 4)
        while true {
            try await awaitRoom()
            if core.budget.take(bytes, share: MemoryBudget.answerShare) { return MemoryHold(core.budget, bytes) }
            do { try await Task.sleep(for: .milliseconds(50)) } catch { throw CancellationError() }
        }
    }
}
