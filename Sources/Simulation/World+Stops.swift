internal import MVCC
internal import Replication
internal import Storage

/// Members that are told to stop, at any moment.
extension World {
    private static let lookSeconds: UInt64 = 10
    /// A minute, after which the daemon ends without its lanes.
    private static let looksMax = 6

    func stop(_ number: Int) {
        guard let process = machines[number].process, !process.isStopping else { return }
        let flush = faultDice.chance(0.7)
        say("m\(number) is told to stop\(flush ? "" : " quickly")")
        process.stop(flush: flush) { [unowned self] in ended(process, flush: flush) }
        add(.expectEnd(process, looks: 0), after: Self.lookSeconds * Self.second)
    }

    /// While memory is on its way to the file, and more comes.
    func temptStop(_ number: Int) {
        if isTroubled, plan.faults.contains(.stop), faultDice.chance(0.3) { stop(number) }
    }

    /// All its lanes have ended.
    private func ended(_ process: SimulatedProcess, flush: Bool) {
        say("m\(process.machine) has stopped")
        if flush { attempt { () throws(Violation) in try expectFlushed(process) } }
        // Within the last lane, which has something to close yet.
        add(.stopped(process), after: laneDelay())
    }

    private func expectFlushed(_ process: SimulatedProcess) throws(Violation) {
        guard !machines[process.machine].isDamaged, let applied = process.view?.appliedIndex else { return }
        let path = process.directory.statePath
        // If it cannot be read, the next start finds out.
        guard let written = try? StateReader(path: path, cacheBytes: 64 << 10).meta().appliedIndex, written < applied
        else { return }
        throw Violation(check: "a stop leaves nothing in memory", detail: "kv.db has \(written) of \(applied) entries")
    }

    /// Time in which the process or its disk stands still does not count.
    func expectEnd(_ process: SimulatedProcess, looks: Int) {
        guard process.isAlive else { return }
        let machine = machines[process.machine]
        let isHeldUp = machine.pausedUntil > now || machine.stalledUntil > now
        guard isHeldUp || looks < Self.looksMax else {
            return fail(Violation(check: "a stop ends", detail: "m\(process.machine) is still there"))
        }
        add(.expectEnd(process, looks: isHeldUp ? 0 : looks + 1), after: Self.lookSeconds * Self.second)
    }
}
