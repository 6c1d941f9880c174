/// A token for pairing as people pass it on: a join token, and where the fabric that made it is reached: `weft1.CA.ID.SECRET@URL,URL`.
package struct PairTokenText: Equatable, Sendable, CustomStringConvertible {
    package let token: JoinTokenText
    /// `https://` URLs of members.
    package let endpoints: [String]

    package init(_ token: JoinTokenText, at endpoints: [String]) {
        self.token = token
        self.endpoints = endpoints
    }

    /// Nil for what is none. White space around it does not count.
    package init?(_ text: String) {
        let parts = text.split(whereSeparator: \.isWhitespace)
        guard parts.count == 1 else { return nil }
        let halves = parts[0].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2, let token = JoinTokenText(String(halves[0])) else { return nil }
        let endpoints = halves[1].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard endpoints.allSatisfy({ $0.hasPrefix("https://") }) else { return nil }
        self.init(token, at: endpoints)
    }

    package var description: String { "\(token)@\(endpoints.joined(separator: ","))" }
}
