#if canImport(Glibc)
    internal import Glibc
#endif

/// Passwords that people type, or that are piped in.
enum Password {
    /// Reads one line from the terminal, which does not show it; without a terminal, from standard input.
    static func ask(_ prompt: String) throws -> String {
        guard isatty(STDIN_FILENO) == 1 else { return try line(prompt) }
        Console.prompt("\(prompt): ")
        var before = termios()
        tcgetattr(STDIN_FILENO, &before)
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
            Console.error("")
        }
        return try line(prompt)
    }

    /// A new one: from a terminal it is asked for twice.
    static func askNew(_ user: String) throws -> String {
        let first = try ask("New password of \(user)")
        guard !first.isEmpty else {
            throw Problem(
                .usage, "the password is empty; --no-password makes a user who logs in with a certificate only")
        }
        if isatty(STDIN_FILENO) == 1, try ask("The same again") != first {
            throw Problem(.usage, "the two passwords differ")
        }
        return first
    }

    private static func line(_ what: String) throws -> String {
        guard let line = readLine(strippingNewline: true) else {
            throw Problem(.usage, "standard input ended: \(what) is read from there")
        }
        return line
    }

    private static let letters = Array("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")

    /// One that nobody guesses: 24 letters and digits, none of which look alike.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<24).map { _ in letters.randomElement(using: &generator) ?? "a" })
    }
}
