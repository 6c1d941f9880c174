internal import ArgumentParser
internal import Client
internal import JSON

/// The flags by which a command names its user.
struct LoginFlags: ParsableArguments {
    @Option(
        help:
            "Ask as this user, NAME or NAME:PASSWORD; without a password it is asked for; also WEFT_USER. Others see a command line."
    )
    var user: String?

    @Option(help: "The password of --user; also WEFT_PASSWORD.")
    var password: String?

    /// Logs in if a user is named; the client then shows what it got.
    func logIn(_ client: inout FabricClient) async throws {
        guard let text = given(user, "WEFT_USER"), !text.isEmpty else { return }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var password = parts.count > 1 ? parts[1] : given(password, "WEFT_PASSWORD")
        // Root of a machine becomes anybody at its socket.
        if password == nil, client.endpoints.allSatisfy(\.isLocal) { password = "" }
        let secret = try password ?? Password.ask("Password of \(parts[0])")
        let answer = try await client.call("/v3/auth/authenticate") { json in
            json.field("name", parts[0])
            json.field("password", secret)
        }
        client.http.authorization = answer["token"]?.text
    }
}
