internal import Access
internal import Bytes
internal import Credentials

/// Tells who a caller is by what they show. Thread-safe.
final class Authenticator: Sendable {
    enum Tokens: Sendable {
        case simple(SimpleTokens)
        case web(WebTokens)
    }

    let tokens: Tokens
    let hasher = PasswordHasher()
    let attempts = LoginAttempts()
    let bcryptCost: Int

    init(_ settings: ServerSettings) throws(CredentialsError) {
        bcryptCost = settings.bcryptCost
        switch settings.tokens {
        case .simple: tokens = .simple(SimpleTokens(ttl: settings.tokenSeconds))
        case .jwt(let settings): tokens = .web(try WebTokens(settings))
        }
    }

    /// Nil for a token that is not good.
    func author(of token: String, in state: AccessState) -> Author? {
        switch tokens {
        case .simple(let tokens):
            tokens.use(token, now: monotonicNanoseconds()).map { Author(name: $0, revision: state.revision) }
        case .web(let tokens):
            tokens.claims(of: token, at: millisecondsSince1970() / 1000).map {
                Author(name: $0.user, revision: $0.revision)
            }
        }
    }

    func note(_ events: [TokenEvent]) {
        guard case .simple(let tokens) = tokens else { return }
        for event in events {
            switch event {
            case .issued(let token):
                let age = max(0, millisecondsSince1970() - token.issued)
                tokens.add(
                    token.digest, of: token.user,
                    age: UInt64(age).multipliedReportingOverflow(by: 1_000_000).partialValue,
                    now: monotonicNanoseconds())
            case .ended(let user): tokens.endAll(of: user)
            case .allEnded: tokens.endAll()
            }
        }
    }
}
