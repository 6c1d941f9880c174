internal import Dispatch
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// A command that is run for the user.
struct Child {
    private let process: pid_t

    /// - Parameters:
    ///   - arguments: the command and its arguments; it is looked for in PATH.
    ///   - environment: beside this process's own.
    init(_ arguments: [String], environment: [(name: String, value: String)]) throws {
        let words = Self.words(arguments)
        let variables = Self.words(Self.environment(with: environment))
        defer { for word in words + variables { free(word) } }
        // What this process ignores, or its threads do not want, its commands hear of.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var ignored = sigset_t()
        sigemptyset(&ignored)
        for number in [SIGPIPE] + InterruptSignals.numbers { sigaddset(&ignored, number) }
        posix_spawnattr_setsigdefault(&attributes, &ignored)
        var masked = sigset_t()
        sigemptyset(&masked)
        posix_spawnattr_setsigmask(&attributes, &masked)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        var process: pid_t = 0
        let code = posix_spawnp(&process, arguments[0], nil, &attributes, words, variables)
        guard code == 0 else {
            throw Problem(.failed, "cannot run \(arguments[0]): \(String(cString: strerror(code)))")
        }
        self.process = process
    }

    private static func words(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] { texts.map { strdup($0) } + [nil] }

    /// This process's, and more. The system takes no variable beyond a length; what is longer is left out.
    private static func environment(with more: [(name: String, value: String)]) -> [String] {
        var variables: [String] = []
        var place = environ
        while let variable = place.pointee {
            let text = String(cString: variable)
            if !more.contains(where: { text.hasPrefix($0.name + "=") }) { variables.append(text) }
            place += 1
        }
        for (name, value) in more {
            if value.utf8.count <= variableBytesMax {
                variables.append("\(name)=\(value)")
            } else {
                Console.error("weft: \(name) would have \(value.utf8.count) bytes and is left out")
            }
        }
        return variables
    }

    private static let variableBytesMax = 120_000

    /// Its exit code, as a shell would say it; nil while it runs.
    func poll() -> Int32? {
        var status: Int32 = 0
        let found = waitpid(process, &status, WNOHANG)
        if found < 0, errno == ECHILD { return 1 }
        guard found == process else { return nil }
        let number = status & 0x7f
        return number == 0 ? (status >> 8) & 0xff : 128 + number
    }

    func send(_ number: Int32) { kill(process, number) }

    func wait() -> Int32 {
        while true {
            if let code = poll() { return code }
            usleep(5000)
        }
    }
}

/// SIGINT and SIGTERM, noted instead of obeyed: who holds something lets go of it first.
final class InterruptSignals: @unchecked Sendable {
    static let numbers = [SIGINT, SIGTERM]
    private let last = Atomic<Int32>(0)
    private let sources: [any DispatchSourceSignal]

    init() {
        sources = Self.numbers.map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for (number, source) in zip(Self.numbers, sources) {
            source.setEventHandler { [unowned self] in last.store(number, ordering: .relaxed) }
            source.resume()
        }
    }

    /// The signal that came since this was asked last.
    func take() -> Int32? {
        let number = last.exchange(0, ordering: .relaxed)
        return number == 0 ? nil : number
    }
}
