/// What will happen, in the order of time; what happens at one time happens in the order it was decided.
struct EventQueue<Action> {
    private struct Event {
        var time: UInt64
        var sequence: UInt64
        var action: Action

        func precedes(_ other: Event) -> Bool {
            time != other.time ? time < other.time : sequence < other.sequence
        }
    }

    private var heap: [Event] = []
    private var sequence: UInt64 = 0

    mutating func add(_ action: Action, at time: UInt64) {
        sequence += 1
        heap.append(Event(time: time, sequence: sequence, action: action))
        var place = heap.count - 1
        while place > 0 {
            let parent = (place - 1) / 2
            guard heap[place].precedes(heap[parent]) else { break }
            heap.swapAt(place, parent)
            place = parent
        }
    }

    mutating func next() -> (time: UInt64, action: Action)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, first.action)
    }

    private mutating func sink() {
        var place = 0
        while true {
            var smallest = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count {
                if heap[child].precedes(heap[smallest]) { smallest = child }
            }
            if smallest == place { return }
            heap.swapAt(place, smallest)
            place = smallest
        }
    }
}
