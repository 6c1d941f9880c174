internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

/// How the fabric answers linearizable reads.
struct LeaseReads: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lease-reads",
        abstract: "Say if the leader answers reads by its lease, without asking the others.",
        discussion: """
            Off, as it is unless you turn it on, the leader asks the others for each batch of reads if it still leads: that is right
            whatever clocks do, and takes a round trip to the nearest majority.

            On, followers promise to elect nobody else for half a second, and the leader answers by itself until that is over.
            A read can then miss what was just written elsewhere if the leader's machine stood still together with its clock, as
            virtual machines do that are paused, moved or restored, or if clocks run more than 5 % apart.

            It holds for all members, and is kept with the fabric. Without a word it shows what holds.

            Examples:
              weft lease-reads
              weft lease-reads on
            """)

    enum Word: String, ExpressibleByArgument, CaseIterable {
        case on, off
    }

    @Argument(help: "on or off.")
    var word: Word?
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let answer = try await flags.ask { client in
            guard let word else { return try await client.send(.GET, "/v1/fabric/lease-reads") }
            return try await FabricResource.change(client, .PUT, "/v1/fabric/lease-reads") { json in
                json.name("on")
                json.bool(word == .on)
            }
        }
        if flags.output == .json { return printJSON(answer) }
        print(
            answer["on"]?.boolean == true
                ? "on: the leader answers reads by its lease; no machine's clock may stand still while it runs on"
                : "off: the leader asks the others if it still leads")
    }
}
