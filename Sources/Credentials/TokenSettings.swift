/// Which tokens a member issues and takes: etcd's `--auth-token`.
package enum TokenSettings: Equatable, Sendable {
    case simple
    case jwt(JWTSettings)

    /// Reads "simple", or "jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m".
    package init(_ text: String) throws(CredentialsError) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        switch parts.first {
        case "simple" where parts.count == 1: self = .simple
        case "jwt": self = .jwt(try JWTSettings(options: Array(parts.dropFirst())))
        default:
            throw CredentialsError(
                "auth-token is \"simple\" or \"jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=5m\", not \"\(text)\""
            )
        }
    }
}

package struct JWTSettings: Equatable, Sendable {
    package var method: JWTMethod
    package var publicKeyFile: String?
    package var privateKeyFile: String?
    /// Seconds.
    package var ttl: Int64 = 300

    fileprivate init(options: [Substring]) throws(CredentialsError) {
        var method: JWTMethod?
        for option in options {
            let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[1].isEmpty else {
                throw CredentialsError("auth-token: \"\(option)\" is not an option and its value")
            }
            switch parts[0] {
            case "sign-method":
                method = JWTMethod(rawValue: parts[1])
                guard method != nil else { throw CredentialsError("auth-token: there is no sign-method \(parts[1])") }
            case "pub-key": publicKeyFile = parts[1]
            case "priv-key": privateKeyFile = parts[1]
            case "ttl":
                guard let seconds = Self.seconds(parts[1]), seconds > 0 else {
                    throw CredentialsError("auth-token: ttl is a duration such as 5m or 1h30m, not \"\(parts[1])\"")
                }
                ttl = seconds
            case let other: throw CredentialsError("auth-token: there is no option \(other)")
            }
        }
        guard let method else { throw CredentialsError("auth-token: jwt needs a sign-method, such as RS256") }
        guard publicKeyFile != nil || privateKeyFile != nil else {
            throw CredentialsError("auth-token: jwt needs a pub-key to verify tokens, or a priv-key to issue them, too")
        }
        if method.isSymmetric, privateKeyFile == nil {
            throw CredentialsError("auth-token: \(method.rawValue) needs the shared key as priv-key")
        }
        self.method = method
    }

    /// Go's durations, in whole seconds: "5m", "1h30m", "90s".
    private static func seconds(_ text: String) -> Int64? {
        let units: [Character: Int64] = ["h": 3600, "m": 60, "s": 1]
        var (sum, number): (Int64, Int64?) = (0, nil)
        for character in text {
            if let digit = character.wholeNumberValue, character.isASCII {
                let (tens, isLarge) = (number ?? 0).multipliedReportingOverflow(by: 10)
                let (next, isLarger) = tens.addingReportingOverflow(Int64(digit))
                guard !isLarge, !isLarger, next < Int64(Int32.max) else { return nil }
                number = next
            } else if let unit = units[character], let count = number {
                sum += count * unit
                number = nil
            } else {
                return nil
            }
        }
        return number == nil ? sum : nil
    }
}

/// How a token is signed (RFC 7518 and 8037).
package enum JWTMethod: String, Sendable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case edDSA = "EdDSA"

    var isSymmetric: Bool { [.hs256, .hs384, .hs512].contains(self) }
}

/// Why credentials cannot be used as they were given to this member.
package struct CredentialsError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    init(_ description: String) { self.description = description }
}
