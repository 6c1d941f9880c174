import Credentials
import Testing

@Suite("Simple tokens")
struct SimpleTokenTests {
    private static let second: UInt64 = 1_000_000_000
    private let user = Array("alice".utf8)

    private func issue(_ tokens: SimpleTokens, age: UInt64 = 0, now: UInt64) -> String {
        let secret = SimpleTokens.makeSecret()
        tokens.add(SimpleTokens.digest(of: secret), of: user, age: age, now: now)
        return "\(String(decoding: secret, as: UTF8.self)).17"
    }

    @Test("One lives while it is used, and for its time after that")
    func life() {
        let tokens = SimpleTokens(ttl: 10)
        let token = issue(tokens, now: 0)
        for time in [9, 18, 27] as [UInt64] { #expect(tokens.use(token, now: time * Self.second) == user) }
        #expect(tokens.use(token, now: 38 * Self.second) == nil)
    }

    @Test("One that comes late has lived already")
    func age() {
        let tokens = SimpleTokens(ttl: 10)
        let token = issue(tokens, age: 8 * Self.second, now: 100 * Self.second)
        let old = issue(tokens, age: 11 * Self.second, now: 100 * Self.second)
        #expect(tokens.use(old, now: 100 * Self.second) == nil)
        #expect(tokens.use(token, now: 103 * Self.second) == nil)
    }

    @Test("Those of a user end together, and others do not")
    func end() {
        let tokens = SimpleTokens(ttl: 10)
        let token = issue(tokens, now: 0)
        tokens.endAll(of: Array("bob".utf8))
        #expect(tokens.use(token, now: 1) == user)
        tokens.endAll(of: user)
        #expect(tokens.use(token, now: 1) == nil)
        let other = issue(tokens, now: 1)
        tokens.endAll()
        #expect(tokens.use(other, now: 2) == nil)
    }

    @Test(
        "What is no token is nobody's",
        arguments: [
            "", ".", "nonsense", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAA.", "AAAAAAAAAAAAAAAA.1", "AAAAAAAAAAAAAAAA.1.1",
            ".1",
        ])
    func nonsense(text: String) {
        let tokens = SimpleTokens(ttl: 10)
        _ = issue(tokens, now: 0)
        #expect(tokens.use(text, now: 1) == nil)
    }

    @Test("A thousand that ended are let go of")
    func cleaning() {
        let tokens = SimpleTokens(ttl: 10)
        for number in 0..<1000 { _ = issue(tokens, now: UInt64(number) * 11 * Self.second) }
        #expect(tokens.count < 600)
    }
}
