internal import ArgumentParser
internal import Client
internal import JSON

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Add users, give them roles and passwords.",
        discussion: "See `weft auth --help` for the first steps.",
        subcommands: [Add.self, Get.self, List.self, Delete.self, ChangePassword.self, GrantRole.self, RevokeRole.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user.",
            discussion: """
                The password is asked for, or read from standard input.

                Examples:
                  weft user add alice
                  weft user add backup --no-password      logs in with a certificate only
                  weft user add alice < password-file
                """)
        @Argument(help: "The user's name.")
        var name: String
        @Flag(help: "One who never logs in with a password.")
        var noPassword = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let password = try noPassword ? nil : Password.askNew(name)
            try await flags.change("/v3/auth/user/add", "user \(name) added") { json in
                json.field("name", name)
                if let password { json.field("password", password) }
                json.name("options")
                json.object { $0.field("no_password", password == nil) }
            }
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List a user's roles.", discussion: "Example:\n  weft user get alice")
        @Argument(help: "The user's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await flags.list("/v3/auth/user/get", "roles") { $0.field("name", name) } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all users.", discussion: "Example:\n  weft user list")
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await flags.list("/v3/auth/user/list", "users") }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a user; their tokens end.", discussion: "Example:\n  weft user delete alice")
        @Argument(help: "The user's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await flags.change("/v3/auth/user/delete", "user \(name) deleted") { $0.field("name", name) }
        }
    }

    struct ChangePassword: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "passwd", abstract: "Give a user another password; their tokens end.",
            discussion: "It is asked for, or read from standard input.\n\nExample:\n  weft user passwd alice")
        @Argument(help: "The user's name.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let password = try Password.askNew(name)
            try await flags.change("/v3/auth/user/changepw", "password of \(name) changed") { json in
                json.field("name", name)
                json.field("password", password)
            }
        }
    }

    struct GrantRole: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "grant-role", abstract: "Give a user a role.",
            discussion: """
                Beside those that were added there are root, weft:operator, weft:observer and weft:node:NAME.

                Example:
                  weft user grant-role alice volumes
                """)
        @Argument(help: "The user's name.")
        var name: String
        @Argument(help: "The role's name.")
        var role: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await flags.change("/v3/auth/user/grant", "user \(name) has role \(role)") { json in
                json.field("user", name)
                json.field("role", role)
            }
        }
    }

    struct RevokeRole: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke-role", abstract: "Take a role from a user.",
            discussion: "Example:\n  weft user revoke-role alice volumes")
        @Argument(help: "The user's name.")
        var name: String
        @Argument(help: "The role's name.")
        var role: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            try await flags.change("/v3/auth/user/revoke", "user \(name) has role \(role) no more") { json in
                json.field("name", name)
                json.field("role", role)
            }
        }
    }
}
