internal import NIOCore
internal import Synchronization

/// The handshakes of a port that are under way. When there are too many, the oldest of the address that has most of them makes room:
/// callers that never end theirs lock nobody out, but those behind the same address. Thread-safe.
package final class TLSHandshakes: Sendable {
    struct Ticket: Sendable {
        fileprivate let number: UInt64
        fileprivate let address: String
    }

    private struct State {
        var next: UInt64 = 0
        var count = 0
        /// By address; the oldest of each first.
        var callers: [String: [(number: UInt64, channel: any Channel)]] = [:]

        mutating func add(_ channel: any Channel, from address: String) -> Ticket {
            defer { next += 1 }
            count += 1
            callers[address, default: []].append((next, channel))
            return Ticket(number: next, address: address)
        }

        /// Nil when it is gone already.
        mutating func remove(_ ticket: Ticket) -> (any Channel)? {
            guard let place = callers[ticket.address]?.firstIndex(where: { $0.number == ticket.number }) else {
                return nil
            }
            let channel = callers[ticket.address]?.remove(at: place).channel
            if callers[ticket.address]?.isEmpty == true { callers[ticket.address] = nil }
            count -= 1
            return channel
        }

        mutating func removeOldestOfBusiest() -> (any Channel)? {
            let busiest = callers.max { ($0.value.count, $1.value[0].number) < ($1.value.count, $0.value[0].number) }
            return busiest.flatMap { remove(Ticket(number: $0.value[0].number, address: $0.key)) }
        }
    }

    private let countMax: Int
    private let state = Mutex(State())

    package init(countMax: Int = 500) {
        self.countMax = countMax
    }

    func begin(_ channel: any Channel) -> Ticket {
        let address = channel.remoteAddress?.ipAddress ?? ""
        let (ticket, evicted) = state.withLock { state in
            let ticket = state.add(channel, from: address)
            return (ticket, state.count > countMax ? state.removeOldestOfBusiest() : nil)
        }
        evicted?.close(mode: .all, promise: nil)
        return ticket
    }

    func end(_ ticket: Ticket) {
        state.withLock { state in _ = state.remove(ticket) }
    }

    package var count: Int { state.withLock { $0.count } }
}
