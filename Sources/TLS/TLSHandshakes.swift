internal import NIOCore
internal import Synchronization

/// The handshakes of a port that are under way: when there are too many the oldest makes room, so that callers that never end theirs lock
/// nobody out. Thread-safe.
package final class TLSHandshakes: Sendable {
    struct Ticket: Sendable {
        fileprivate let number: UInt64
    }

    private struct State {
        var next: UInt64 = 0
        /// By number, which is by age.
        var channels: [UInt64: any Channel] = [:]
        var oldest: UInt64 = 0

        mutating func takeOldest() -> (any Channel)? {
            while oldest < next {
                defer { oldest += 1 }
                if let channel = channels.removeValue(forKey: oldest) { return channel }
            }
            return nil
        }
    }

    private let countMax: Int
    private let state = Mutex(State())

    package init(countMax: Int = 500) {
        self.countMax = countMax
    }

    func begin(_ channel: any Channel) -> Ticket {
        let (ticket, evicted) = state.withLock { state in
            let ticket = Ticket(number: state.next)
            state.next += 1
            state.channels[ticket.number] = channel
            return (ticket, state.channels.count > countMax ? state.takeOldest() : nil)
        }
        evicted?.close(mode: .all, promise: nil)
        return ticket
    }

    func end(_ ticket: Ticket) {
        state.withLock { state in _ = state.channels.removeValue(forKey: ticket.number) }
    }

    package var count: Int { state.withLock { $0.channels.count } }
}
