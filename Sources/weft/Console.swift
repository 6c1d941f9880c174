#if canImport(Glibc)
    internal import Glibc
#endif

/// Bytes to and from the terminal or a pipe.
enum Console {
    /// Prints a line on standard error.
    static func error(_ text: String) { write(Array("\(text)\n".utf8), to: STDERR_FILENO) }

    static func output(_ bytes: [UInt8]) { write(bytes, to: STDOUT_FILENO) }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, bytes.count - done)
            }
            guard put > 0 else { return }
            done += put
        }
    }

    /// All of standard input.
    static func input() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count <= 0 { return bytes }
            bytes += buffer[..<count]
        }
    }
}
