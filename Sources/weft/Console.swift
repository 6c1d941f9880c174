#if canImport(Glibc)
    internal import Glibc
#endif

/// Bytes to and from the terminal or a pipe.
enum Console {
    /// Prints a line on standard error.
    static func error(_ text: String) { _ = write(Array("\(text)\n".utf8), to: STDERR_FILENO) }

    /// Prints on standard error what is answered in the same line.
    static func prompt(_ text: String) { _ = write(Array(text.utf8), to: STDERR_FILENO) }

    static func output(_ bytes: [UInt8]) throws {
        guard write(bytes, to: STDOUT_FILENO) else {
            throw Problem(.failed, "cannot write to standard output: \(String(cString: strerror(errno)))")
        }
    }

    /// False when not all could be written.
    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if put < 0, errno == EINTR { continue }
            guard put > 0 else { return false }
            done += put
        }
        return true
    }

    /// All of standard input.
    static func input() throws -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw Problem(.failed, "cannot read standard input: \(String(cString: strerror(errno)))")
            }
            bytes += buffer[..<count]
        }
    }
}
