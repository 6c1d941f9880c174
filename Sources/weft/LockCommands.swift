internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

struct Lock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take a lock and hold it, alone or while a command runs.",
        discussion: """
            Prints the key that stands for the lock, and holds it until it is interrupted; or runs COMMAND with ETCD_LOCK_KEY
            and ETCD_LOCK_REV set, and exits with its exit code. ETCD_LOCK_REV is a fencing token: it only ever grows; who
            writes to something that the lock protects shows it there.

            The lock belongs to a lease that is kept alive. Should it be lost all the same, the command is stopped.

            Examples:
              weft lock backup
              weft lock backup -- /usr/local/bin/backup --all
            """)

    @Argument(help: "What to lock.")
    var name: String
    @Argument(parsing: .postTerminator, help: "What to run while it is held.")
    var command: [String] = []
    @Option(help: "Seconds after which the lock is free if this process dies.")
    var ttl: Int64 = 10
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        try await Holder(flags: flags, ttl: ttl, path: "/v3/lock/lock").hold { json, lease in
            json.field("name", Array(name.utf8))
            json.field("lease", lease)
        } key: { answer in
            answer["key"]?.text.flatMap(Base64.decode) ?? []
        } whileHeld: { key, revision in
            guard !command.isEmpty else {
                try Console.output(key + [10])
                return nil
            }
            return try Child(
                command,
                environment: [
                    ("ETCD_LOCK_KEY", String(decoding: key, as: UTF8.self)), ("ETCD_LOCK_REV", String(revision)),
                ])
        }
    }
}

struct Elect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stand for election and lead until interrupted, or listen to who leads.",
        discussion: """
            Examples:
              weft elect mirror host-1
              weft elect mirror --listen
            """)

    @Argument(help: "What is led.")
    var name: String
    @Argument(help: "What the others learn of this leader.")
    var proposal: String?
    @Flag(name: .shortAndLong, help: "Print each leader's key and proposal instead.")
    var listen = false
    @Option(help: "Seconds after which another leads if this process dies.")
    var ttl: Int64 = 10
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        if listen { return try await observe() }
        guard let proposal else { throw Problem(.usage, "a proposal is missing; --listen needs none") }
        try await Holder(flags: flags, ttl: ttl, path: "/v3/election/campaign").hold { json, lease in
            json.field("name", Array(name.utf8))
            json.field("value", Array(proposal.utf8))
            json.field("lease", lease)
        } key: { answer in
            answer["leader"]?["key"]?.text.flatMap(Base64.decode) ?? []
        } whileHeld: { key, _ in
            try Console.output(key + [10] + Array(proposal.utf8) + [10])
            return nil
        }
    }

    private func observe() async throws {
        var body = JSONWriter()
        body.object { $0.field("name", Array(name.utf8)) }
        let bytes = body.bytes
        while true {
            do { try await observe(bytes) } catch let problem as Problem where problem.kind == .unavailable {
                Console.error("weft: \(problem.text); trying again")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    private func observe(_ bytes: [UInt8]) async throws {
        try await flags.ask { client in
            let lines = Lines { line in
                let answer = try JSONParser.parse(line)
                guard let pair = answer["result"]?["kv"] else {
                    let isPassing = answer["error"]?["code"]?.integer == 14
                    throw Problem(
                        isPassing ? .unavailable : .failed,
                        answer["error"]?["message"]?.text ?? "the answer is no leader")
                }
                for field in ["key", "value"] {
                    try Console.output((pair[field]?.text.flatMap(Base64.decode) ?? []) + [10])
                }
            }
            try await client.stream(.POST, "/v3/election/observe", body: bytes) { try lines.add($1) }
        }
    }
}

/// Holds something that belongs to a lease of this process: waits for it, keeps it, lets go of it.
private struct Holder {
    let flags: ClientFlags
    let ttl: Int64
    let path: String
    private let child = RunningChild()

    init(flags: ClientFlags, ttl: Int64, path: String) {
        self.flags = flags
        self.ttl = ttl
        self.path = path
    }

    /// Does not return: the process ends with what it held.
    /// - Parameters:
    ///   - fields: of the request.
    ///   - key: in the answer, what stands for the hold.
    ///   - whileHeld: what to run.
    func hold(
        _ fields: @escaping @Sendable (inout JSONWriter, Int64) -> Void,
        key: @escaping @Sendable (JSONValue) -> [UInt8],
        whileHeld: @escaping @Sendable ([UInt8], Int64) throws -> Child?
    ) async throws -> Never {
        guard ttl > 0 else { throw Problem(.usage, "--ttl is a number of seconds, at least 1") }
        let signals = InterruptSignals()
        let (session, seconds) = try await Session.grant(seconds: ttl, flags)
        await withTaskGroup(of: Result<Int32, any Error>.self) { group in
            group.addTask { await Self.outcome { try await session.keep(seconds: seconds) } }
            group.addTask { await Self.outcome { try await obey(signals) } }
            group.addTask {
                await Self.outcome {
                    let name = key(try await acquire(session, fields))
                    let revision = try await createRevision(of: name)
                    return try await child.run { try whileHeld(name, revision) }
                }
            }
            // Whatever comes first ends it: the command has ended, it was interrupted, or the lease is lost.
            let first = await group.next() ?? .success(0)
            await child.stop()
            await session.revoke()
            switch first {
            case .success(let code): exit(code)
            case .failure(let problem as Problem): fail(problem)
            case .failure(let error): fail(Problem(.failed, "\(error)"))
            }
        }
        exit(0)
    }

    private static func outcome(_ body: () async throws -> Int32) async -> Result<Int32, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }

    private static func outcome(_ body: () async throws -> Void) async -> Result<Int32, any Error> {
        await outcome {
            try await body()
            return 0
        }
    }

    /// Asks until it is answered: asking again with the same lease keeps the place in the queue.
    private func acquire(
        _ session: Session, _ fields: (inout JSONWriter, Int64) -> Void
    ) async throws -> JSONValue {
        var patient = flags
        patient.timeout = 1 << 30
        while true {
            do {
                return try await patient.ask { client in
                    try await client.call(path) { fields(&$0, session.lease) }
                }
            } catch let problem as Problem where problem.kind == .unavailable {
                Console.error("weft: \(problem.text); trying again")
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func createRevision(of key: [UInt8]) async throws -> Int64 {
        let answer = try await flags.ask { client in
            try await client.call("/v3/kv/range") { $0.field("key", key) }
        }
        guard let revision = answer["kvs"]?.items?.first?["create_revision"]?.integer else {
            throw Problem(.notFound, "it was lost as soon as it was had: its lease is over")
        }
        return revision
    }

    /// Passes signals on to the command; without one they end the hold.
    private func obey(_ signals: InterruptSignals) async throws {
        while true {
            if let number = signals.take(), !child.send(number) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// The command that a hold is for, if there is one.
private final class RunningChild: Sendable {
    private static let patience = Duration.seconds(10)
    private let child = Mutex<Child?>(nil)
    private let isStopped = Mutex<Bool>(false)

    /// Answers its exit code; without a command it never does.
    func run(_ start: () throws -> Child?) async throws -> Int32 {
        try isStopped.withLock { isStopped in
            // What it was to be run under is gone already.
            guard !isStopped else { throw CancellationError() }
            let started = try start()
            child.withLock { $0 = started }
        }
        while true {
            let code = child.withLock { child in
                let code = child?.poll()
                if code != nil { child = nil }
                return code
            }
            if let code { return code }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// False when there is none.
    func send(_ number: Int32) -> Bool {
        child.withLock { child in
            child?.send(number)
            return child != nil
        }
    }

    /// Has the command end, and waits for that; `run` notices. None is started from now on.
    func stop() async {
        isStopped.withLock { $0 = true }
        guard send(SIGTERM) else { return }
        let end = ContinuousClock.now + Self.patience
        while child.withLock({ $0 != nil }) {
            if ContinuousClock.now >= end { _ = send(SIGKILL) }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}
