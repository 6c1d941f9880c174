internal import Client
internal import NIOCore
internal import NIOPosix

/// Carries out a plan.
package struct LoadRun: Sendable {
    private let plan: LoadPlan
    private static let fillBatch = 100
    private static let fillClients = 16

    package init(_ plan: LoadPlan) { self.plan = plan }

    /// Why a run could not be begun.
    package struct Problem: Error, CustomStringConvertible {
        package var description: String
    }

    /// Runs it, and answers what was recorded.
    package func run() async throws -> Recorder {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        do {
            let recorder = try await run(on: group)
            try await group.shutdownGracefully()
            return recorder
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private func run(on group: MultiThreadedEventLoopGroup) async throws -> Recorder {
        let loops = Array(group.makeIterator())
        var links: [[Link]] = loops.map { _ in [] }
        for number in 0..<max(plan.connections, 1) {
            let place = number % loops.count
            links[place].append(
                try await Link.connect(plan.encoding, to: plan.endpoints, plan.tls, place: number, on: loops[place])
                    .get())
        }
        let watches = try await openWatches(loops)
        let start = NIODeadline.now().uptimeNanoseconds + 20_000_000
        let from = start + UInt64(plan.warmUpSeconds * 1e9)
        let times = LoadLoop.Times(start: start, from: from, to: from + UInt64(plan.seconds * 1e9))
        let budget = plan.total.map { LoadLoop.Budget($0) }
        let used = loops.indices.filter { !links[$0].isEmpty }
        var running: [EventLoopFuture<Recorder>] = []
        for place in loops.indices {
            let clients = used.firstIndex(of: place).map { self.clients(of: $0, links[place], of: used.count) } ?? []
            let rate = plan.rate.map { $0 / Double(used.count) }
            let loadLoop = LoadLoop(
                loop: loops[place], clients: clients, times: times, rate: clients.isEmpty ? nil : rate, left: budget)
            for watch in watches[place] { watch.loadLoop = loadLoop }
            running.append(loadLoop.run())
        }
        var result = try await running[0].get()
        for other in running.dropFirst() { result.add(try await other.get()) }
        return result
    }

    // MARK: - Clients

    private func clients(of place: Int, _ links: [Link], of count: Int) -> [(client: LoadClient, link: Link)] {
        stride(from: place, to: max(plan.clients, plan.connections), by: count).map { number in
            let link = links[number / count % links.count]
            return (client(number, link), link)
        }
    }

    private func client(_ number: Int, _ link: Link) -> LoadClient {
        let dice = Dice(seed: plan.seed &* 1_000_003 &+ UInt64(number) &+ 1)
        // Half letters, half digits: neither all zeroes nor beyond compression.
        let value = (0..<plan.valueSize).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        func make<Client: LoadClient>(_ type: Client.Type) -> Client {
            Client(link, plan.keys, value: value, number: number, dice: dice)
        }
        if plan.watching != nil { return make(StampedPutClient.self) }
        switch plan.workload {
        case .put: return make(PutClient.self)
        case .txn: return make(TxnClient.self)
        case .range(let options):
            let client = make(RangeClient.self)
            client.options = options
            return client
        case .mixed(let reads, let isSerializable):
            let client = make(MixedClient.self)
            (client.reads, client.isSerializable) = (reads, isSerializable)
            return client
        case .lease(let ttl):
            let client = make(LeaseClient.self)
            client.ttl = ttl
            return client
        case .keepAlive(let ttl):
            let client = make(KeepAliveClient.self)
            client.ttl = ttl
            return client
        case .lockRefresh(let ttl):
            let client = make(LockClient.self)
            client.ttl = ttl
            return client
        }
    }

    // MARK: - Watches

    private func openWatches(_ loops: [any EventLoop]) async throws -> [[WatchStream]] {
        var streams: [[WatchStream]] = loops.map { _ in [] }
        guard let watching = plan.watching else { return streams }
        for number in 0..<max(watching.connections, 1) {
            let place = number % loops.count
            let endpoint = plan.endpoints[number % plan.endpoints.count]
            let keys = stride(from: number, to: watching.watchers, by: max(watching.connections, 1)).map {
                plan.keys.key($0 % plan.keys.count)
            }
            let connection = try await GRPCConnection.connect(to: endpoint, plan.tls, on: loops[place]).get()
            let stream = WatchStream(connection, keys: keys, loop: loops[place])
            if !keys.isEmpty { try await loops[place].flatSubmit { stream.open() }.get() }
            streams[place].append(stream)
        }
        return streams
    }

    // MARK: - Filling

    /// Puts every key once, in txns.
    /// - Parameter progress: told how many are there.
    package func fill(progress: @escaping @Sendable (Int) -> Void) async throws {
        var plan = plan
        plan.clients = Self.fillClients
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let link = try await Link.connect(plan.encoding, to: plan.endpoints, plan.tls, place: 0, on: loop).get()
        let filling = Filling(link, plan, batch: Self.fillBatch, loop: loop, progress: progress)
        let result = await loop.flatSubmit { filling.start(clients: Self.fillClients) }.getResult()
        try await group.shutdownGracefully()
        try result.get()
    }
}

extension EventLoopFuture where Value: Sendable {
    fileprivate func getResult() async -> Result<Value, any Error> {
        do { return .success(try await get()) } catch { return .failure(error) }
    }
}

/// Puts all keys of a space, some at a time.
private final class Filling: @unchecked Sendable {
    private let link: Link
    private let keys: KeySpace
    private let value: [UInt8]
    private let batch: Int
    private let progress: @Sendable (Int) -> Void
    private var next = 0
    private var done = 0
    private let finished: EventLoopPromise<Void>

    init(
        _ link: Link, _ plan: LoadPlan, batch: Int, loop: any EventLoop, progress: @escaping @Sendable (Int) -> Void
    ) {
        self.link = link
        keys = plan.keys
        value = Array(repeating: UInt8(ascii: "v"), count: plan.valueSize)
        // A request may hold 1.5 MiB.
        self.batch = max(1, min(batch, (1 << 20) / (plan.valueSize + keys.keySize + 32)))
        self.progress = progress
        finished = loop.makePromise()
    }

    func start(clients: Int) -> EventLoopFuture<Void> {
        for _ in 0..<clients { goOn() }
        return finished.futureResult
    }

    private func goOn() {
        guard next < keys.count else { return }
        let batch = (next..<min(next + batch, keys.count)).map(keys.key)
        next += batch.count
        link.caller.call(.putAll(batch, value: value), keepsAnswer: false) { [self] answer in
            if case .failure(let failure) = answer {
                return finished.fail(LoadRun.Problem(description: "filling failed: \(failure.text)"))
            }
            done += batch.count
            progress(done)
            if done == keys.count { finished.succeed() } else { goOn() }
        }
    }
}
