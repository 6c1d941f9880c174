internal import API
internal import CPlatform
internal import Client
internal import Dispatch
internal import HTTPServer
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Replication
internal import Pairs
internal import Server
internal import Sockets
internal import Storage
internal import TLS
internal import Transport
#if canImport(Glibc)
    internal import Glibc
#endif

/// A member as a process: started, announced to systemd, and stopped by signals.
struct Daemon: Sendable {
    enum Event: Sendable {
        case signal(Int32)
        case ended(MemberEnd)
    }

    private(set) var settings: ServeSettings
    let logger: Logger
    private let logOutput: LogOutput
    let group: MultiThreadedEventLoopGroup
    /// Peers have a thread of their own: a large answer to a client delays no heartbeat.
    let peerGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let events = Mailbox<Event>()
    private var limits = HTTPLimits()
    private let clientPort: Port
    /// For this machine's operators, whom no crowd at the other keeps out.
    private let localPort: Port
    private let peerPort: Port
    /// Without what the fabric's own CA makes: that is in the data directory.
    private let security: PortSecurity

    /// Takes the member's addresses: before anything is written, for a second start must change nothing.
    init(_ settings: ServeSettings) throws {
        self.settings = settings
        logOutput = LogOutput()
        logger = settings.makeLogger(logOutput)
        self.settings.server.startAnew = Self.startAnew
        self.settings.server.flushLog = { [logOutput] in logOutput.flush(milliseconds: 500) }
        self.settings.server.release = Version.weft
        // What it writes is nobody else's, whatever the umask was.
        umask(0o077)
        weft_report_crashes()
        // glibc gives each thread arenas that keep what was freed; two are enough for these lanes.
        weft_set_malloc_arenas(2)
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, System.coreCount))
        let files = Self.raiseFileLimit()
        limits.bodyBytesMax = settings.server.requestBytesMax * 2
        limits.connectionsMax = max(Self.connectionsMin, min(limits.connectionsMax, files - Self.filesReserved))
        limits.connectionsPerAddressMax =
            settings.connectionsPerAddressMax ?? max(Self.connectionsMin, limits.connectionsMax / 4)
        limits.callers = settings.callers
        limits.budget = settings.server.budget
        if !settings.server.clearTextAddresses.isEmpty {
            let addresses = settings.server.clearTextAddresses.joined(separator: ", ")
            logger.warning(
                "\(addresses): whoever is on the way reads and changes what goes there in clear text; see docs/security.md for https://"
            )
        }
        clientPort = HTTPListener.makePort(limits, logger)
        var localLimits = limits
        localLimits.connectionsMax = Self.localConnectionsMax
        localLimits.connectionsPerAddressMax = Self.localConnectionsMax
        localPort = HTTPListener.makePort(localLimits, logger)
        do throws(TLSError) {
            security = try PortSecurity(settings, logger)
        } catch {
            throw Problem(.usage, error.description)
        }
        let brought = [security.clients, security.peers?.server].compactMap(\.self)
        self.settings.server.broughtCertificateEnd = { brought.compactMap(\.current.certificateEnd).min() }
        if settings.clientTLS.certificateFile != nil, !settings.listenClient.contains(where: \.isSecure) {
            logger.warning("--cert-file is not used: --listen-client-urls has no https:// address")
        }
        peerPort = Transport.makePort(logger)
        for flag in IgnoredFlags.given {
            logger.warning("--\(flag) has no meaning in this version of weft and is ignored")
        }
        do {
            for endpoint in settings.listenClient {
                let address = ServeSettings.address(endpoint)
                try clientPort.bind(
                    host: address.host, port: address.port, group: group, isSecure: endpoint.isSecure)
            }
            for address in settings.listenPeer.map(ServeSettings.address) {
                try peerPort.bind(
                    host: address.host, port: address.port, group: peerGroup, backlog: 128, isSecure: address.isSecure)
            }
            try bindLocally()
        } catch let failure as BindFailure {
            throw Problem(.failed, failure.description)
        }
    }

    /// Where nobody asked for the socket, a member can do without it.
    private func bindLocally() throws {
        guard let path = settings.clientSocket else { return }
        do {
            try localPort.bind(path: path, group: group)
        } catch let failure as BindFailure where !settings.isSet.contains("client-socket") {
            logger.warning("\(failure.description)")
        }
    }

    /// Opens the member's directory.
    func openDirectory() throws -> DataDirectory {
        try DataDirectory(settings.server.dataDirectory, isForOwner: true) { logger.warning("\($0)") }
    }

    /// Files that are not clients' connections: databases, peers, images, and what a look-up or a thread opens for a moment.
    private static let filesReserved = 320
    private static let connectionsMin = 16
    /// Of the files reserved.
    private static let localConnectionsMax = 32

    /// Runs the member until it is told to stop.
    /// - Parameter joined: called with the running member of a join, before clients are let in.
    func run(
        _ directory: DataDirectory, ticket: JoinTicket? = nil,
        onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void = { _, _ in },
        joined: @escaping @Sendable (RunningMember) -> Void = { _ in }
    ) throws {
        let signals = [SIGTERM, SIGINT].map(watch)
        let identity = try RunningMember.identity(settings.server, directory, ticket)
        var security = security
        try security.useOwnAuthority(settings, directory, identity, joins: ticket != nil, logger)
        let member = try RunningMember.start(
            settings.server, directory: directory, identity: identity, ticket: ticket, port: peerPort,
            tls: security.peers, certificates: security.certificates, group: peerGroup, logger: logger,
            onEnd: { [events] in events.post(.ended($0)) }, onSnapshotProgress: onSnapshotProgress)
        member.awaitCaughtUp()
        let service = APIService(member: member)
        let listener = try HTTPListener(
            at: [clientPort, localPort], service: service, limits: limits, tls: security.clients)
        let urls = settings.listenClient.map(\.description).joined(separator: ", ")
        logger.info(
            """
            weft \(Version.weft): member \(member.name) (\(hex(member.id))) of fabric \(hex(member.clusterID)) \
            serves clients on \(urls), data in \(directory.path)
            """)
        try expectAnswer()
        ServiceManager.notify("READY=1\nSTATUS=member \(member.name), clients on \(urls)")
        Task(priority: .background) {
            await member.publishAttributes()
            await member.announceAddress()
            await member.announceDomain()
            await member.keepDomainsInStep()
        }
        Task(priority: .background) { await member.keepCertificates() }
        let pairs = Task(priority: .background) { await PairKeeper(of: member).run() }
        defer { pairs.cancel() }
        joined(member)
        defer { settings.server.flushLog() }
        try wait(member, listener)
        withExtendedLifetime(signals) {}
    }

    private static let answerNanoseconds: UInt64 = 10_000_000_000

    /// Asks this member's own port, as a client does: what nobody can reach is not ready, whatever it thinks of itself. A crowd
    /// that was waiting for the port may take the place of the one that asks, so it asks again.
    private func expectAnswer() throws {
        guard let endpoint = settings.listenClient.first else { return }
        let own = ["0.0.0.0": "127.0.0.1", "::": "::1"][endpoint.host] ?? endpoint.host
        let answers = Mailbox<(any Error)?>()
        let client = HTTPClient(group: group)
        let door = Endpoint(host: own, port: endpoint.port)
        let end = monotonicNanoseconds() + Self.answerNanoseconds
        Task(priority: .high) {
            while true {
                do {
                    if endpoint.isSecure {
                        try await SecureKnock.knock(at: door, group: group)
                    } else {
                        _ = try await client.send(.GET, door, "/livez")
                    }
                    return answers.post(nil)
                } catch {
                    guard monotonicNanoseconds() < end else { return answers.post(error) }
                    try? await Task.sleep(for: .milliseconds(100))
                }
            }
        }
        if case .some(let error)? = answers.take(until: nil).first {
            throw Problem(.failed, "this member does not answer at its own port: \(error)")
        }
    }

    private func wait(_ member: RunningMember, _ listener: HTTPListener) throws {
        switch events.take(until: nil)[0] {
        case .signal(let number):
            logger.info(
                "stopping on signal \(number): the lead is handed over and changes are written; a second signal stops at once"
            )
            ServiceManager.notify("STOPPING=1")
            let again = events
            startThread("weft-hurry") {
                // Everything acknowledged is on disk already, so leaving now loses nothing.
                if case .signal = again.take(until: nil).first { _exit(0) }
            }
            listener.shutDown()
            member.stop(quickly: false)
            // What was answered last is on its way.
            listener.drain(milliseconds: Self.drainMilliseconds)
            logger.info("stopped")
        case .ended(.directoryLost):
            ServiceManager.notify("STOPPING=1\nSTATUS=the data directory was taken away")
            member.handOver()
            throw Problem(
                .failed,
                "\(settings.server.dataDirectory) was removed or replaced while \"\(member.name)\" ran: put it back and start again"
            )
        case .ended(.forgotten):
            ServiceManager.notify("STOPPING=1\nSTATUS=the data of this member is lost")
            fail(
                Problem(
                    .unusable,
                    """
                    the other members know "\(member.name)" as a member that took part before, but \
                    \(settings.server.dataDirectory) holds nothing of it: its disk was lost or moved, and with it what it had \
                    promised. Remove it at another member (`weft member remove \(member.name)`), then run `weft join` with an \
                    empty data directory
                    """))
        case .ended(.disowned):
            ServiceManager.notify("STOPPING=1\nSTATUS=removed from the fabric")
            listener.shutDown()
            member.stop(quickly: true)
            throw Problem(
                .removed,
                """
                a majority of the fabric's members say that "\(member.name)" was removed. Nothing was changed in \
                \(settings.server.dataDirectory). If that is right, move it away and run `weft join` to come back as a new member
                """)
        case .ended(.removed):
            logger.notice("this member was removed from its fabric; it stops and will not start again as it was")
            ServiceManager.notify("STOPPING=1\nSTATUS=removed from the fabric")
            member.markRemoved()
            listener.shutDown()
            member.stop(quickly: true)
            // Whoever asked for it gets the answer.
            listener.drain(milliseconds: Self.drainMilliseconds)
            throw Problem(
                .removed,
                """
                "\(member.name)" was removed from its fabric and will not start again as it was. To come back as a new member, \
                move \(settings.server.dataDirectory) away and run `weft join`
                """)
        }
    }

    private func watch(_ number: Int32) -> any DispatchSourceSignal {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { [events] in events.post(.signal(number)) }
        source.resume()
        return source
    }

    private static let drainMilliseconds = 1000

    /// Begins again as this process was begun; what systemd or a shell waits for is the same process still. All files are closed
    /// with it.
    private static func startAnew() {
        let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        weft_start_anew(arguments)
    }

    /// As many files as the system lets this process have: each client is one. Answers how many.
    private static func raiseFileLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }
}

/// Runs work that blocks on a thread of its own, away from the threads that tasks share.
func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        startThread("weft-daemon") { continuation.resume(with: Result(catching: body)) }
    }
}

/// systemd's notification protocol, sd_notify(3).
enum ServiceManager {
    /// Tells systemd about a change of state; does nothing when it did not start this process.
    static func notify(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }), !path.isEmpty else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
        // An abstract socket's name begins with a zero byte, written as @.
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = sendto(descriptor, state, state.utf8.count, Int32(MSG_NOSIGNAL), generic, length)
            }
        }
    }
}
