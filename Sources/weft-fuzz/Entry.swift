internal import CSimulatedDisk
#if canImport(Glibc)
    internal import Glibc
#endif

/// The decoder that `WEFT_FUZZ_TARGET` names: libFuzzer has the command line for itself.
private let target: Target = {
    wd_install(1)
    let name = getenv("WEFT_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = Target(rawValue: name) else {
        print("WEFT_FUZZ_TARGET must be one of: \(Target.allCases.map(\.rawValue).joined(separator: " "))")
        exit(2)
    }
    return target
}()

#if WEFT_FUZZ
    /// What libFuzzer calls with each input it makes up.
    @_cdecl("LLVMFuzzerTestOneInput")
    public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
        target.run(Array(UnsafeBufferPointer(start: start, count: count)))
        return 0
    }
#else
    /// Without libFuzzer: runs the inputs of the files that are named, or makes some.
    @main
    struct Fuzz {
        static func main() {
            let arguments = CommandLine.arguments.dropFirst()
            if arguments.first == "--tries" { return tries(Array(arguments.dropFirst())) }
            for path in arguments { target.run(Tries.contents(of: path)) }
        }

        /// `--tries N SEED FILE`: the known inputs of the file, then N that are made from them.
        private static func tries(_ arguments: [String]) {
            guard arguments.count == 3, let count = Int(arguments[0]), let seed = UInt64(arguments[1]) else {
                print("usage: weft-fuzz --tries N SEED FILE")
                exit(2)
            }
            let known = Tries.known(in: arguments[2])
            guard !known.isEmpty else {
                print("there are no inputs in \(arguments[2])")
                exit(2)
            }
            for input in known { target.run(input) }
            var tries = Tries(seed: seed, known: known)
            for _ in 0..<count { target.run(tries.next()) }
            print("\(target.rawValue): \(known.count) known inputs and \(count) made from them, seed \(seed)")
        }
    }
#endif
