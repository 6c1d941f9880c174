internal import CSimulatedDisk
internal import Logging
internal import Raft
internal import Replication
internal import Storage

/// One run: machines, their network, their clients and what befalls them, all on one thread and decided by one seed.
package final class World: @unchecked Sendable {
    enum Action {
        case run(SimulatedProcess, SimulatedProcess.Turn)
        case tick(SimulatedProcess)
        case logDone(SimulatedProcess)
        case deliver(Message, to: Int)
        case hand(Message, SimulatedProcess)
        case tell(SimulatedProcess, ConsensusWork)
        case chunk(SnapshotTransfer)
        case removed(SimulatedProcess)
        case removedUnseen(machine: Int, NodeID)
        case request(client: Int)
        case read(ClientRequest)
        case giveUp(ClientRequest)
        case start(machine: Int)
        case end(SimulatedProcess, powerCut: Bool)
        case stopped(SimulatedProcess)
        case expectEnd(SimulatedProcess, looks: Int)
        case isolate(SimulatedProcess)
        case cutOff(SimulatedProcess)
        case submit(ClientRequest)
        case watch(Int)
        case publish(SimulatedProcess)
        case history(SimulatedProcess, HistoryRead)
        case ask(SimulatedProcess, writes: Bool)
        case changeMembership(SimulatedProcess)
        case loseTail(Int, laggards: [Int])
        case restartAtOnce(Int)
        case replaceVoter(SimulatedProcess, behind: Index, tries: Int)
        case lose(SimulatedProcess)
        case changeAccess(prepared: Int)
        case fault
        case lift(Lifting)
        case operate
        case endFaults
        case probe
    }

    package let seed: UInt64
    package let plan: Plan
    package private(set) var now: UInt64 = 0
    package private(set) var events = 0
    package private(set) var violation: Violation?
    /// Changes with every event: two runs of a seed are the same if this is.
    package private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    package internal(set) var acknowledged = 0
    /// The most that each member ever had on disk.
    var durable: [NodeID: Index] = [:]

    let founding: Configuration
    var oracle: Oracle
    var machines: [Machine] = []
    var network: Network
    var clients: Clients
    var watchers: [SimulatedWatcher]
    var steward = Steward()
    /// Who was removed by a leader that nobody heard, until the next one is there.
    var rivalry: (leader: Int, removed: NodeID)?
    var overtaking: Overtaking?
    /// There are others to get a lost state from.
    var mayRepair: Bool
    /// `Raft.logEpoch` of each machine's last process.
    var logEpochs: [Int: UInt64] = [:]
    var dice: Dice
    var faultDice: Dice
    /// The fabric goes on from one survivor.
    var hasRecovered = false
    /// Faults still happen.
    var isTroubled = true
    var isOver = false
    var faultsEndedAt: UInt64 = 0
    /// Since faults ended, when there was progress last.
    var progressedAt: UInt64 = 0
    var lastProgress = Progress()
    var probes: [Probe] = []
    private var queue = EventQueue<Action>()
    private var requestIDs: UInt64 = 1 << 32
    let trace: Trace?

    static let second: UInt64 = 1_000_000_000

    package init(seed: UInt64, plan: Plan, print: ((String) -> Void)? = nil) {
        self.seed = seed
        self.plan = plan
        mayRepair = plan.voters > 1
        trace = print.map { Trace(print: $0) }
        var dice = Dice(seed: seed, purpose: "timing")
        founding = Configuration(
            (0..<plan.voters).map { number in
                Member(
                    id: NodeID(number + 1), role: plan.hasWitness && number == plan.voters - 1 ? .witness : .voter,
                    peerURLs: ["http://m\(number)"],
                    priority: plan.hasPriorities ? UInt8(50 * dice.between(0, 3)) : Member.defaultPriority,
                    domain: plan.hasDomains ? Self.domains[number % Self.domains.count] : "")
            }, policy: Policy(domainsMin: plan.spread, readsByLease: plan.readsByLease))
        oracle = Oracle(founding: founding, version: plan.releaseOfFounders.upperBound)
        self.dice = dice
        faultDice = Dice(seed: seed, purpose: "faults")
        network = Network(seed: seed, plan: plan)
        clients = Clients(seed: seed, plan: plan)
        watchers = [1 << 20, 400].map(SimulatedWatcher.init)
    }

    /// Runs to the end, or to the first violation.
    package func run() -> Violation? {
        wd_reset()
        wd_set_seed(seed)
        begin()
        while violation == nil, !isOver, let (time, action) = queue.next() {
            now = max(now, time)
            events += 1
            perform(action)
        }
        if let violation {
            for machine in machines { say(describe(machine)) }
            say("VIOLATION \(violation.check): \(violation.detail)")
        }
        for place in machines.indices { machines[place].process?.end() }
        return violation
    }

    private func begin() {
        steward.nextID = NodeID(plan.machines + 1)
        for number in 0..<plan.machines {
            let isFounder = number < plan.voters
            machines.append(
                Machine(
                    number: number, role: isFounder ? .member(NodeID(number + 1)) : .free, process: nil,
                    clock: Clock(reading: dice.next() >> 20)))
            machines[number].versions = plan.releaseOfFounders
            wd_start(Int32(number))
            if isFounder { start(number, founding: founding) }
        }
        for client in 0..<plan.clients { add(.request(client: client), after: dice.duration(mean: Self.second)) }
        for number in watchers.indices { add(.watch(number), after: clients.dice.duration(mean: Self.second)) }
        if !plan.faults.isEmpty { add(.fault, after: faultDice.duration(mean: plan.faultNanoseconds)) }
        add(.operate, after: Self.second)
        if plan.hasUsers { add(.changeAccess(prepared: 0), after: Self.second) }
        add(.endFaults, after: plan.faultSeconds * Self.second)
    }

    // MARK: - Events

    func add(_ action: Action, after nanoseconds: UInt64) {
        queue.add(action, at: now + nanoseconds)
    }

    private func perform(_ action: Action) {
        switch action {
        case .run(let process, let lane): whenAwake(process, action) { process.run(lane) }
        case .tick(let process):
            whenAwake(process, action) {
                process.tick()
                scheduleTick(process)
            }
        case .logDone(let process): whenAwake(process, action) { process.finishLog() }
        case .deliver(let message, let machine): deliver(message, to: machine)
        case .hand(let message, let process): whenAwake(process, action) { hand(message, process) }
        case .tell(let process, let work): whenAwake(process, action) { process.post(work) }
        case .chunk(let transfer): advance(transfer)
        case .removed(let process): if process.isAlive { retire(process) }
        case .isolate(let process): isolate(process)
        case .cutOff(let process): cutOff(process)
        case .submit(let request): submit(request)
        case .watch(let number): watch(number)
        case .changeAccess(let prepared): changeAccess(prepared: prepared)
        case .publish(let process): whenAwake(process, action) { publish(process) }
        case .history(let process, let read): whenAwake(process, action) { process.answer(read) }
        case .ask(let process, let writes): makeRequest(of: process, writes: writes)
        case .changeMembership(let process): changeMembership(process)
        case .loseTail(let machine, let laggards): loseTail(machine, laggards)
        case .restartAtOnce(let machine): restartAtOnce(machine)
        case .replaceVoter(let leader, let index, let tries): replaceVoter(leader, behind: index, tries: tries)
        case .lose(let process): if process.isAlive, isTroubled, mayDamage(process.machine) { wipe(process.machine) }
        case .removedUnseen(let machine, let id): retireUnseen(machine, id)
        case .request(let client): makeRequest(client)
        case .read(let request): read(request)
        case .giveUp(let request): giveUp(request)
        case .start(let machine): start(machine)
        case .end(let process, let powerCut):
            if process.isAlive, isTroubled { crash(process.machine, powerCut: powerCut) }
        case .stopped(let process): if process.isAlive { crash(process.machine, powerCut: false) }
        case .expectEnd(let process, let looks): expectEnd(process, looks: looks)
        case .fault: strike()
        case .lift(let lifting): lift(lifting)
        case .operate: operate()
        case .endFaults: endFaults()
        case .probe: probe()
        }
    }

    /// Runs what a living process does, later if it stands still.
    private func whenAwake(_ process: SimulatedProcess, _ action: Action, _ body: () -> Void) {
        guard process.isAlive else { return }
        let until = machines[process.machine].pausedUntil
        guard until <= now else {
            queue.add(action, at: until)
            return
        }
        note(UInt64(process.machine))
        body()
    }

    /// Adds to the chain that tells two runs apart.
    func note(_ value: UInt64) {
        digest = (digest ^ (now &+ value)) &* 0x0000_0100_0000_01b3
    }

    func attempt(_ body: () throws(Violation) -> Void) {
        do throws(Violation) { try body() } catch { fail(error) }
    }

    func fail(_ found: Violation) {
        if violation == nil { violation = found }
    }

    private func describe(_ machine: Machine) -> String {
        guard let raft = machine.process?.replica?.raft else { return "m\(machine.number) \(machine.role) is down" }
        let members = raft.configuration.everybody.map { "\($0.id) \($0.role) \($0.priority)" }.joined(separator: ", ")
        return "m\(machine.number) member \(raft.id) \(raft.role) term \(raft.term) leader \(raft.leader ?? 0) "
            + "log \(raft.log.baseIndex)..\(raft.log.lastIndex) durable \(raft.log.durableIndex) commit \(raft.commit) "
            + "applied \(raft.applied) \(raft.isRecovering ? "recovering " : "")election \(raft.electionTicks) ticks, "
            + "members \(members) outgoing \(raft.configuration.outgoing)"
    }

    func say(_ text: @autoclosure () -> String) {
        trace?.line(now, text())
    }

    func logger(of machine: Int) -> Logger {
        Logger(label: "m\(machine)") { _ in TraceLog(world: self, machine: machine) }
    }

    func makeRequestID() -> UInt64 {
        requestIDs += 1
        return requestIDs
    }

    // MARK: - Time

    func clockReading(of machine: Int) -> UInt64 { machines[machine].clock.reading(at: now) }

    func laneDelay() -> UInt64 { 5_000 + dice.next() % 60_000 }

    func syncLatency(of machine: Int) -> UInt64 {
        max(dice.duration(mean: plan.syncNanoseconds), machines[machine].stalledUntil.subtractingOrZero(now))
    }

    private func scheduleTick(_ process: SimulatedProcess) {
        guard process.isAlive else { return }
        let interval = UInt64(plan.replication.heartbeatMilliseconds) * 1_000_000
        queue.add(.tick(process), at: machines[process.machine].clock.time(after: interval, from: now))
    }

    // MARK: - Processes

    /// Starts the member of a machine, on whatever its disk holds.
    func start(_ number: Int, founding: Configuration? = nil) {
        guard machines[number].process == nil, let id = machines[number].nodeID else { return }
        if wd_is_dead(Int32(number)) != 0 { wd_start(Int32(number)) }
        do throws(StorageError) {
            let identity = Identity(clusterID: 7, memberID: id, name: "m\(number)")
            let process = try SimulatedProcess(
                machine: number, identity: identity, founding: founding, world: self)
            machines[number].process = process
            checkDurable(process)
            guard !process.wasRepaired || machines[number].isDamaged else {
                return fail(Violation(check: "an unharmed disk is whole", detail: "m\(number) set a file aside"))
            }
            say("m\(number) starts as member \(id), log to \(process.logContents?.lastIndex ?? 0)")
            process.begin()
            scheduleTick(process)
            if plan.faults.contains(.upgrade) { add(.publish(process), after: Self.second) }
            temptRestarted(process)
        } catch {
            notStarted(number, error)
        }
    }

    /// A start that failed: the disk is damaged, or failed again.
    private func notStarted(_ number: Int, _ error: StorageError) {
        say("m\(number) does not start: \(error)")
        if wd_is_dead(Int32(number)) == 0 { wd_kill(Int32(number)) }
        noteUnusable(number, error)
        if case .damaged = error {
            guard machines[number].isDamaged else {
                fail(Violation(check: "an unharmed disk is whole", detail: "m\(number): \(error)"))
                return
            }
            // Its operator takes it out and lets it join anew.
            wipe(number)
            return
        }
        add(.start(machine: number), after: dice.duration(mean: Self.second))
    }

    /// What was acknowledged before is there after (P figure 2: persistent state).
    private func checkDurable(_ process: SimulatedProcess) {
        guard let found = process.logContents else { return }
        let machine = machines[process.machine]
        // It acts on what it finds, so that is durable, too.
        machines[process.machine].durable = Machine.Durable(lastIndex: found.lastIndex, hardState: found.hardState)
        guard let durable = machine.durable, !machine.isDamaged else { return }
        let (now, before) = (found.hardState, durable.hardState)
        if now.term < before.term || (now.term == before.term && before.vote != nil && now.vote != before.vote) {
            fail(
                Violation(
                    check: "term and vote outlive the process",
                    detail: "m\(process.machine) is back with \(now), it had \(before)"))
        }
        if found.lastIndex < durable.lastIndex, !durable.hasBatchUnderWay {
            fail(
                Violation(
                    check: "the log outlives the process",
                    detail: "m\(process.machine) is back with \(found.lastIndex) entries of \(durable.lastIndex)"))
        }
    }

    /// The disk has done what the log lane asked for.
    func noteDurable(_ found: LogStore.Contents, of process: SimulatedProcess) {
        machines[process.machine].durable = Machine.Durable(lastIndex: found.lastIndex, hardState: found.hardState)
    }

    /// Ends a process, with or without power; it is started again after a while.
    func crash(_ number: Int, powerCut: Bool, awayNanoseconds: UInt64? = nil) {
        guard machines[number].process != nil else { return }
        say("m\(number) \(powerCut ? "loses power" : "is killed")")
        if faultDice.chance(0.5) { reset(number) }
        if powerCut { wd_power_cut(Int32(number), faultDice.next()) } else { wd_kill(Int32(number)) }
        forgetProcess(number)
        add(
            .start(machine: number), after: awayNanoseconds ?? faultDice.duration(mean: plan.restartNanoseconds))
    }

    /// A process ended by itself: its disk failed, or the machine died in the middle of an operation.
    func processDied(_ process: SimulatedProcess, _ reason: String, _ error: StorageError? = nil) {
        guard process.isAlive else { return }
        say("m\(process.machine) ends: \(reason)")
        if let error {
            process.directory.note(error)
            machines[process.machine].diedOfDisk = true
            noteUnusable(process.machine, error)
        }
        if wd_is_dead(Int32(process.machine)) == 0 { wd_kill(Int32(process.machine)) }
        forgetProcess(process.machine)
        add(.start(machine: process.machine), after: faultDice.duration(mean: plan.restartNanoseconds))
    }

    private func forgetProcess(_ number: Int) {
        guard let process = machines[number].process else { return }
        logEpochs[number] = process.replica?.raft.logEpoch
        machines[number].lastConfiguration = process.replica?.raft.configuration
        if process.hasLogUnderWay { machines[number].durable?.hasBatchUnderWay = true }
        process.end()
        machines[number].process = nil
        machines[number].pausedUntil = 0
    }

    /// A member learns that it was removed, and ends for good.
    func retire(_ process: SimulatedProcess) {
        say("m\(process.machine) was removed as member \(process.identity.memberID)")
        wd_wipe(Int32(process.machine))
        forgetProcess(process.machine)
        machines[process.machine].role = .free
        machines[process.machine].joining = nil
        machines[process.machine].isDamaged = false
        machines[process.machine].durable = nil
    }

    /// A newcomer that was removed before it heard of itself.
    private func retireUnseen(_ number: Int, _ id: NodeID) {
        guard machines[number].nodeID == id else { return }
        if let process = machines[number].process { return retire(process) }
        wd_wipe(Int32(number))
        machines[number].role = .free
        machines[number].isDamaged = false
        machines[number].durable = nil
    }

    /// The disk is lost; the steward removes the member and lets the machine join as a new one.
    func wipe(_ number: Int) {
        guard let id = machines[number].nodeID else { return }
        say("m\(number) loses its disk")
        wd_wipe(Int32(number))
        forgetProcess(number)
        machines[number].role = .free
        machines[number].joining = nil
        machines[number].durable = nil
        machines[number].isDamaged = true
        machines[number].harmed = (id, .max)
        steward.lost.append((id, number))
    }

    /// The living process that leads the latest term.
    var leader: SimulatedProcess? {
        machines.compactMap(\.process).filter(\.seen.leads).max { $0.seen.term < $1.seen.term }
    }

    func machine(of id: NodeID) -> Int? {
        machines.first { $0.nodeID == id }?.number
    }
}

extension UInt64 {
    func subtractingOrZero(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}

/// What members log becomes part of the trace.
private struct TraceLog: LogHandler {
    unowned let world: World
    let machine: Int
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    init(world: World, machine: Int) {
        self.world = world
        self.machine = machine
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        world.say("m\(machine) says: \(event.message)")
    }
}
