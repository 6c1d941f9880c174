internal import Bytes
internal import Logging
package import MVCC
package import Replication
internal import SQLite
internal import Storage
internal import Synchronization

/// Reads single keys on the thread that asks, many at a time: for event loops, which need not hand such reads to others. Used
/// by one thread at a time.
package final class PointReader: Sendable {
    private let core: MemberCore
    private let slot: ReaderSlot

    init(core: MemberCore) {
        self.core = core
        slot = core.readers.makeSlot()
        slot.open { core.view }
    }

    /// Answers each of `requests`, which are of single keys, from the state of this member.
    package func ranges(_ requests: [RangeRequest]) -> [Result<(RangeResult, term: UInt64), ServerError>] {
        core.metrics.ranges.add(UInt64(requests.count))
        // The admission first: once it says that the state has caught up, so has what is read after it.
        let admission = core.admission
        let refusal: ServerError? =
            admission.isStopping
            ? .stopping
            : admission.isWitness ? .witness : admission.alarms.contains(.corrupt) ? .refused(.corrupt) : nil
        if let refusal { return requests.map { _ in .failure(refusal) } }
        if admission.hasCaughtUp || !requests.contains(where: \.serializable) { return read(requests) }
        return requests.map { $0.serializable ? .failure(.catchingUp) : read([$0])[0] }
    }

    private func read(_ requests: [RangeRequest]) -> [Result<(RangeResult, term: UInt64), ServerError>] {
        slot.read({ core.view }) { view, reader in
            // In portions: what is read is in memory before it is known how much it is.
            stride(from: 0, to: requests.count, by: Self.portion).flatMap { start in
                view.points(Array(requests[start..<min(start + Self.portion, requests.count)]), reader).map(held)
            }.map { result in
                result.map { ($0, view.appliedTerm) }.mapError { failure in
                    switch failure {
                    case .request(let refusal): return .refused(refusal)
                    case .disk(let error): return core.failure(error)
                    }
                }
            }
        }
    }

    private static let portion = 16

    /// An answer with what it takes of the member's memory budget; a refusal when that is not to be had. A small one is counted
    /// when it waits to be sent.
    private func held(_ result: Result<RangeResult, ReadFailure>) -> Result<RangeResult, ReadFailure> {
        guard case .success(var answer) = result, let bytes = answer.pairs.first?.value.count,
            bytes > MemoryBudget.smallBytes
        else { return result }
        guard core.budget.take(bytes, share: MemoryBudget.answerShare) else { return .failure(.request(.noMemory)) }
        answer.hold = MemoryHold(core.budget, bytes)
        return .success(answer)
    }

    /// Calls `proceed`, on any thread, once this member sees what was acknowledged before.
    package func awaitCurrent(_ proceed: @escaping @Sendable (ServerError?) -> Void) {
        RunningMember.whenCurrent(
            core, monotonicNanoseconds() + core.serverSettings.requestTimeoutNanoseconds, proceed)
    }
}

extension RunningMember {
    /// For the loop that asks.
    package func makePointReader() -> PointReader { PointReader(core: core) }
}
