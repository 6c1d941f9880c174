package import Bytes
package import MVCC
internal import Synchronization

/// What a watcher wants to hear of (etcd's `WatchCreateRequest`).
package struct WatchRequest: Sendable {
    package var range: KeyRange
    /// 0 begins with what comes next.
    package var startRevision: Int64 = 0
    /// 0 lets the stream choose.
    package var id: Int64 = 0
    package var wantsPrevious = false
    package var wantsProgress = false
    package var withoutPuts = false
    package var withoutDeletes = false
    /// Large answers may come in parts.
    package var mayFragment = false
    /// Why it is refused; nil when there is nothing against it.
    package var refusal: String?
    /// What its keys take of the member's memory budget.
    package var hold: MemoryHold?

    package init(range: KeyRange) {
        self.range = range
    }

    func lets(_ change: KeyValue) -> Bool { change.version > 0 ? !withoutPuts : !withoutDeletes }
    var letsAll: Bool { !withoutPuts && !withoutDeletes }
    var form: WatchForm { WatchForm(wantsPrevious: wantsPrevious, mayFragment: mayFragment) }
}

/// How a watcher wants to hear of changes.
package struct WatchForm: Sendable {
    package let wantsPrevious: Bool
    package let mayFragment: Bool
}

/// Changes that many watchers hear of: what they are in the words of a protocol is found out once for all.
package final class ChangeBatch: Sendable {
    package let changes: [KeyValue]
    /// About what they take in an answer.
    package let bytes: Int
    private let words = Mutex<[UInt8]?>(nil)
    /// What changes that were read again take of the member's memory budget. The newest ones are in memory anyway.
    private let hold: MemoryHold?

    package init(_ changes: [KeyValue], _ hold: MemoryHold? = nil) {
        self.changes = changes
        self.hold = hold
        bytes = changes.reduce(64) { $0 + $1.key.count + $1.value.count + 64 }
    }

    /// What `encode` makes of the changes: always the same function.
    package func encoded(_ encode: ([KeyValue]) -> [UInt8]) -> [UInt8] {
        words.withLock { words in
            if let words { return words }
            let made = encode(changes)
            words = made
            return made
        }
    }
}

/// What a stream of watches says, in order. Revisions are the store's when it was said.
package enum WatchOutput: Sendable {
    case created(id: Int64, revision: Int64)
    case refused(reason: String, revision: Int64)
    /// Whole revisions; a change of version 0 is a deletion.
    case changes(id: Int64, ChangeBatch, revision: Int64, WatchForm)
    /// The watch has heard of everything up to `revision`; id -1 speaks for all of the stream.
    case progress(id: Int64, revision: Int64)
    case canceled(id: Int64, revision: Int64, compactRevision: Int64)

    var bytes: Int {
        if case .changes(_, let batch, _, _) = self { batch.bytes } else { 64 }
    }
}

/// Why a stream ended by itself.
package enum WatchEnd: Error, Sendable {
    case stopping, noLeader, witness
}

/// Watches that share one way to a client. The hub puts in what happens, as long as there is room; the client's task takes
/// it out. Who does not take keeps nobody waiting: what finds no room is fetched again later, from the history.
package final class WatchStream: Sendable {
    private struct State {
        var outputs: [WatchOutput] = []
        var bytes = 0
        var waiter: CheckedContinuation<Void, Never>?
        /// Requests that the hub has not seen yet.
        var asked = 0
        /// Waits to ask for more.
        var asker: CheckedContinuation<Void, Never>?
        var end: WatchEnd?
        /// Some watch of this stream found no room.
        var isBehind = false
        var isClosed = false

        var isOver: Bool { isClosed || end != nil }
        var mayBeAsked: Bool { isOver || outputs.count + asked < WatchStream.outputsMax }
    }

    /// Answers to requests that may wait, and requests that may wait to be answered.
    private static let outputsMax = 1000
    private let state = Mutex(State())
    /// Ends when there is no leader for a while.
    package let requiresLeader: Bool
    private let bytesMax: Int

    /// - Parameter bytesMax: of changes that wait for the client.
    package init(requiresLeader: Bool, bytesMax: Int = 1 << 20) {
        self.requiresLeader = requiresLeader
        self.bytesMax = bytesMax
    }

    // MARK: - The client's side

    /// Everything there is to say, waiting for something; empty when the task was cancelled.
    /// - Returns: also if the hub has to hear that there is room again.
    package func next() async throws(WatchEnd) -> (outputs: [WatchOutput], wasBehind: Bool) {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    guard state.outputs.isEmpty, !state.isOver else { return true }
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            close()
        }
        return try take()
    }

    /// The same without waiting.
    package func take() throws(WatchEnd) -> (outputs: [WatchOutput], wasBehind: Bool) {
        let (taken, end) = state.withLock { state in
            defer {
                state.outputs = []
                state.bytes = 0
                state.isBehind = false
            }
            return ((state.outputs, state.isBehind), state.end)
        }
        wake { _ in }
        if taken.0.isEmpty, let end { throw end }
        return taken
    }

    /// To be called before each request to the hub: waits while the client does not take what its earlier ones brought.
    package func beginRequest() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayAsk = state.withLock { state in
                    guard !state.mayBeAsked else { return true }
                    state.asker = continuation
                    return false
                }
                if mayAsk { continuation.resume() }
            }
        } onCancel: {
            close()
        }
        state.withLock { $0.asked += 1 }
    }

    /// The hub has seen to a request.
    func endRequest() {
        wake { $0.asked = max($0.asked - 1, 0) }
    }

    /// The client is gone: nothing more is put in.
    package func close() {
        wake { $0.isClosed = true }
    }

    // MARK: - The hub's side

    var isOpen: Bool { state.withLock { !$0.isOver } }
    var hasRoom: Bool { state.withLock { $0.bytes < bytesMax } }
    var isIdle: Bool { state.withLock { $0.outputs.isEmpty } }

    /// Puts in an output; false when there is no room for it. Small ones always find room.
    func offer(_ output: WatchOutput, mustFit: Bool = false) -> Bool {
        let size = output.bytes
        var isTaken = true
        wake { state in
            if !mustFit, state.bytes > 0, state.bytes + size > bytesMax {
                state.isBehind = true
                isTaken = false
            } else {
                state.outputs.append(output)
                state.bytes += size
            }
        }
        return isTaken
    }

    /// Has the client say when it took everything; false when it already has.
    func awaitRoom() -> Bool {
        state.withLock { state in
            guard !state.outputs.isEmpty else { return false }
            state.isBehind = true
            return true
        }
    }

    package func end(_ reason: WatchEnd) {
        wake { $0.end = $0.end ?? reason }
    }

    private func wake(_ body: (inout State) -> Void) {
        let (waiter, asker) = state.withLock { state in
            body(&state)
            let isNews = !state.outputs.isEmpty || state.isOver
            return (
                isNews ? state.waiter.take() : nil as CheckedContinuation<Void, Never>?,
                state.mayBeAsked ? state.asker.take() : nil as CheckedContinuation<Void, Never>?
            )
        }
        waiter?.resume()
        asker?.resume()
    }
}
