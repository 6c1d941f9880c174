internal import ArgumentParser
internal import Bytes
internal import Simulation
#if canImport(Glibc)
    internal import Glibc
#endif

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", shouldDisplay: false)

    @Argument(help: "Replay this seed with a trace.")
    var seed: UInt64?
    @Option(help: "Run so many seeds.")
    var seeds: Int?
    @Option(help: "Run seeds for so many minutes.")
    var minutes: Double?
    @Option(help: "The first seed; those after it follow. Chosen by chance when it is left out.")
    var first: UInt64?
    @Option(help: "Leave these faults out; names with commas between them.")
    var without = ""
    @Flag(help: "List the faults that seeds draw from.")
    var listFaults = false
    @Flag(help: "Show that each mistake that is built in is found.")
    var planted = false
    @Option(help: "With --planted: only so many of the mistakes, chosen by chance.")
    var sample: Int?
    @Option(help: "With --planted: seeds after which a mistake counts as not found.")
    var limit = 1000
    @Option(help: "With --planted: only this mistake.")
    var mistake: String?

    func run() throws {
        if listFaults { return Self.printFaults() }
        let faults = without.split(separator: ",").map(String.init)
        for name in faults where Fault(rawValue: name) == nil {
            throw ValidationError("there is no fault \"\(name)\"; see --list-faults")
        }
        let start = first ?? UInt64.random(in: 1...1 << 40)
        if planted {
            guard try Planted(first: start, limit: limit, sample: sample, only: mistake).run() else {
                throw ExitCode(1)
            }
        } else if let seed {
            guard try Replay(seed: seed, without: faults, mistake: mistake).run() else { throw ExitCode(1) }
        } else {
            let hunt = Hunt(first: start, seeds: seeds, minutes: minutes, without: faults)
            guard try hunt.run() else { throw ExitCode(1) }
        }
    }

    private static func printFaults() {
        for layer in ["network", "disk", "clock", "process", "control"] {
            print(layer)
            for fault in Fault.allCases where fault.layer == layer {
                let padding = String(repeating: " ", count: 20 - fault.rawValue.count)
                print("  \(fault.rawValue)\(padding)\(fault.summary)")
            }
        }
    }
}

/// Runs seeds, until one fails.
struct Hunt {
    let first: UInt64
    let seeds: Int?
    let minutes: Double?
    let without: [String]

    func run() throws -> Bool {
        let began = Clock.seconds()
        var (count, simulated, events) = (0, 0.0, 0)
        var lastReport = began
        print("seeds from \(first) on")
        var worker = try WorkerProcess(first: first, count: seeds, without: without)
        defer { worker.stop() }
        while let result = try worker.next() {
            if let failure = result.failure {
                print("seed \(result.seed) failed: \(failure)")
                try Replay(seed: result.seed, without: without, mistake: nil).explain()
                return false
            }
            count += 1
            simulated += result.seconds
            events += result.events
            let now = Clock.seconds()
            if now - lastReport >= 10 {
                lastReport = now
                print(Self.summary(count, simulated, events, now - began))
            }
            if let minutes, now - began >= minutes * 60 { break }
        }
        print(Self.summary(count, simulated, events, Clock.seconds() - began))
        return true
    }

    private static func summary(_ count: Int, _ simulated: Double, _ events: Int, _ took: Double) -> String {
        let days = (simulated / 86_400 * 10).rounded() / 10
        return "\(count) seeds without a failure: \(days) days of cluster time, \(events) events, in \(Int(took)) s, "
            + "\(Int(simulated / max(took, 0.001))) times as fast as the clock"
    }
}

/// Runs one seed again: with a trace, or to find out what it takes to fail.
struct Replay {
    let seed: UInt64
    let without: [String]
    let mistake: String?

    /// Prints all that happens; true when nothing was wrong.
    func run() throws -> Bool {
        let result = try WorkerProcess.one(seed, without: without, mistake: mistake, prints: true)
        print(result.failure.map { "seed \(seed) failed: \($0)" } ?? "seed \(seed) is well")
        return result.failure == nil
    }

    /// Prints the line that replays the failure, if it fails the same way each time, and the shortest trace that still fails.
    func explain() throws {
        let runs = try (0..<2).map { _ in try WorkerProcess.one(seed, without: without, mistake: mistake) }
        if runs[0].digest != runs[1].digest || runs[0].failure != runs[1].failure {
            print("and it is not the same each time: \(runs.map { $0.failure ?? "well" })")
        }
        var left = without
        var shortest = runs[0]
        for fault in Plan(seed: seed).faults.map(\.rawValue) where !left.contains(fault) {
            let trial = try WorkerProcess.one(seed, without: left + [fault], mistake: mistake)
            guard trial.failure != nil, trial.events <= shortest.events else { continue }
            left.append(fault)
            shortest = trial
        }
        let option = left.isEmpty ? "" : " --without \(left.joined(separator: ","))"
        print("replay: scripts/sim \(seed)\(option)")
        _ = try WorkerProcess.one(seed, without: left, mistake: mistake, prints: true, lines: 80)
    }
}

enum Clock {
    static func seconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
