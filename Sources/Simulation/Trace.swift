/// What happened, in lines for a reader; nothing unless it is wanted.
final class Trace {
    private let print: (String) -> Void

    init(print: @escaping (String) -> Void) {
        self.print = print
    }

    func line(_ time: UInt64, _ text: String) {
        let micros = String(time / 1000 % 1_000_000)
        let padded = String(repeating: "0", count: 6 - micros.count) + micros
        print("\(time / 1_000_000_000).\(padded) \(text)")
    }
}

/// What must hold and did not.
package struct Violation: Error, Sendable {
    /// The check that found it, a few words without figures.
    package var check: String
    package var detail: String
}
