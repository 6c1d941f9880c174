package import Bytes
internal import MVCC
package import Replication

/// What watches take of the member's memory budget.
extension RunningMember {
    private static let smallKeyBytes = 1 << 10
    /// The words, what is gathered of them for the client, and what the connection takes of that.
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

    /// What the words for an output will take until they wait to be sent. Waits while there is no memory for them: then others hold it
    /// that do not take what they asked for, and they are closed by and by. Nil when the task is
    /// cancelled, and for a small one, which is counted when it waits to be sent.
    package func hold(for output: WatchOutput) async -> MemoryHold? {
        guard case .changes(_, let batch, _, let form) = output, batch.bytes > MemoryBudget.smallBytes else {
            return nil
        }
        let bytes = min(batch.bytes * (form.wantsPrevious ? 2 * Self.copies : Self.copies), core.budget.bytesMax / 4)
        while !core.budget.take(bytes, share: MemoryBudget.answerShare) {
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return nil }
        }
        return MemoryHold(core.budget, bytes)
    }
}
