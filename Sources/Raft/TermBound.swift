/// How far a term may be above the own one.
///
/// Elections do not get further than 2^32 in an age of them: such a term comes from nowhere, and a few would use up all there are.
/// But whoever was away, or is new, may have missed jumps that the others took, or have taken some that the others did not hear
/// of. Then such terms keep coming: after every two election timeouts in which one was refused the next may be twice as far.
struct TermBound: Sendable {
    static let least: Term = 1 << 32
    static let most: Term = 1 << 48
    /// No jump ends beyond this: elections have the rest.
    static let highest: Term = 1 << 61

    private var distance = least
    private var ticks = 0
    private var hasRefused = false

    /// If a message of the term `next` may be believed by who is in `term`.
    mutating func lets(_ next: Term, from term: Term) -> Bool {
        guard next > term, next - term > Self.least else { return true }
        if next - term <= distance, next <= Self.highest { return true }
        hasRefused = true
        return false
    }

    /// A term was taken. Each jump has to be waited for: one frame can hold thousands.
    mutating func noteTaken(_ next: Term, from term: Term) {
        if next - term > Self.least { self = TermBound() }
    }

    mutating func tick(electionTicks: Int) {
        ticks += 1
        guard ticks >= 2 * electionTicks else { return }
        ticks = 0
        distance = hasRefused ? min(2 * distance, Self.most) : Self.least
        hasRefused = false
    }
}
