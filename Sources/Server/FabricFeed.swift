internal import Bytes
package import Fabric
internal import Synchronization

/// The newest changes of the fabric's records, for who watches them. Thread-safe.
package final class FabricFeed: Sendable {
    /// Older changes are forgotten: a reader that asks for them lists anew.
    private static let changesMax = 20_000
    private static let bytesMax = 32 << 20

    private struct State {
        var changes: [FabricChange] = []
        /// About what they take in memory.
        var bytes = 0
        /// All changes after this revision are here.
        var start: Int64 = 0
        var revision: Int64 = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var lastWaiting = 0
        var isClosed = false

        /// Forgets the oldest revisions, each as a whole.
        mutating func trim(to count: Int, bytes bytesMax: Int) {
            var dropped = 0
            while dropped < changes.count,
                changes.count - dropped > count || bytes > bytesMax || changes[dropped].revision == start
            {
                start = changes[dropped].revision
                bytes -= changes[dropped].footprint
                dropped += 1
            }
            changes.removeFirst(dropped)
        }
    }

    private let state = Mutex(State())

    func publish(_ changes: [FabricChange], revision: Int64) {
        wake { state in
            state.changes += changes
            state.bytes += changes.reduce(0) { $0 + $1.footprint }
            state.revision = revision
            guard state.changes.count > Self.changesMax * 5 / 4 || state.bytes > Self.bytesMax * 5 / 4 else { return }
            state.trim(to: Self.changesMax, bytes: Self.bytesMax)
        }
    }

    /// Another state took the place of what was; also at the start.
    func replace(revision: Int64) {
        wake { state in
            state.changes = []
            state.bytes = 0
            state.start = revision
            state.revision = revision
        }
    }

    /// If all changes after `revision` are here, or will be.
    package func reaches(back revision: Int64) -> Bool {
        state.withLock { revision >= $0.start }
    }

    func close() { wake { $0.isClosed = true } }

    private func wake(_ body: (inout State) -> Void) {
        let waiting = state.withLock { state in
            body(&state)
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume() }
    }

    /// All changes after `revision`, and the revision that they lead to; waits for some. Nil when those are forgotten, or the
    /// member ends.
    package func changes(after revision: Int64) async -> (changes: [FabricChange], revision: Int64)? {
        while !Task.isCancelled {
            let found: (changes: [FabricChange], revision: Int64)?? = state.withLock { state in
                if state.isClosed || revision < state.start { return .some(nil) }
                guard revision < state.revision else { return nil }
                let first = state.changes.partitioningIndex { $0.revision > revision }
                return (Array(state.changes[first...]), state.revision)
            }
            if let found { return found }
            await wait(after: revision)
        }
        return nil
    }

    private func wait(after revision: Int64) async {
        let id = state.withLock { state in
            state.lastWaiting += 1
            return state.lastWaiting
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard state.revision <= revision, !state.isClosed, !Task.isCancelled else { return true }
                    state.waiting[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume()
        }
    }
}

extension FabricChange {
    /// About what it takes in memory: the record, and its bytes.
    fileprivate var footprint: Int { 200 + 2 * (body?.count ?? 200) }
}
