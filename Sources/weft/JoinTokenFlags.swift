internal import ArgumentParser
internal import Storage

/// The flags by which a command is told a join token.
struct JoinTokenFlags: ParsableArguments {
    @Option(help: "The join token; - reads it from standard input. Others see a command line.")
    var token: String?

    @Option(help: "A file with the join token.")
    var tokenFile: String?

    var isGiven: Bool { token != nil || tokenFile != nil }

    /// The token as it was given; nil where it was not.
    func read() throws -> String? {
        guard token == nil || tokenFile == nil else {
            throw Problem(.usage, "--token and --token-file exclude each other")
        }
        guard let tokenFile else { return token == "-" ? try Password.ask("Join token") : token }
        do throws(StorageError) {
            return String(decoding: try File(tokenFile, .read).read(at: 0, count: 4096), as: UTF8.self)
        } catch {
            throw Problem(.usage, "\(error)")
        }
    }
}
