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
    /// Without libFuzzer: runs the inputs of the files that are named.
    @main
    struct Fuzz {
        static func main() {
            for path in CommandLine.arguments.dropFirst() {
                guard let file = fopen(path, "r") else { continue }
                defer { fclose(file) }
                var bytes = [UInt8](repeating: 0, count: 1 << 20)
                bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
                target.run(bytes)
            }
        }
    }
#endif
