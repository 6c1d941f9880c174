import Server
import Testing

@Suite("Logins that fail")
struct LoginAttemptsTests {
    private let alice = Array("alice".utf8)

    private func attempts(failing address: String) -> LoginAttempts {
        let attempts = LoginAttempts()
        for _ in 0..<20 { attempts.noteFailure(of: alice, from: address, now: 1) }
        return attempts
    }

    @Test("Who guesses waits, others do not, and it is forgiven with time")
    func limits() {
        let attempts = attempts(failing: "10.0.0.1")
        #expect(!attempts.admit(alice, from: "10.0.0.1", now: 1))
        #expect(attempts.admit(alice, from: "10.0.0.2", now: 1))
        #expect(attempts.admit(Array("bob".utf8), from: "10.0.0.1", now: 1))
        #expect(attempts.admit(alice, from: "10.0.0.1", now: 4_000_000_000))
    }

    @Test("A network of version 6, of which one machine has 2^64 addresses, counts as one")
    func networks() {
        let attempts = attempts(failing: "2001:db8::1")
        #expect(!attempts.admit(alice, from: "2001:db8::ffff:2", now: 1))
        #expect(attempts.admit(alice, from: "2001:db8:0:1::1", now: 1))
    }
}
