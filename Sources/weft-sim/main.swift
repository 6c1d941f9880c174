internal import ArgumentParser
internal import CPlatform

/// Runs the simulator: `scripts/sim` is its face.
struct Sim: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sim",
        abstract: "Runs weft's consensus and storage on a simulated network, clock and disk.",
        discussion: """
            Random seeds until it is stopped, a number of them, or for a while:
              scripts/sim
              scripts/sim --seeds 1000
              scripts/sim --minutes 10

            One seed, with all that happens in it:
              scripts/sim 4711

            The simulator's own test: it must find each of the mistakes that are built in for it.
              scripts/sim --planted
            """,
        subcommands: [Run.self, Worker.self], defaultSubcommand: Run.self)
}

weft_line_buffer_standard_output()
Sim.main()
