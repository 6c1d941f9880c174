internal import NIOCore
internal import Synchronization

/// The handshakes of a port that are under way. When there are too many, the oldest of the address that has most of them makes room:
/// callers that never end theirs lock nobody out, but those behind the same address. Thread-safe.
package final class TLSHandshakes: Sendable {
    struct Ticket: Sendable {
        fileprivate let number: UInt64
    }

    private struct State {
        var next: UInt64 = 0
        /// By number, which is by age.
        var channels: [UInt64: (channel: any Channel, address: String)] = [:]

        mutating func takeOldestOfBusiest() -> (any Channel)? {
            var callers: [String: (count: Int, oldest: UInt64)] = [:]
            for (number, entry) in channels {
                let known = callers[entry.address] ?? (0, number)
                callers[entry.address] = (known.count + 1, min(known.oldest, number))
            }
            let busiest = callers.values.max { ($0.count, $1.oldest) < ($1.count, $0.oldest) }
            return busiest.flatMap { channels.removeValue(forKey: $0.oldest)?.channel }
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
            state.channels[ticket.number] = (channel, channel.remoteAddress?.ipAddress ?? "")
            return (ticket, state.channels.count > countMax ? state.takeOldestOfBusiest() : nil)
        }
        evicted?.close(mode: .all, promise: nil)
        return ticket
    }

    func end(_ ticket: Ticket) {
        state.withLock { state in _ = state.channels.removeValue(forKey: ticket.number) }
    }

    package var count: Int { state.withLock { $0.channels.count } }
}
