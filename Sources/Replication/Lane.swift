package import Storage

/// What one thread of a member does, or the simulator in its stead: a value that gets everything that was posted to it since it
/// looked last, and posts to the others through its shell.
package protocol Lane {
    associatedtype Work: Sendable

    /// Does what was posted, and what time brings. What it throws is final for the member.
    /// - Returns: false when it has ended; then it has said no to the rest.
    mutating func handle(_ work: [Work]) throws(StorageError) -> Bool

    /// When to call `handle` though nothing is posted, by the shell's clock; nil when only work moves it. Nothing changes by asking: lanes are
    /// large, and a generic caller would copy one to read it.
    var due: UInt64? { mutating get }

    /// Says no to whoever posted after the end.
    func refuse(_ work: [Work])
}

extension Lane {
    package var due: UInt64? { nil }
    package func refuse(_ work: [Work]) {}
}
