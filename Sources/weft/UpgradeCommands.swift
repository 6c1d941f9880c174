internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

/// The last step of an upgrade.
struct UpgradeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade", abstract: "See what members run, and finish an upgrade.",
        discussion: """
            To upgrade a fabric, install the new release on one member after the other, and restart each. Until the upgrade is
            finished, every member can go back to the release before. `weft upgrade finish` raises the fabric's version: from
            then on what is new is used, and earlier releases cannot take part any more.

            Release 0.1.0 knows no versions: from it, stop all members, install the new release, and start them together.
            """,
        subcommands: [Status.self, Finish.self], defaultSubcommand: Status.self)

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the fabric's version and what each member runs.",
            discussion: "Example:\n  weft upgrade status -o json")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            UpgradeCommand.show(try await flags.ask { try await $0.send(.GET, "/v1/upgrade") }, flags.output)
        }
    }

    struct Finish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Raise the fabric's version to that of this release; there is no way back.",
            discussion: "It is refused while a member runs an earlier release.\n\nExample:\n  weft upgrade finish")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            UpgradeCommand.show(try await flags.ask { try await $0.send(.POST, "/v1/upgrade/finish") }, flags.output)
        }
    }

    private static func show(_ answer: JSONValue, _ output: OutputFormat) {
        if output == .json { return printJSON(answer) }
        let (version, newest) = (answer["version"]?.integer ?? 0, answer["newestVersion"]?.integer ?? 0)
        print("version \(version) of the fabric; this release knows up to \(newest)")
        var table = Table(["MEMBER", "ID", "RELEASE", "VERSIONS UP TO"])
        for member in answer["members"]?.items ?? [] {
            table.add([
                member["name"]?.text ?? "", member["id"]?.text ?? "", member["release"]?.text ?? "",
                String(member["newestVersion"]?.integer ?? 0),
            ])
        }
        table.print()
        if version < newest { print("run `weft upgrade finish` once all members run this release") }
    }
}
