internal import JSON
internal import Synchronization

/// etcd's JSON web tokens (RFC 7519): signed claims that every member with the key takes, and nobody can take back.
package final class WebTokens: Sendable {
    package struct Claims: Equatable, Sendable {
        package let user: [UInt8]
        /// Of the users and roles when it was issued.
        package let revision: UInt64

        package init(user: [UInt8], revision: UInt64) {
            self.user = user
            self.revision = revision
        }
    }

    private static let textBytesMax = 8 << 10
    private let settings: JWTSettings
    private let key: SignatureKey

    /// What a token says whose signature is good.
    private struct Verified {
        var claims: Claims
        /// In seconds since 1970.
        var end = Double.infinity
        var start = -Double.infinity
    }

    private static let verifiedMax = 1_000
    /// By token: a client shows the same one with each request, and signatures take long to verify.
    private let verified = Mutex<[String: Verified]>([:])

    /// Reads the keys, once.
    package init(_ settings: JWTSettings) throws(CredentialsError) {
        self.settings = settings
        key = try SignatureKey(settings)
    }

    /// - Parameter seconds: since 1970.
    /// - Returns: nil when this member has no key to sign with.
    package func issue(_ claims: Claims, at seconds: Int64) -> String? {
        var head = JSONWriter()
        head.object { json in
            json.field("alg", settings.method.rawValue)
            json.field("typ", "JWT")
        }
        var body = JSONWriter()
        body.object { json in
            json.name("exp")
            json.number(seconds + settings.ttl)
            json.name("revision")
            json.number(claims.revision)
            json.field("username", String(decoding: claims.user, as: UTF8.self))
        }
        let text = "\(Self.encoded(head.bytes)).\(Self.encoded(body.bytes))"
        return key.sign(Array(text.utf8)).map { "\(text).\(Self.encoded($0))" }
    }

    /// What a token claims; nil when it is not one of this fabric's that counts now.
    package func claims(of token: String, at seconds: Int64) -> Claims? {
        guard let found = verified.withLock({ $0[token] }) ?? verify(token) else { return nil }
        return Double(seconds) < found.end && Double(seconds) >= found.start ? found.claims : nil
    }

    private func verify(_ token: String) -> Verified? {
        guard token.utf8.count <= Self.textBytesMax else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let head = Self.object(parts[0]), head["alg"]?.text == settings.method.rawValue,
            let signature = Base64.decode(parts[2]), key.verify(Array("\(parts[0]).\(parts[1])".utf8), signature),
            let body = Self.object(parts[1]), let found = Self.read(body)
        else { return nil }
        verified.withLock { verified in
            if verified.count >= Self.verifiedMax { verified = [:] }
            verified[token] = found
        }
        return found
    }

    private static func read(_ body: JSONValue) -> Verified? {
        guard let name = body["username"]?.text, let revision = body["revision"].flatMap(number), revision >= 0
        else { return nil }
        let claims = Claims(user: Array(name.utf8), revision: UInt64(exactly: revision.rounded(.towardZero)) ?? .max)
        var found = Verified(claims: claims)
        if let end = body["exp"] {
            guard let end = number(end) else { return nil }
            found.end = end
        }
        for start in [body["nbf"], body["iat"]].compactMap({ $0 }) {
            guard let start = number(start) else { return nil }
            found.start = max(found.start, start)
        }
        return found
    }

    private static func object(_ text: String) -> JSONValue? {
        Base64.decode(text).flatMap { try? JSONParser.parse($0) }
    }

    private static func number(_ value: JSONValue) -> Double? {
        guard case .number(let text) = value, let number = Double(text), number.isFinite else { return nil }
        return number
    }

    /// Base64 for URLs, without padding.
    private static func encoded(_ bytes: [UInt8]) -> String {
        String(
            decoding: Base64.encode(bytes).utf8.compactMap { byte in
                switch byte {
                case UInt8(ascii: "+"): UInt8(ascii: "-")
                case UInt8(ascii: "/"): UInt8(ascii: "_")
                case UInt8(ascii: "="): nil
                default: byte
                }
            }, as: UTF8.self)
    }
}
