internal import Replication
internal import Synchronization

/// The requests of this member's clients that are proposed and not answered yet. Thread-safe; each is answered once.
final class RequestTable: Sendable {
    private struct State {
        var waiting: [UInt64: (bytes: Int, answer: @Sendable (Outcome) -> Void)] = [:]
        var bytes = 0
    }

    private let state = Mutex(State())
    private let nextID: Atomic<UInt64>
    private let countMax: Int
    private let bytesMax: Int

    /// - Parameter firstID: chosen at random at each start, so that no id comes twice.
    init(firstID: UInt64, countMax: Int, bytesMax: Int) {
        nextID = Atomic(firstID)
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    func makeID() -> UInt64 {
        let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
        return id == 0 ? makeID() : id
    }

    /// Takes a request in; false when too many are under way.
    func add(_ id: UInt64, bytes: Int, answer: @escaping @Sendable (Outcome) -> Void) -> Bool {
        state.withLock { state in
            guard state.waiting.count < countMax, state.bytes + bytes <= bytesMax || state.waiting.isEmpty else {
                return false
            }
            state.waiting[id] = (bytes, answer)
            state.bytes += bytes
            return true
        }
    }

    /// Answers a request; nothing when it is not one of ours, or answered already.
    func finish(_ id: UInt64, _ outcome: Outcome) {
        let request = state.withLock { state in
            let request = state.waiting.removeValue(forKey: id)
            state.bytes -= request?.bytes ?? 0
            return request
        }
        request?.answer(outcome)
    }

    func contains(_ id: UInt64) -> Bool { state.withLock { $0.waiting[id] != nil } }

    func failAll(_ error: ServerError) {
        let all = state.withLock { state in
            defer { state = State() }
            return state.waiting.values.map(\.answer)
        }
        for answer in all { answer(.failure(error)) }
    }
}
