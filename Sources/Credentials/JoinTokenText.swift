/// A join token as people pass it on: `weft1.CA.ID.SECRET`, the parts in base32. It says by itself whom to believe: whoever has it tells
/// the secret only to those who have a certificate of the CA with this key.
package struct JoinTokenText: Equatable, Sendable, CustomStringConvertible {
    private static let form = "weft1"
    private static let idBytes = 5
    private static let secretBytes = 20
    private static let digestBytes = 32

    /// SHA-256 of the CA's public key (SubjectPublicKeyInfo).
    package let authority: [UInt8]
    package let id: String
    private let secret: [UInt8]

    /// A new one.
    package init(for authority: [UInt8]) {
        self.authority = authority
        var generator = SystemRandomNumberGenerator()
        func chance(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: .min ... .max, using: &generator) } }
        id = Base32.encode(chance(Self.idBytes))
        secret = chance(Self.secretBytes)
    }

    /// Nil for what is no join token. White space around it does not count.
    package init?(_ text: String) {
        let trimmed = text.drop(while: \.isWhitespace).prefix { !$0.isWhitespace }
        guard text.drop(while: \.isWhitespace).dropFirst(trimmed.count).allSatisfy(\.isWhitespace) else { return nil }
        let parts = trimmed.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == Self.form, let authority = Base32.decode(parts[1]),
            let id = Base32.decode(parts[2]), let secret = Base32.decode(parts[3]),
            authority.count == Self.digestBytes, id.count == Self.idBytes, secret.count == Self.secretBytes
        else { return nil }
        self.authority = authority
        self.id = String(parts[2])
        self.secret = secret
    }

    /// All that a fabric keeps of the secret.
    package var digest: [UInt8] { SimpleTokens.digest(of: secret) }

    package var description: String {
        [Self.form, Base32.encode(authority), id, Base32.encode(secret)].joined(separator: ".")
    }
}
