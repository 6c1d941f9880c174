internal import CSimulatedDisk
internal import Simulation

guard wd_install(1) == 0 else { fatalError("SQLite refuses the simulated disk") }
let first = UInt64(CommandLine.arguments[1]) ?? 1
let count = UInt64(CommandLine.arguments[2]) ?? 1
for seed in first..<first + count {
    let plan = Plan(seed: seed, without: Set(CommandLine.arguments.dropFirst(3)))
    let world = World(seed: seed, plan: plan, print: count == 1 ? { print($0) } : nil)
    print("seed", seed, terminator: " ")
    let violation = world.run()
    print(
        world.now / 1_000_000_000, "s", world.events, "events", world.acknowledged, "acks",
        violation.map { "\($0.check): \($0.detail) \(plan.faults.map(\.rawValue))" } ?? "ok")
}
