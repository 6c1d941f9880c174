/// What will happen, in the order of time; what happens at one time happens in the order it was decided.
struct EventQueue<Action> {
    /// A place in the heap; the action itself stays where it is, for moving it costs more than comparing.
    private struct Event {
        var time: UInt64
        var sequence: UInt64
        var slot: Int

        func precedes(_ other: Event) -> Bool {
            time != other.time ? time < other.time : sequence < other.sequence
        }
    }

    private var heap: [Event] = []
    private var actions: [Action?] = []
    private var free: [Int] = []
    private var sequence: UInt64 = 0

    mutating func add(_ action: Action, at time: UInt64) {
        sequence += 1
        let slot = free.popLast() ?? actions.count
        if slot == actions.count { actions.append(action) } else { actions[slot] = action }
        heap.append(Event(time: time, sequence: sequence, slot: slot))
        var place = heap.count - 1
        while place > 0 {
            let parent = (place - 1) / 2
            guard heap[place].precedes(heap[parent]) else { break }
            heap.swapAt(place, parent)
            place = parent
        }
    }

    mutating func next() -> (time: UInt64, action: Action)? {
        guard let first = heap.first, let action = actions[first.slot] else { return nil }
        actions[first.slot] = nil
        free.append(first.slot)
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, action)
    }

    private mutating func sink() {
        var place = 0
        while true {
            var smallest = place
            for child in 2 * place + 1...2 * place + 2 where child < heap.count {
                if heap[child].precedes(heap[smallest]) { smallest = child }
            }
            if smallest == place { return }
            heap.swapAt(place, smallest)
            place = smallest
        }
    }
}
