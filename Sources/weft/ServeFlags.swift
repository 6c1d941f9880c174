internal import ArgumentParser
internal import Synchronization

/// The flags of a running member: etcd's names and defaults.
struct ServeFlags: ParsableArguments {
    @Option(help: "Read these settings from a YAML file; its keys are the names of these flags.")
    var configFile: String?

    @Option(help: "The member's name, unique in the fabric. (default: default)")
    var name: String?

    @Option(help: "The failure domain this machine belongs to: usually its Kubernetes cluster. (default: none)")
    var domain: String?

    @Option(help: "Where the member keeps its data. (default: NAME.weft)")
    var dataDir: String?

    @Option(help: "Where to listen for peers. (default: http://localhost:2380)")
    var listenPeerUrls: String?

    @Option(help: "Where to listen for clients. (default: http://localhost:2379)")
    var listenClientUrls: String?

    @Option(
        help:
            "The path of a socket at which root and this process's group have all rights; none for no such socket. (default: client in the directory that systemd names in RUNTIME_DIRECTORY, else none)"
    )
    var clientSocket: String?

    @Option(help: "Where peers reach this member. (default: http://localhost:2380)")
    var initialAdvertisePeerUrls: String?

    @Option(help: "Where clients reach this member. (default: http://localhost:2379)")
    var advertiseClientUrls: String?

    @Flag(help: "Let an empty data directory begin a fabric of this member alone, to be joined by others.")
    var found = false

    @Option(help: "The founding members, as NAME=URL,NAME=URL. (default: NAME=advertised peer URL)")
    var initialCluster: String?

    @Option(help: "new; for a fabric that exists use `weft join`. (default: new)")
    var initialClusterState: String?

    @Option(help: "Tells fabrics apart whose founders have the same URLs. (default: etcd-cluster)")
    var initialClusterToken: String?

    @Option(help: "Milliseconds between heartbeats. (default: 100)")
    var heartbeatInterval: String?

    @Option(help: "Milliseconds without a leader until an election. (default: 1000)")
    var electionTimeout: String?

    @Option(help: .hidden)
    var leaseReads: String?

    @Option(help: "Log entries beyond those kept for slow followers at which the log is cut. (default: 10000)")
    var snapshotCount: String?

    @Option(help: "Log entries kept for slow followers. (default: 5000)")
    var snapshotCatchupEntries: String?

    @Option(help: "Milliseconds until changes in memory are written to kv.db. (default: 5000)")
    var checkpointInterval: String?

    @Option(help: "Rest between two walks over all of kv.db in search of damage; 0 is never. (default: 1h)")
    var scrubInterval: String?

    @Option(help: "periodic or revision: what --auto-compaction-retention counts. (default: periodic)")
    var autoCompactionMode: String?

    @Option(
        help:
            "History that is kept when compacting by itself: hours or a time such as 30m, or so many revisions; 0 is never. (default: 0)"
    )
    var autoCompactionRetention: String?

    @Option(
        help: "Bytes of keys, values and history at which puts are refused; negative is never. (default: 2147483648)")
    var quotaBackendBytes: String?

    @Option(
        name: [
            .customLong("watch-progress-notify-interval"), .customLong("experimental-watch-progress-notify-interval"),
        ],
        help: "How often watches that ask for it hear that nothing happened. (default: 10m)")
    var watchProgressNotifyInterval: String?

    @Option(help: "Most operations in a txn. (default: 128)")
    var maxTxnOps: String?

    @Option(help: "Most bytes in a request. (default: 1572864)")
    var maxRequestBytes: String?

    @Option(help: "The certificate that clients see at https:// addresses, and those of its issuers.")
    var certFile: String?

    @Option(
        help:
            "Further names and addresses for the certificate that the fabric's own CA makes for this member: a load balancer's, a Service's."
    )
    var tlsSan: String?

    @Option(help: "The key of --cert-file.")
    var keyFile: String?

    @Option(help: "Let only clients in that show a certificate of these CAs.")
    var trustedCaFile: String?

    @Option(help: "true: clients show a certificate of --trusted-ca-file, as that demands by itself.")
    var clientCertAuth: String?

    @Option(help: "Clients' certificates that were taken back.")
    var clientCrlFile: String?

    @Option(help: "Let only clients in whose certificate is for this name.")
    var clientCertAllowedHostname: String?

    @Option(help: "The certificate that members see at https:// peer addresses, and show when they call others.")
    var peerCertFile: String?

    @Option(help: "The key of --peer-cert-file.")
    var peerKeyFile: String?

    @Option(help: "Another certificate to show when this member calls others.")
    var peerClientCertFile: String?

    @Option(help: "The key of --peer-client-cert-file.")
    var peerClientKeyFile: String?

    @Option(help: "Talk only to members that show a certificate of these CAs.")
    var peerTrustedCaFile: String?

    @Option(help: "true: members show a certificate of --peer-trusted-ca-file, as that demands by itself.")
    var peerClientCertAuth: String?

    @Option(help: "Members' certificates that were taken back.")
    var peerCrlFile: String?

    @Option(help: "Talk only to members whose certificate calls itself so.")
    var peerCertAllowedCn: String?

    @Option(help: "Let only members in whose certificate is for this name.")
    var peerCertAllowedHostname: String?

    @Option(help: "true: members may call from other addresses than their certificates are for. (default: false)")
    var peerSkipClientSanVerification: String?

    @Option(help: .hidden)
    var autoTls: String?

    @Option(help: .hidden)
    var peerAutoTls: String?

    @Option(help: "Cipher suites of TLS 1.2, with commas between. (default: those with ECDHE and AES-GCM or ChaCha20)")
    var cipherSuites: String?

    @Option(help: "TLS1.2 or TLS1.3. (default: TLS1.2)")
    var tlsMinVersion: String?

    @Option(help: "TLS1.2 or TLS1.3. (default: the newest)")
    var tlsMaxVersion: String?

    @Option(
        help:
            "Tokens of users: simple, or jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=5m. (default: simple)")
    var authToken: String?

    @Option(help: "Seconds that a simple token lives without being used. (default: 300)")
    var authTokenTTL: String?

    @Option(help: "How costly a password is to guess, and to check: 4 to 31. (default: 10)")
    var bcryptCost: String?

    @Option(help: "Origins whose pages may ask, with commas between; * is all. (default: none)")
    var cors: String?

    @Option(
        help:
            "Hosts that requests may name, with commas between; * is all. (default: any, but of pages only this member's)"
    )
    var hostWhitelist: String?

    @Option(
        help:
            "Connections of clients at once from one address. (default: a quarter of what the limit of open files lets in)"
    )
    var maxConnectionsPerAddress: String?

    @Option(
        help:
            "Bytes that requests and answers may take in memory together. (default: a quarter of the machine's, 4 GiB at most)"
    )
    var memoryBudget: String?

    @Option(help: "debug, info, warn, error or critical. (default: info)")
    var logLevel: String?

    /// What was given on the command line, by flag name.
    var given: [(key: String, value: String)] {
        let all: [(String, String?)] = [
            ("name", name), ("domain", domain), ("data-dir", dataDir), ("listen-peer-urls", listenPeerUrls),
            ("listen-client-urls", listenClientUrls), ("client-socket", clientSocket),
            ("initial-advertise-peer-urls", initialAdvertisePeerUrls),
            ("advertise-client-urls", advertiseClientUrls), ("found", found ? "true" : nil),
            ("initial-cluster", initialCluster),
            ("initial-cluster-state", initialClusterState), ("initial-cluster-token", initialClusterToken),
            ("heartbeat-interval", heartbeatInterval), ("election-timeout", electionTimeout),
            ("lease-reads", leaseReads), ("snapshot-count", snapshotCount),
            ("snapshot-catchup-entries", snapshotCatchupEntries),
            ("checkpoint-interval", checkpointInterval), ("scrub-interval", scrubInterval),
            ("auto-compaction-mode", autoCompactionMode),
            ("auto-compaction-retention", autoCompactionRetention), ("quota-backend-bytes", quotaBackendBytes),
            ("watch-progress-notify-interval", watchProgressNotifyInterval), ("max-txn-ops", maxTxnOps),
            ("max-request-bytes", maxRequestBytes), ("cert-file", certFile), ("key-file", keyFile), ("tls-san", tlsSan),
            ("trusted-ca-file", trustedCaFile), ("client-cert-auth", clientCertAuth),
            ("client-crl-file", clientCrlFile), ("client-cert-allowed-hostname", clientCertAllowedHostname),
            ("peer-cert-file", peerCertFile), ("peer-key-file", peerKeyFile),
            ("peer-client-cert-file", peerClientCertFile), ("peer-client-key-file", peerClientKeyFile),
            ("peer-trusted-ca-file", peerTrustedCaFile), ("peer-client-cert-auth", peerClientCertAuth),
            ("peer-crl-file", peerCrlFile), ("peer-cert-allowed-cn", peerCertAllowedCn),
            ("peer-cert-allowed-hostname", peerCertAllowedHostname),
            ("peer-skip-client-san-verification", peerSkipClientSanVerification), ("auto-tls", autoTls),
            ("peer-auto-tls", peerAutoTls),
            ("cipher-suites", cipherSuites), ("tls-min-version", tlsMinVersion), ("tls-max-version", tlsMaxVersion),
            ("auth-token", authToken), ("auth-token-ttl", authTokenTTL), ("bcrypt-cost", bcryptCost),
            ("cors", cors), ("host-whitelist", hostWhitelist),
            ("max-connections-per-address", maxConnectionsPerAddress), ("memory-budget", memoryBudget),
            ("log-level", logLevel),
        ]
        return all.compactMap { key, value in value.map { (key, $0) } }
    }
}

/// Flags of etcd that mean nothing here: they are taken, so that a unit file written for etcd starts weft, and reported.
enum IgnoredFlags {
    static let names: Set<String> = [
        "backend-batch-interval", "backend-batch-limit", "client-cert-file", "client-key-file",
        "compact-hash-check-enabled", "compact-hash-check-time",
        "compaction-batch-limit", "compaction-sleep-interval", "corrupt-check-time", "downgrade-check-time",
        "enable-grpc-gateway",
        "enable-pprof", "enable-v2", "experimental-compact-hash-check-enabled", "experimental-corrupt-check-time",
        "experimental-initial-corrupt-check", "grpc-keepalive-interval",
        "grpc-keepalive-min-time", "grpc-keepalive-timeout", "initial-election-tick-advance", "listen-metrics-urls",
        "log-format", "log-outputs", "logger",
        "max-concurrent-streams", "max-learners", "max-snapshots", "max-wals", "metrics", "pre-vote",
        "self-signed-cert-validity",
        "socket-reuse-address", "socket-reuse-port", "strict-reconfig-check", "v2-deprecation",
        "wal-dir", "warning-apply-duration", "warning-unary-request-duration",
    ]

    /// Those of them that take no value unless it stands after an equals sign.
    private static let switches: Set<String> = [
        "enable-grpc-gateway", "enable-pprof", "enable-v2", "experimental-compact-hash-check-enabled",
        "experimental-initial-corrupt-check", "initial-election-tick-advance", "pre-vote", "socket-reuse-address",
        "socket-reuse-port", "strict-reconfig-check", "compact-hash-check-enabled",
    ]

    private static let found = Mutex<[String]>([])

    /// The names that were given, for the log.
    static var given: [String] { found.withLock { $0 } }

    static func note(_ name: String) { found.withLock { $0.append(name) } }

    /// Flags of weft that etcd takes without a value: then they mean true.
    private static let booleans: Set<String> = [
        "auto-tls", "client-cert-auth", "peer-auto-tls", "peer-client-cert-auth", "peer-skip-client-san-verification",
    ]

    /// The arguments of `serve` and `join` without the ignored flags and their values.
    static func remove(from arguments: [String]) -> [String] {
        guard let command = arguments.first, command == "serve" || command == "join" else { return arguments }
        var kept: [String] = []
        var place = 0
        while place < arguments.count {
            let argument = arguments[place]
            let name = String(argument.drop { $0 == "-" }.prefix { $0 != "=" })
            if argument.hasPrefix("-"), names.contains(name) {
                note(name)
                let hasOwnValue = argument.contains("=")
                let next = place + 1 < arguments.count ? arguments[place + 1] : "-"
                if !hasOwnValue, !switches.contains(name), !next.hasPrefix("-") { place += 1 }
            } else if argument.hasPrefix("-"), booleans.contains(name), !argument.contains("="),
                place + 1 == arguments.count || Bool(arguments[place + 1]) == nil
            {
                kept.append(argument + "=true")
            } else {
                kept.append(argument)
            }
            place += 1
        }
        return kept
    }
}
