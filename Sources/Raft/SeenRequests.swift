/// Names one message that carries requests: which start of the sender's, and which of its messages.
package struct Stamp: Equatable, Sendable {
    /// Drawn at random when the sender started.
    package var start: UInt64
    package var number: UInt64

    package init(start: UInt64, number: UInt64) {
        self.start = start
        self.number = number
    }
}

/// The requests that arrived here, so that one that arrives twice is not done twice.
///
/// As in IPsec's anti-replay (RFC 4303, 3.4.3): what is older than a window counts as seen.
struct SeenRequests: Sendable {
    private struct Window: Sendable {
        let sender: NodeID
        let start: UInt64
        var highest: UInt64 = 0
        /// Bit n % size tells of number n.
        var bits = [UInt64](repeating: 0, count: Int(SeenRequests.windowSize / 64))
    }

    private static let windowSize: UInt64 = 1024
    private static let windowsMax = 256
    /// The one used last at the end.
    private var windows: [Window] = []

    /// Notes a message; false when it was here before, or may have been.
    mutating func note(_ stamp: Stamp, from sender: NodeID) -> Bool {
        var window = Window(sender: sender, start: stamp.start)
        if let place = windows.lastIndex(where: { $0.sender == sender && $0.start == stamp.start }) {
            window = windows.remove(at: place)
        }
        defer { windows.append(window) }
        if windows.count >= Self.windowsMax { windows.removeFirst() }
        return Self.note(stamp.number, in: &window)
    }

    private static func note(_ number: UInt64, in window: inout Window) -> Bool {
        guard number + windowSize > window.highest else { return false }
        if number > window.highest {
            for passed in 0..<min(number - window.highest, windowSize) { clear(number - passed, in: &window) }
            window.highest = number
        }
        let place = number % windowSize
        let bit: UInt64 = 1 << (place % 64)
        defer { window.bits[Int(place / 64)] |= bit }
        return window.bits[Int(place / 64)] & bit == 0
    }

    private static func clear(_ number: UInt64, in window: inout Window) {
        let place = number % windowSize
        window.bits[Int(place / 64)] &= ~(1 << (place % 64))
    }
}
