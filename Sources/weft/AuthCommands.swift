internal import ArgumentParser
internal import Client
internal import JSON

struct AuthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auth", abstract: "Have users and roles count.",
        discussion: """
            The first time:
              weft auth init                                    makes the user root, and prints its password once
              weft user add alice --user root                   asks for both passwords
              weft role add volumes --user root
              weft role grant-permission volumes readwrite --prefix volumes/ --user root
              weft user grant-role alice volumes --user root
            """,
        subcommands: [Init.self, Enable.self, Disable.self, Status.self])

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init", abstract: "Make the user root, and have users and roles count from now on.",
            discussion: """
                Prints root's password, once: it is kept nowhere. From then on whoever asks for keys says who they are.

                Example:
                  weft auth init
                """)
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let password = Password.make()
            try await flags.ask { client in
                _ = try await client.call("/v3/auth/user/add") { json in
                    json.field("name", "root")
                    json.field("password", password)
                }
                _ = try await client.call("/v3/auth/user/grant") { json in
                    json.field("user", "root")
                    json.field("role", "root")
                }
                _ = try await client.call("/v3/auth/enable")
            }
            if flags.output == .json {
                return printJSON(.object([.init("user", .string("root")), .init("password", .string(password))]))
            }
            print(password)
            Console.error("This is the password of root: keep it. Users and roles count from now on.")
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have users and roles count; the user root must have the role root.",
            discussion: "Example:\n  weft auth enable")
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await flags.change("/v3/auth/enable", "users and roles count") }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let everybody do everything again; all tokens end.",
            discussion: "Example:\n  weft auth disable --user root")
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await flags.change("/v3/auth/disable", "users and roles do not count") }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell if users and roles count.", discussion: "Example:\n  weft auth status")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in try await client.call("/v3/auth/status") }
            if flags.output == .json { return printJSON(answer) }
            let isOn = answer["enabled"]?.boolean ?? false
            print(
                "users and roles \(isOn ? "count" : "do not count"); their revision is \(answer["authRevision"]?.text ?? "0")"
            )
        }
    }
}

extension ClientFlags {
    /// Has one thing changed, and says so.
    func change(_ path: String, _ done: String, _ fields: (inout JSONWriter) -> Void = { _ in }) async throws {
        let answer = try await ask { client in try await client.call(path, fields) }
        if output == .json { return printJSON(answer) }
        print(done)
    }

    /// Prints names that an answer has, one in a line.
    func list(_ path: String, _ field: String, _ fields: (inout JSONWriter) -> Void = { _ in }) async throws {
        let answer = try await ask { client in try await client.call(path, fields) }
        if output == .json { return printJSON(answer) }
        for name in answer[field]?.items ?? [] { print(name.text ?? "") }
    }
}
