internal import ArgumentParser
internal import Bench
internal import Client
internal import JSON
internal import Storage

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Put load on a fabric, or on any store with etcd's API, and measure it.",
        discussion: """
            Examples:
              weft bench put --clients 1000 --connections 100 --to leader
              weft bench put --rate 2000 --clients 500 --seconds 60 --chart put.svg
              weft bench range --fill --keys 100000 --clients 100
              weft bench range --fill --keys 1000000 --all --limit 500
              weft bench watch --keys 1 --watchers 1000 --rate 100 --clients 10
              weft bench put --protocol json --connections 50 -o json

            Each client begins an operation when its last is answered. With --rate they begin when they are due, and waiting \
            for a client that is free counts: a store that stands still for a second shows a second.
            """,
        subcommands: [
            PutLoad.self, RangeLoad.self, TxnLoad.self, MixedLoad.self, LeaseLoad.self, KeepAliveLoad.self,
            LockRefreshLoad.self, WatchLoad.self,
        ])
}

extension Encoding: ExpressibleByArgument {}
extension KeyDistribution: ExpressibleByArgument {}

/// Which of the members are asked.
enum LoadTarget: String, ExpressibleByArgument, CaseIterable {
    case all
    case leader
    case followers
}

/// The flags of every load.
struct LoadFlags: ParsableArguments {
    @OptionGroup var client: ClientFlags

    @Option(name: .customLong("protocol"), help: "grpc, or json over HTTP/1.1 as etcd's gateway takes it.")
    var encoding: Encoding = .grpc
    @Option(help: "Which of the endpoints: all, leader or followers.")
    var to: LoadTarget = .all
    @Option(help: "Connections, spread over the endpoints. (default: as many as endpoints are asked)")
    var connections: Int?
    @Option(help: "Clients, spread over the connections; over HTTP/1.1 a connection serves one at a time.")
    var clients = 1
    @Option(help: "Event loops of this tool.")
    var threads = 1
    @Option(help: "Seconds that are measured.")
    var seconds = 10.0
    @Option(help: "Seconds before that. (default: 1; none with --total)")
    var warmUp: Double?
    @Option(help: "End after so many operations.")
    var total: Int?
    @Option(help: "Operations per second, whether or not earlier ones are answered.")
    var rate: Double?
    @Option(help: "How many keys.")
    var keys = 10_000
    @Option(help: "How keys are drawn: uniform, zipf or sequential.")
    var distribution: KeyDistribution = .uniform
    @Option(help: "What all keys begin with.")
    var prefix = "bench/"
    @Option(help: "Bytes of a key; shorter ones are filled up with zeroes.")
    var keySize = 16
    @Option(help: "Bytes of a value.")
    var valueSize = 256
    @Option(help: "Draws other keys.")
    var seed: UInt64 = 1
    @Flag(help: "Put every key once before.")
    var fill = false
    @Option(help: "Write a chart of the run, as SVG, to this file.")
    var chart: String?

    private var warmUpSeconds: Double { warmUp ?? (total == nil ? 1 : 0) }

    func validate() throws {
        let isSound =
            clients > 0 && (connections ?? 1) > 0 && threads > 0 && seconds > 0 && warmUpSeconds >= 0 && keys > 0
            && valueSize >= 0 && keySize >= 0 && (rate ?? 1) > 0 && (total ?? 1) > 0
        guard isSound, seconds + warmUpSeconds < 1e6, clients <= 1_000_000, keys <= 1_000_000_000 else {
            throw ValidationError("counts and times must be above 0 and within reason")
        }
        guard valueSize <= 1 << 20, keySize <= 1 << 20 else {
            throw ValidationError("keys and values of over 1 MiB are not for measuring")
        }
    }

    /// Carries out `workload` and tells what came of it.
    func run(_ workload: Workload, watching: LoadPlan.Watching? = nil) async throws {
        let endpoints = try await targets()
        let space = KeySpace(prefix: prefix, count: keys, keySize: keySize, distribution: distribution)
        var plan = LoadPlan(endpoints: endpoints, workload: workload, keys: space)
        plan.encoding = encoding
        plan.tls = try client.client().http.tls
        plan.connections = connections ?? endpoints.count
        plan.clients = clients
        plan.threads = threads
        plan.warmUpSeconds = warmUpSeconds
        plan.seconds = seconds
        plan.total = total
        plan.rate = rate
        plan.valueSize = valueSize
        plan.seed = seed
        plan.watching = watching
        do {
            let run = LoadRun(plan)
            if fill { try await fill(run) }
            if client.output == .simple { Console.error("for \(Int(warmUpSeconds + seconds)) s ...") }
            let report = Report(plan, try await run.run())
            if client.output == .json { printJSON(report.json) } else { print(report.text) }
            if let chart { try write(Chart(report).svg, to: chart) }
            if report.recorder.completed == 0 { throw Problem(.failed, "nothing succeeded") }
        } catch let problem as LoadRun.Problem {
            throw Problem(.failed, problem.description)
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.unavailable, "\(error)")
        }
    }

    private func fill(_ run: LoadRun) async throws {
        let progress = Progress("filling")
        try await run.fill { [keys] in progress.show($0, of: keys, "keys") }
    }

    /// The endpoints that are asked.
    private func targets() async throws -> [Endpoint] {
        let all = try client.client().endpoints
        if to == .all { return all }
        var chosen: [Endpoint] = []
        for endpoint in all {
            var flags = client
            flags.endpoints = endpoint.description
            let status = try await flags.ask { try await $0.call("/v3/maintenance/status") }
            let isLeader = status["leader"]?.unsigned == status["header"]?["member_id"]?.unsigned
            if isLeader == (to == .leader) { chosen.append(endpoint) }
        }
        guard !chosen.isEmpty else {
            throw Problem(
                .unavailable, "none of the endpoints is the \(to == .leader ? "leader" : "follower") asked for")
        }
        return chosen
    }

    private func write(_ text: String, to path: String) throws {
        do throws(StorageError) {
            try File.replace(path, with: Array(text.utf8))
        } catch {
            throw Problem(error)
        }
    }
}
