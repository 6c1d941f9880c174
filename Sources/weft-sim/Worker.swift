internal import ArgumentParser
internal import Bytes
internal import CSimulatedDisk
internal import Foundation
internal import Simulation

/// Runs seeds and says how each went, a line each. It is a process of its own because a broken invariant ends it.
struct Worker: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

    @Option var first: UInt64
    @Option var count: Int
    @Option var without = ""
    @Option var mistake: String?
    @Flag var prints = false

    func run() throws {
        #if WEFT_MISTAKES
            Mistake.made = mistake.flatMap(Mistake.init(rawValue:))
        #endif
        guard wd_install(1) == 0 else { throw ValidationError("SQLite refuses the simulated disk") }
        let left = Set(without.split(separator: ",").map(String.init))
        for seed in first..<first &+ UInt64(count) {
            Self.say("begin \(seed)")
            let plan = Plan(seed: seed, without: left)
            if prints { Self.say("| faults: \(plan.faults.map(\.rawValue).joined(separator: ", "))") }
            let world = World(seed: seed, plan: plan, print: prints ? { Self.say("| \($0)") } : nil)
            let violation = world.run()
            let failure = violation.map { "\($0.check): \($0.detail)" } ?? ""
            Self.say("end \(Double(world.now) / 1e9) \(world.events) \(world.digest) \(failure)")
        }
    }

    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
}

struct SeedResult {
    var seed: UInt64 = 0
    var seconds = 0.0
    var events = 0
    var digest: UInt64 = 0
    var failure: String?
}

/// A worker seen from outside. When it dies within a seed, that seed failed and another worker goes on after it.
struct WorkerProcess {
    private let without: [String]
    private let mistake: String?
    private let prints: Bool
    private var left: Int
    private var nextSeed: UInt64
    private var process = Process()
    private var output = LineReader(nil)
    private var errorPath: String
    /// Lines of the trace, when they are wanted.
    private(set) var trace: [String] = []

    init(first: UInt64, count: Int?, without: [String], mistake: String? = nil, prints: Bool = false) throws {
        self.without = without
        self.mistake = mistake
        self.prints = prints
        left = count ?? .max
        nextSeed = first
        errorPath = FileManager.default.temporaryDirectory.appendingPathComponent("weft-sim-\(UUID()).err").path
        try start()
    }

    /// One seed by itself; prints the last `lines` of its trace, or all of it.
    static func one(
        _ seed: UInt64, without: [String], mistake: String?, prints: Bool = false, lines: Int = .max
    ) throws -> SeedResult {
        var worker = try WorkerProcess(first: seed, count: 1, without: without, mistake: mistake, prints: prints)
        defer { worker.stop() }
        let result = try worker.next()
        for line in worker.trace.suffix(lines) { print(line) }
        return result ?? SeedResult(seed: seed, failure: "nothing was run")
    }

    private mutating func start() throws {
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        // In portions: a fresh process now and then bounds whatever a run may leave behind.
        var arguments = ["worker", "--first", "\(nextSeed)", "--count", "\(min(left, 500))"]
        if !without.isEmpty { arguments += ["--without", without.joined(separator: ",")] }
        if let mistake { arguments += ["--mistake", mistake] }
        if prints { arguments.append("--prints") }
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_BACKTRACE"] = "enable=no"
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        _ = FileManager.default.createFile(atPath: errorPath, contents: nil)
        process.standardError = FileHandle(forWritingAtPath: errorPath)
        try process.run()
        output = LineReader(pipe.fileHandleForReading)
    }

    /// The next seed's result; nil when all are done.
    mutating func next() throws -> SeedResult? {
        guard left > 0 else { return nil }
        var result = SeedResult(seed: nextSeed)
        while let line = output.next() {
            if line.hasPrefix("| ") {
                trace.append(String(line.dropFirst(2)))
            } else if line.hasPrefix("end ") {
                let words = line.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
                result.seconds = Double(words[1]) ?? 0
                result.events = Int(words[2]) ?? 0
                result.digest = UInt64(words[3]) ?? 0
                result.failure = words[4].isEmpty ? nil : String(words[4])
                advance()
                return result
            } else if line.hasPrefix("begin ") {
                result.seed = UInt64(line.dropFirst(6)) ?? nextSeed
            }
        }
        process.waitUntilExit()
        if process.terminationStatus == 0, process.terminationReason == .exit {
            try start()
            return try next()
        }
        result.failure = "a broken invariant: \(lastError())"
        result.events = .max
        advance()
        if left > 0 { try start() }
        return result
    }

    private mutating func advance() {
        nextSeed += 1
        left -= 1
    }

    private func lastError() -> String {
        let text = (try? String(contentsOfFile: errorPath, encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.contains("Fatal error") || $0.contains("Assertion") }
        return line.flatMap { $0.components(separatedBy: "Fatal error: ").last }
            ?? "the process ended with \(process.terminationStatus)"
    }

    func stop() {
        if process.isRunning { process.terminate() }
        try? FileManager.default.removeItem(atPath: errorPath)
    }
}

/// Lines as they arrive.
struct LineReader {
    private let handle: FileHandle?
    private var buffer = Data()

    init(_ handle: FileHandle?) {
        self.handle = handle
    }

    mutating func next() -> String? {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self)
                buffer = Data(buffer[buffer.index(after: end)...])
                return line
            }
            guard let more = handle?.availableData, !more.isEmpty else { return nil }
            buffer.append(more)
        }
    }
}
