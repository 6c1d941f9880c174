package import NIOCore
internal import Synchronization

/// Keeps the connections of a port within bounds: in all, and from one address. When room is needed, the connection that has been
/// idle longest goes; one that serves somebody stays. Thread-safe.
package final class Doorman: Sendable {
    package struct Limits: Sendable {
        /// Connections at once.
        package var guestsMax: Int
        /// Connections at once from one address.
        package var guestsPerAddressMax: Int
        /// Connections beyond `guestsMax` that this machine itself may have, so that it can always be asked how it is.
        package var loopbackReserve = 16

        package init(guestsMax: Int, guestsPerAddressMax: Int) {
            self.guestsMax = guestsMax
            self.guestsPerAddressMax = guestsPerAddressMax
        }
    }

    /// A connection that was let in.
    package final class Guest: Sendable {
        package let channel: any Channel
        /// Where it came from, without a port.
        package let address: String
        /// Nanoseconds of `NIODeadline`; 0 while it serves somebody.
        fileprivate let idleSince = Atomic<UInt64>(NIODeadline.now().uptimeNanoseconds)

        fileprivate init(_ channel: any Channel, _ address: String) {
            self.channel = channel
            self.address = address
        }

        /// If nobody waits for anything on it.
        package func setIdle(_ isIdle: Bool) {
            idleSince.store(isIdle ? NIODeadline.now().uptimeNanoseconds : 0, ordering: .relaxed)
        }
    }

    private struct State {
        var guests: [ObjectIdentifier: Guest] = [:]
        var perAddress: [String: Int] = [:]
    }

    package let limits: Limits
    private let state = Mutex(State())

    package init(_ limits: Limits) {
        self.limits = limits
    }

    /// Connections that were accepted and are not closed yet, those that are turned away included.
    private let arrived = Atomic<Int>(0)

    package var count: Int { state.withLock { $0.guests.count } }

    func noteArrival(_ channel: any Channel) {
        arrived.wrappingAdd(1, ordering: .relaxed)
        channel.closeFuture.whenComplete { _ in self.arrived.wrappingSubtract(1, ordering: .relaxed) }
    }

    /// If too many connections wait to be turned away: stop accepting for now.
    var isCrowded: Bool {
        arrived.load(ordering: .relaxed) >= limits.guestsMax + limits.loopbackReserve + Self.crowd
    }

    private static let crowd = 64
    package var channels: [any Channel] { state.withLock { $0.guests.values.map(\.channel) } }

    /// Lets a connection in, perhaps in place of an idle one; nil when there is no room: close it then.
    package func admit(_ channel: any Channel) -> Guest? {
        let address = Self.plain(channel.remoteAddress?.ipAddress ?? "local")
        let guest = Guest(channel, address)
        let (isIn, evicted) = state.withLock { state in
            let isLocal = isLoopback(address) || address == "local"
            let most = limits.guestsMax + (isLocal ? limits.loopbackReserve : 0)
            var evicted: Guest?
            if state.perAddress[address, default: 0] >= limits.guestsPerAddressMax {
                evicted = Self.longestIdle(in: state) { $0.address == address }
                if evicted == nil { return (false, evicted) }
            } else if state.guests.count >= most {
                evicted = Self.longestIdle(in: state) { _ in true }
                if evicted == nil { return (false, evicted) }
            }
            if let evicted { Self.remove(evicted, from: &state) }
            state.guests[ObjectIdentifier(guest)] = guest
            state.perAddress[address, default: 0] += 1
            return (true, evicted)
        }
        evicted?.channel.close(promise: nil)
        guard isIn else { return nil }
        channel.closeFuture.whenComplete { _ in self.state.withLock { Self.remove(guest, from: &$0) } }
        return guest
    }

    /// An address of version 4 is the same one also when it comes to a socket for both versions.
    private static func plain(_ address: String) -> String {
        address.hasPrefix("::ffff:") && address.contains(".") ? String(address.dropFirst(7)) : address
    }

    private static func longestIdle(in state: State, where fits: (Guest) -> Bool) -> Guest? {
        var found: (guest: Guest, since: UInt64)?
        for guest in state.guests.values where fits(guest) {
            let since = guest.idleSince.load(ordering: .relaxed)
            if since > 0, since < found?.since ?? .max { found = (guest, since) }
        }
        return found?.guest
    }

    private static func remove(_ guest: Guest, from state: inout State) {
        guard state.guests.removeValue(forKey: ObjectIdentifier(guest)) != nil else { return }
        let left = state.perAddress[guest.address, default: 1] - 1
        state.perAddress[guest.address] = left > 0 ? left : nil
    }
}
