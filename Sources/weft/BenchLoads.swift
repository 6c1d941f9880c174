internal import ArgumentParser
internal import Bench

/// The subcommands of `weft bench`.
struct PutLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Puts of single keys.",
        discussion: "Example:\n  weft bench put --clients 100 --keys 100000")
    @OptionGroup var flags: LoadFlags

    func run() async throws { try await flags.run(.put) }
}

struct RangeLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "range", abstract: "Reads of single keys, or of the whole prefix.",
        discussion: "Example:\n  weft bench range --fill --clients 100 --serializable")
    @Flag(help: "Read all keys of the prefix at once.")
    var all = false
    @Option(help: "At most so many keys of the prefix.")
    var limit: Int64 = 0
    @Option(help: "As of this revision.")
    var revision: Int64 = 0
    @Flag(help: "From the asked member's own state.")
    var serializable = false
    @Flag(help: "Only how many there are.")
    var countOnly = false
    @Flag(help: "Without values.")
    var keysOnly = false
    @OptionGroup var flags: LoadFlags

    func run() async throws {
        var options = Workload.RangeOptions()
        options.isPrefix = all
        options.limit = limit
        options.revision = revision
        options.isSerializable = serializable
        options.isCountOnly = countOnly
        options.isKeysOnly = keysOnly
        try await flags.run(.range(options))
    }
}

struct TxnLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "txn", abstract: "Replaces keys under the condition that nobody else did since they were read.",
        discussion: "Example:\n  weft bench txn --clients 100 --distribution zipf")
    @OptionGroup var flags: LoadFlags

    func run() async throws { try await flags.run(.txn) }
}

struct MixedLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mixed", abstract: "Puts and reads of single keys.",
        discussion: "Example:\n  weft bench mixed --reads 90 --clients 100")
    @Option(help: "Of 100 operations, how many are reads.")
    var reads = 80
    @Flag(help: "Read from the asked member's own state.")
    var serializable = false
    @OptionGroup var flags: LoadFlags

    func validate() throws {
        guard (0...100).contains(reads) else { throw ValidationError("--reads is of 100") }
    }

    func run() async throws { try await flags.run(.mixed(reads: reads, isSerializable: serializable)) }
}

struct LeaseLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lease", abstract: "Grants a lease, puts a key under it and leaves both to end.",
        discussion: "Example:\n  weft bench lease --ttl 5 --clients 100")
    @Option(help: "Seconds that a lease lives.")
    var ttl: Int64 = 5
    @OptionGroup var flags: LoadFlags

    func run() async throws { try await flags.run(.lease(ttl: ttl)) }
}

struct KeepAliveLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keep-alive", abstract: "Renews leases, one for each client, on streams that stay open.",
        discussion: "Example:\n  weft bench keep-alive --clients 1000 --rate 500")
    @Option(help: "Seconds that a lease lives.")
    var ttl: Int64 = 60
    @OptionGroup var flags: LoadFlags

    func run() async throws { try await flags.run(.keepAlive(ttl: ttl)) }
}

struct LockRefreshLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock-refresh",
        abstract: "Keeps a lock for each client as Portworx does: a new lease, and the lock's key moved to it.",
        discussion: "Example:\n  weft bench lock-refresh --clients 200 --rate 100")
    @Option(help: "Seconds that a lease lives.")
    var ttl: Int64 = 16
    @OptionGroup var flags: LoadFlags

    func run() async throws { try await flags.run(.lockRefresh(ttl: ttl)) }
}

struct WatchLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Puts that others watch: how long from a put to its event, how many events.",
        discussion: """
            Watcher number n watches key number n modulo --keys.
            Examples:
              weft bench watch --keys 1 --watchers 1000            # all on one key
              weft bench watch --keys 100000 --watchers 100000     # a key each
            """)
    @Option(help: "How many watches are open.")
    var watchers = 100
    @Option(help: "Their connections, beside those of the puts.")
    var watchConnections = 10
    @OptionGroup var flags: LoadFlags

    func validate() throws {
        guard watchers > 0, watchConnections > 0 else { throw ValidationError("there must be someone who watches") }
        guard flags.encoding == .grpc else { throw ValidationError("watches are measured over grpc") }
        guard flags.valueSize >= 16 else { throw ValidationError("a value needs 16 bytes for the time it was put") }
    }

    func run() async throws {
        var watching = LoadPlan.Watching()
        watching.watchers = watchers
        watching.connections = watchConnections
        try await flags.run(.put, watching: watching)
    }
}
