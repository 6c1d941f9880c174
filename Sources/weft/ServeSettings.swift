internal import Bytes
internal import Fabric
internal import HTTPServer
internal import ArgumentParser
internal import Client
internal import Credentials
internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import Server
internal import SettingsFile
internal import Sockets
internal import TLS
internal import Transport
#if canImport(Glibc)
    internal import Glibc
#endif

/// How a daemon runs: flags over environment over file over defaults.
struct ServeSettings {
    var server = ServerSettings()
    var listenClient: [Endpoint] = []
    /// The path of the socket by which this machine's operators come.
    private(set) var clientSocket: String?
    var listenPeer: [Endpoint] = []
    var logLevel = Logger.Level.info
    /// From where clients' requests are taken.
    var callers = CallerRules()
    var connectionsPerAddressMax: Int?
    /// For client addresses that are secure.
    var clientTLS = TLSSettings()
    var peers = PeerSecurity()
    private(set) var demandsCertificates = false
    /// By what else this member is reached: names for certificates of the fabric's own CA.
    private(set) var tlsNames: [String] = []
    /// Keys that were set somewhere; the others have their defaults.
    private(set) var isSet: Set<String> = []
    private var initialCluster: String?
    private var founds = false
    private var compactionMode = "periodic"
    private var compactionRetention = "0"

    init(_ flags: ServeFlags) throws {
        try self.init(given: flags.given, configFile: flags.configFile)
    }

    /// - Parameter given: on the command line, by flag name.
    init(given: [(key: String, value: String)], configFile: String? = nil) throws {
        var values: [String: (value: String, source: String)] = [:]
        let environment = Self.environment()
        let file = configFile ?? environment.first { $0.key == "config-file" }?.value
        if let file {
            for setting in try ConfigurationFile.read(file) { values[setting.key] = (setting.value, setting.source) }
        }
        for (key, value) in environment where key != "config-file" {
            values[key] = (value, "environment variable \(Self.variable(key))")
        }
        for (key, value) in given { values[key] = (value, "--\(key)") }
        for (key, setting) in values.sorted(by: { $0.key < $1.key }) {
            do {
                try set(key, setting.value)
            } catch let problem as Problem {
                throw Problem(.usage, "\(setting.source): \(problem.text)")
            }
            isSet.insert(key)
        }
        try complete()
    }

    /// Takes up what a join found out and nobody set since.
    mutating func adopt(_ found: [(key: String, value: String)]) throws {
        let given = isSet
        for (key, value) in found where !isSet.contains(key) {
            // Who is told to listen elsewhere is reached there.
            let listener = [
                "advertise-client-urls": "listen-client-urls", "initial-advertise-peer-urls": "listen-peer-urls",
            ][key]
            if let listener, given.contains(listener) { continue }
            try set(key, value)
            isSet.insert(key)
        }
    }

    /// The addresses in force, as a later start takes them up.
    var addresses: [(key: String, value: String)] {
        [
            ("listen-peer-urls", listenPeer.map(\.description).joined(separator: ",")),
            ("listen-client-urls", listenClient.map(\.description).joined(separator: ",")),
            ("initial-advertise-peer-urls", server.advertisedPeerURLs.joined(separator: ",")),
            ("advertise-client-urls", server.advertisedClientURLs.joined(separator: ",")),
        ]
    }

    static let keys = [
        "name", "domain", "data-dir", "listen-peer-urls", "listen-client-urls", "client-socket",
        "initial-advertise-peer-urls",
        "advertise-client-urls", "found", "initial-cluster", "initial-cluster-state", "initial-cluster-token",
        "heartbeat-interval", "election-timeout", "lease-reads", "snapshot-count", "snapshot-catchup-entries",
        "checkpoint-interval", "scrub-interval", "auto-compaction-mode", "auto-compaction-retention",
        "quota-backend-bytes",
        "watch-progress-notify-interval", "experimental-watch-progress-notify-interval", "max-txn-ops",
        "max-request-bytes", "cert-file", "key-file", "trusted-ca-file", "client-cert-auth", "client-crl-file",
        "client-cert-allowed-hostname", "tls-san", "cipher-suites", "tls-min-version", "tls-max-version", "cors",
        "host-whitelist",
        "peer-cert-file", "peer-key-file", "peer-client-cert-file", "peer-client-key-file", "peer-trusted-ca-file",
        "peer-client-cert-auth", "peer-crl-file", "peer-cert-allowed-cn", "peer-cert-allowed-hostname",
        "peer-skip-client-san-verification", "auto-tls", "peer-auto-tls",
        "auth-token", "auth-token-ttl", "bcrypt-cost",
        "max-connections-per-address", "memory-budget", "log-level",
        "config-file",
    ]

    private static func variable(_ key: String) -> String {
        "WEFT_" + key.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }

    private static func environment() -> [(key: String, value: String)] {
        keys.compactMap { key in getenv(variable(key)).map { (key, String(cString: $0)) } }
    }

    private mutating func set(_ key: String, _ value: String) throws {
        switch key {
        case "name":
            guard !value.isEmpty, !value.contains(where: { $0.isNewline || $0 == "," || $0 == "=" }) else {
                throw Problem(.usage, "a name is one line without commas and equals signs")
            }
            server.name = value
        case "domain":
            guard Domain.canBeNamed(value) else {
                throw Problem(
                    .usage,
                    "domain \"\(value)\": letters, digits, dots, dashes and underscores, a letter or digit first")
            }
            server.domain = value
        case "data-dir": server.dataDirectory = value
        case "listen-peer-urls": listenPeer = try peerEndpoints(value)
        case "listen-client-urls": listenClient = try endpoints(value)
        case "initial-advertise-peer-urls": server.advertisedPeerURLs = try peerEndpoints(value).map(\.description)
        case "advertise-client-urls": server.advertisedClientURLs = try endpoints(value).map(\.description)
        case "initial-cluster": initialCluster = value
        case "found":
            founds = try flag(value)
        case "initial-cluster-state":
            guard value == "new" || value == "existing" else {
                throw Problem(.usage, "\(value) is neither new nor existing")
            }
            server.mayFound = value == "new"
        case "initial-cluster-token": server.clusterToken = value
        case "heartbeat-interval": server.replication.heartbeatMilliseconds = try number(value, 1...10_000)
        case "election-timeout": server.replication.electionMilliseconds = try number(value, 2...50_000)
        case "lease-reads":
            throw Problem(
                .usage,
                "it is a setting of the whole fabric now, and off: take it out, and see `weft lease-reads --help`")
        case "snapshot-count": server.replication.snapshotCount = UInt64(try number(value, 1...1_000_000_000))
        case "snapshot-catchup-entries":
            server.replication.catchUpEntries = UInt64(try number(value, 1...1_000_000_000))
        case "checkpoint-interval":
            server.replication.memtableMillisecondsMax = UInt64(try number(value, 100...3_600_000))
        case "auto-compaction-mode":
            guard ["periodic", "revision"].contains(value) else {
                throw Problem(.usage, "\(value) is neither periodic nor revision")
            }
            compactionMode = value
        case "auto-compaction-retention": compactionRetention = value
        case "quota-backend-bytes":
            guard let bytes = Int64(value) else { throw Problem(.usage, "\"\(value)\" is no number of bytes") }
            if bytes != 0 { server.replication.quotaBytes = bytes > 0 ? bytes : .max }
        case "scrub-interval":
            server.scrubNanoseconds = try value == "0" ? 0 : time(value, atLeast: 0, "1h")
        case "watch-progress-notify-interval", "experimental-watch-progress-notify-interval":
            server.watchProgressNanoseconds = try time(value, atLeast: 100_000_000, "10m")
        case "max-txn-ops": server.limits.transactionOperationsMax = try number(value, 1...1_000_000)
        case "max-request-bytes": server.requestBytesMax = try number(value, 1024...(16 << 20))
        case "max-connections-per-address": connectionsPerAddressMax = try number(value, 1...1_000_000)
        case "memory-budget": server.budget = MemoryBudget(bytesMax: try number(value, (64 << 20)...(1 << 50)))
        case "log-level":
            let names = ["warn": "warning", "dpanic": "critical", "panic": "critical", "fatal": "critical"]
            guard let level = Logger.Level(rawValue: names[value] ?? value) else {
                throw Problem(.usage, "\"\(value)\" is none of debug, info, warn, error, critical")
            }
            logLevel = level
        default: try setSecurity(key, value)
        }
    }

    /// Who may come, and as whom.
    private mutating func setSecurity(_ key: String, _ value: String) throws {
        switch key {
        case "client-socket":
            guard value == "none" || value.hasPrefix("/") else {
                throw Problem(.usage, "\(value) is neither none nor a path from / on")
            }
            clientSocket = value == "none" ? nil : value
        case "cors": callers.origins = Set(Self.list(value))
        case "host-whitelist": callers.hosts = value.isEmpty ? nil : Set(Self.list(value).map { $0.lowercased() })
        case "auth-token":
            do { server.tokens = try TokenSettings(value) } catch { throw Problem(.usage, "\(error)") }
        case "auto-tls", "peer-auto-tls":
            // With certificates that anybody may have made, as etcd does it, TLS proves nothing.
            guard try !flag(value) else {
                throw Problem(
                    .usage,
                    "at https:// addresses the fabric makes certificates of its own CA, which prove who is who: leave it out"
                )
            }
        case "auth-token-ttl": server.tokenSeconds = UInt64(try number(value, 1...1_000_000_000))
        case "bcrypt-cost": server.bcryptCost = try number(value, PasswordHash.costs)
        case "cert-file": clientTLS.certificateFile = value
        case "key-file": clientTLS.keyFile = value
        case "trusted-ca-file": clientTLS.trustedCAFile = value
        case "client-cert-auth": demandsCertificates = try flag(value)
        case "client-crl-file": clientTLS.crlFile = value
        case "client-cert-allowed-hostname": clientTLS.allowedHostname = value
        case "tls-san": tlsNames = Self.list(value)
        case "peer-client-cert-auth": peers.demandsCertificates = try flag(value)
        case "peer-skip-client-san-verification": peers.checksAddresses = try !flag(value)
        case _ where peers.set(key, value): break
        case "cipher-suites": clientTLS.cipherSuites = Self.list(value)
        case "tls-min-version": clientTLS.lowestVersion = try tlsVersion(value) ?? .tls12
        case "tls-max-version": clientTLS.highestVersion = try tlsVersion(value)
        default: throw Problem(.usage, "unknown setting \"\(key)\"")
        }
    }

    private static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    private func flag(_ text: String) throws -> Bool {
        guard let flag = Bool(text) else { throw Problem(.usage, "\(text) is neither true nor false") }
        return flag
    }

    /// Nil for an empty text, which leaves the choice to this release.
    private func tlsVersion(_ text: String) throws -> TLSSettings.Version? {
        if text.isEmpty { return nil }
        guard let version = TLSSettings.Version(rawValue: text) else {
            throw Problem(.usage, "\(text) is neither TLS1.2 nor TLS1.3")
        }
        return version
    }

    private func number(_ text: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw Problem(.usage, "\"\(text)\" is no whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Nanoseconds.
    private func time(_ text: String, atLeast least: UInt64, _ example: String) throws -> UInt64 {
        guard let time = Durations.nanoseconds(text), time >= least else {
            let bound = least > 0 ? " of at least \(least / 1_000_000)ms" : ""
            throw Problem(.usage, "\"\(text)\" is no time\(bound), such as \(example)")
        }
        return time
    }

    private func endpoints(_ text: String) throws -> [Endpoint] {
        let parts = text.split(separator: ",").map { String($0.drop { $0 == " " }) }
        guard !parts.isEmpty else { throw Problem(.usage, "a URL is expected, such as http://127.0.0.1:2379") }
        return try parts.map { part in
            guard part.hasPrefix("http://") || part.hasPrefix("https://"), let endpoint = Endpoint(part) else {
                throw Problem(.usage, "\"\(part)\" is no URL of the form http://HOST:PORT or https://HOST:PORT")
            }
            return endpoint
        }
    }

    private func peerEndpoints(_ text: String) throws -> [Endpoint] {
        try endpoints(text)
    }

    private func autoCompaction() throws -> AutoCompaction {
        let text = compactionRetention
        let isRevision = compactionMode == "revision"
        // 30 years are for ever; more would be a number of revisions.
        if let number = Int64(text), (0...(isRevision ? 1 << 60 : 262_800)).contains(number) {
            if number == 0 { return .off }
            return isRevision ? .revision(retained: number) : .periodic(seconds: UInt64(number) * 3600)
        }
        guard compactionMode == "periodic", let period = Durations.nanoseconds(text), period >= 1_000_000_000 else {
            throw Problem(
                .usage,
                "--auto-compaction-retention: \"\(text)\" is neither a number nor a time of at least 1s, such as 30m, that --auto-compaction-mode periodic takes"
            )
        }
        return .periodic(seconds: period / 1_000_000_000)
    }

    private mutating func complete() throws {
        server.replication.autoCompaction = try autoCompaction()
        if listenClient.isEmpty { listenClient = [Endpoint(host: "localhost", port: 2379)] }
        // Members are at no less secure a port than clients, unless that was said.
        if listenPeer.isEmpty {
            listenPeer = [Endpoint(host: "localhost", port: 2380, isSecure: usesOwnAuthorityForClients)]
            if !isSet.contains("initial-advertise-peer-urls") {
                server.advertisedPeerURLs = listenPeer.map(\.description)
            }
        }
        if !isSet.contains("client-socket"), let directories = getenv("RUNTIME_DIRECTORY") {
            // systemd separates several by colons.
            clientSocket = String(cString: directories).split(separator: ":").first.map { $0 + "/client" }
        }
        try checkTLS()
        try deriveAdvertised()
        server.isPeerAddressSaid = isSet.contains("initial-advertise-peer-urls") || isSet.contains("listen-peer-urls")
        if !isSet.contains("data-dir") { server.dataDirectory = "\(server.name).weft" }
        guard server.replication.electionMilliseconds >= 5 * server.replication.heartbeatMilliseconds else {
            throw Problem(
                .usage,
                "--election-timeout \(server.replication.electionMilliseconds) must be at least five times --heartbeat-interval \(server.replication.heartbeatMilliseconds)"
            )
        }
        server.clearTextAddresses = clearTextAddresses.map(\.description)
        callers.ownHosts = Set(
            (listenClient + server.advertisedClientURLs.compactMap(Endpoint.init)).map { $0.host.lowercased() })
        server.founders = try founders()
        server.isFoundingAsked = founds || initialCluster != nil || isTrial
        if let own = server.founders.first(where: { $0.name == server.name }),
            initialCluster != nil,
            own.peerURLs.sorted() != server.advertisedPeerURLs.sorted()
        {
            throw Problem(
                .usage,
                "--initial-cluster has \(own.peerURLs.joined(separator: ",")) for \(server.name), but --initial-advertise-peer-urls is \(server.advertisedPeerURLs.joined(separator: ","))"
            )
        }
    }

    /// What contradicts itself is said before anything begins.
    private mutating func checkTLS() throws {
        guard (clientTLS.certificateFile == nil) == (clientTLS.keyFile == nil) else {
            throw Problem(.usage, "--cert-file and --key-file go together")
        }
        guard !demandsCertificates || clientTLS.trustedCAFile != nil || usesOwnAuthorityForClients else {
            throw Problem(
                .usage, "--client-cert-auth: --trusted-ca-file must say of which CAs clients' certificates may be")
        }
        guard clientTLS.trustedCAFile != nil || clientTLS.crlFile == nil && clientTLS.allowedHostname == nil else {
            throw Problem(.usage, "what is asked of clients' certificates needs --trusted-ca-file")
        }
        guard clientTLS.cipherSuites.isEmpty || clientTLS.lowestVersion < .tls13 else {
            throw Problem(.usage, "--cipher-suites: those of TLS 1.3, the lowest version, are not to choose")
        }
        try peers.check(isSecure: listenPeer.contains(where: \.isSecure))
        let isSecure = listenClient.contains(where: \.isSecure)
        // It would be open to everybody instead.
        guard isSecure || clientTLS.trustedCAFile == nil else {
            throw Problem(
                .usage,
                "--trusted-ca-file asks for clients' certificates, but --listen-client-urls has no https:// address")
        }
        guard !usesOwnAuthorityForClients || clientTLS.trustedCAFile == nil else {
            throw Problem(
                .usage,
                "--trusted-ca-file needs --cert-file and --key-file; without any the fabric makes certificates of its own"
            )
        }
        guard tlsNames.isEmpty || usesOwnAuthority else {
            throw Problem(
                .usage, "--tls-san is for certificates that the fabric makes; here all are brought, or none is used")
        }
        // Where it was written, and where nobody could show a certificate of the fabric's CA.
        server.letsStrangersIn =
            !usesOwnAuthorityForClients || isSet.contains("client-cert-auth") && !demandsCertificates
    }

    /// Who listens somewhere else than at the default is reached there, unless it is said otherwise.
    private mutating func deriveAdvertised() throws {
        if isSet.contains("listen-client-urls"), !isSet.contains("advertise-client-urls") {
            server.advertisedClientURLs = listenClient.map(\.description)
        }
        if isSet.contains("listen-peer-urls"), !isSet.contains("initial-advertise-peer-urls") {
            server.advertisedPeerURLs = listenPeer.map(\.description)
        }
    }

    /// Where others come in clear text.
    var clearTextAddresses: [Endpoint] {
        (listenClient + listenPeer).filter { !$0.isSecure && !isLoopback($0.host) }
    }

    /// If nobody beyond this machine can reach the member.
    private var isTrial: Bool {
        let advertised = (server.advertisedClientURLs + server.advertisedPeerURLs).compactMap(Endpoint.init)
        return (listenClient + listenPeer + advertised).allSatisfy { isLoopback($0.host) }
    }

    /// If peers or clients would be told to come to "any address".
    var advertisesAnyAddress: Bool {
        (server.advertisedClientURLs + server.advertisedPeerURLs).contains { url in
            Endpoint(url).map { ["0.0.0.0", "::"].contains($0.host) } ?? false
        }
    }

    private func founders() throws -> [ServerSettings.Founder] {
        guard let initialCluster else {
            return [ServerSettings.Founder(name: server.name, peerURLs: server.advertisedPeerURLs)]
        }
        var founders: [ServerSettings.Founder] = []
        for part in initialCluster.split(separator: ",") {
            let sides = part.split(separator: "=", maxSplits: 1)
            guard sides.count == 2 else {
                throw Problem(.usage, "--initial-cluster: \"\(part)\" is not NAME=URL")
            }
            let url = try peerEndpoints(String(sides[1]))[0].description
            if let known = founders.firstIndex(where: { $0.name == sides[0] }) {
                founders[known].peerURLs.append(url)
            } else {
                founders.append(ServerSettings.Founder(name: String(sides[0]), peerURLs: [url]))
            }
        }
        return founders
    }

    /// `localhost` is bound as 127.0.0.1: a name with two addresses is a listener that half of the clients miss.
    static func address(_ endpoint: Endpoint) -> PeerAddress {
        PeerAddress(
            host: endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host, port: endpoint.port,
            isSecure: endpoint.isSecure)
    }

    func makeLogger(_ output: LogOutput) -> Logger {
        var logger = Logger(label: "weft", factory: { LogOutputHandler(label: $0, output: output) })
        logger.logLevel = logLevel
        return logger
    }
}

/// A YAML file of settings: flat keys, the names of the flags.
enum ConfigurationFile {
    static func read(_ path: String) throws -> [(key: String, value: String, source: String)] {
        guard let file = fopen(path, "r") else {
            throw Problem(.usage, "cannot read \(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Problem(.usage, "\(path) is not UTF-8") }
        return try parse(text, path: path)
    }

    private static func parse(_ text: String, path: String) throws -> [(key: String, value: String, source: String)] {
        let settings: [SettingsFile.Setting]
        do throws(SettingsFile.Fault) {
            settings = try SettingsFile.parse(text)
        } catch {
            throw Problem(.usage, "\(path): \(error)")
        }
        return try settings.compactMap { found in
            var setting = found
            setting.key = EtcdSections.flag(of: found.key) ?? found.key
            if IgnoredFlags.names.contains(setting.key) {
                IgnoredFlags.note(setting.key)
                return nil
            }
            guard ServeSettings.keys.contains(setting.key), setting.key != "config-file" else {
                throw Problem(.usage, "\(path): line \(setting.line): unknown key \"\(found.key)\"")
            }
            return (setting.key, setting.value, "\(path): line \(setting.line): \(setting.key)")
        }
    }
}
