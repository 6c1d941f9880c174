internal import Access
internal import MVCC
internal import Raft
internal import Replication

/// Those who use the fabric: each asks, waits for the answer, thinks, and asks again.
struct Clients {
    var dice: Dice
    /// The highest revision anybody was told of.
    var floor: Int64 = 0
    var written = 0
    /// The request each client waits for.
    var waiting: [ClientRequest?]
    /// They think until then.
    var quietUntil: UInt64 = 0

    init(seed: UInt64, plan: Plan) {
        dice = Dice(seed: seed, purpose: "clients")
        waiting = [ClientRequest?](repeating: nil, count: plan.clients)
    }
}

final class ClientRequest {
    enum Work {
        case write(Command)
        case read(RangeRequest)
    }

    /// Nobody's: it was made for its moment.
    let client: Int?
    let id: UInt64
    let work: Work
    /// What had been acknowledged when it was made.
    let floor: Int64
    let process: SimulatedProcess
    var isDone = false

    init(client: Int?, id: UInt64, work: Work, floor: Int64, process: SimulatedProcess) {
        self.client = client
        self.id = id
        self.work = work
        self.floor = floor
        self.process = process
    }
}

extension World {
    private static let patience: UInt64 = 10 * second

    func makeRequest(_ client: Int) {
        let awake = machines.compactMap(\.process).filter { !$0.isWitness }
        // In the end they wait until all members agree on what they did.
        guard !awake.isEmpty, isTroubled || now < faultsEndedAt + 5 * Self.second else {
            add(.request(client: client), after: Self.second)
            return
        }
        guard now >= clients.quietUntil else {
            add(.request(client: client), after: clients.quietUntil - now + clients.dice.next() % plan.thinkNanoseconds)
            return
        }
        let process = clients.dice.pick(awake)
        let request = ClientRequest(
            client: client, id: makeRequestID(), work: chooseWork(process), floor: clients.floor, process: process)
        clients.waiting[client] = request
        add(.giveUp(request), after: Self.patience)
        submit(request)
    }

    /// A request that no client waits for: a write, or a read that must be linearizable.
    func makeRequest(of process: SimulatedProcess, writes: Bool) {
        guard process.isAlive, !process.isWitness else { return }
        let work: ClientRequest.Work =
            if writes {
                .write(.put(PutRequest(key: key(), value: padded("m\(now)"))))
            } else {
                .read(RangeRequest(range: KeyRange(prefix: Array("k".utf8))))
            }
        let request = ClientRequest(
            client: nil, id: makeRequestID(), work: work, floor: clients.floor, process: process)
        add(.giveUp(request), after: Self.patience)
        submit(request)
    }

    private func key() -> [UInt8] { Array("k\(clients.dice.below(plan.keys))".utf8) }

    private func padded(_ text: String) -> [UInt8] {
        Array(text.utf8) + [UInt8](repeating: 46, count: clients.dice.below(200))
    }

    private func chooseWork(_ process: SimulatedProcess) -> ClientRequest.Work {
        clients.written += 1
        let value = padded("v\(clients.written)")
        if plan.hasNodes, clients.dice.chance(0.3) { return .write(chooseFabricWork(process)) }
        switch clients.dice.below(100) {
        case 0..<35: return .write(.put(PutRequest(key: key(), value: value)))
        case 35..<45: return .write(chooseLeaseWork(value))
        case 45..<55: return .write(.deleteRange(DeleteRangeRequest(range: KeyRange(start: key(), end: .single))))
        case 55..<70:
            let target = key()
            let known = oracle.model.version(of: target, at: oracle.model.revision)?.revision ?? 0
            let expected = clients.dice.chance(0.7) ? known : known + 1
            let otherwise: TxnRequest.Operation =
                clients.dice.chance(0.3)
                ? .put(PutRequest(key: key(), value: value))
                : .range(RangeRequest(range: KeyRange(start: target, end: .single)))
            return .write(
                .txn(
                    TxnRequest(
                        compares: [
                            Compare(
                                range: KeyRange(start: target, end: .single), relation: .equal, operand: .mod(expected))
                        ], success: [.put(PutRequest(key: target, value: value))],
                        failure: [otherwise])))
        default:
            var range = RangeRequest(
                range: clients.dice.chance(0.5)
                    ? KeyRange(start: key(), end: .single) : KeyRange(prefix: Array("k".utf8)))
            range.serializable = clients.dice.chance(0.2)
            return .read(range)
        }
    }

    private func chooseLeaseWork(_ value: [UInt8]) -> Command {
        let known = oracle.model.leases.keys.sorted().randomElement(using: &clients.dice) ?? 1
        switch clients.dice.below(5) {
        case 0: return .leaseGrant(id: Int64(clients.written), ttl: Int64(clients.dice.between(2, 12)))
        case 1: return .leaseRevoke(known)
        case 2: return .leaseRenew(known)
        default:
            var put = PutRequest(key: key(), value: value)
            put.lease = known
            return .put(put)
        }
    }

    func submit(_ request: ClientRequest) {
        let process = request.process
        // What a process that stands still gets meanwhile it finds later, in no certain order.
        let until = machines[process.machine].pausedUntil
        guard until <= now else { return add(.submit(request), after: until - now + laneDelay()) }
        guard process.isAlive else { return }
        let deadline = process.now + 7 * Self.second
        switch request.work {
        case .write(let command):
            let name = request.client.map(Self.user) ?? AccessState.root
            let payload = CommandEnvelope.encode(command, by: author(name, at: process), requestID: request.id)
            process.expect(request.id) { [unowned self] in finish(request, $0) }
            process.post(
                .propose(Proposal(id: request.id, kind: .command, payload: payload), deadline: deadline))
        case .read(let range) where range.serializable: add(.read(request), after: laneDelay())
        // As a thread does that finds the state current.
        case .read where process.isCurrent: read(request)
        case .read:
            // Every closure here runs on the one thread of the simulation.
            nonisolated(unsafe) let later = { [unowned self] (failure: ServerError?) in
                if failure == nil { add(.read(request), after: laneDelay()) } else { done(request) }
            }
            process.post(.read(PendingRead(deadline: deadline) { later($0) }))
        }
    }

    /// The answer to a write.
    private func finish(_ request: ClientRequest, _ outcome: Outcome) {
        guard !request.isDone else { return }
        switch outcome {
        case .success(let applied): check(request, applied)
        case .failure(.noLeader): attempt { () throws(Violation) in try oracle.noteRefused(request.id) }
        case .failure: break
        }
        done(request)
    }

    private func check(_ request: ClientRequest, _ applied: Applied) {
        acknowledged += 1
        attempt { () throws(Violation) in
            guard let known = oracle.outcomes[request.id] else {
                throw Violation(check: "what is answered was committed", detail: "request \(request.id) is in no entry")
            }
            guard known.isAllowed else {
                throw Violation(check: "what is written was allowed", detail: "request \(request.id) was not")
            }
            if case .txn(let result) = applied.result, result.succeeded != known.holds {
                throw Violation(check: "answers are the model's", detail: "txn \(request.id) took the other branch")
            }
            guard applied.revision == known.revision else {
                throw Violation(
                    check: "answers are the model's",
                    detail: "request \(request.id) is answered revision \(applied.revision), not \(known.revision)")
            }
            try checkOrder(request, applied.revision)
        }
        clients.floor = max(clients.floor, applied.revision)
        say("request \(request.id) is answered revision \(applied.revision) by m\(request.process.machine)")
        temptAnswer()
    }

    /// Real time: what was acknowledged before a request was made comes before it.
    private func checkOrder(_ request: ClientRequest, _ revision: Int64) throws(Violation) {
        guard revision >= request.floor else {
            throw Violation(
                check: "answers are linearizable",
                detail:
                    "request \(request.id) is answered as of revision \(revision); \(request.floor) was acknowledged before it"
            )
        }
    }

    func read(_ request: ClientRequest) {
        guard !request.isDone, case .read(let range) = request.work else { return }
        let process = request.process
        guard process.isAlive, machines[process.machine].pausedUntil <= now else {
            if process.isAlive { add(.read(request), after: machines[process.machine].pausedUntil - now) }
            return
        }
        guard !process.isWitness, case .success(let result)? = process.read(range) else { return done(request) }
        attempt { () throws(Violation) in
            let expected = oracle.model.pairs(in: range.range, at: result.revision)
            guard result.pairs == expected else {
                throw Violation(
                    check: "reads are the model's",
                    detail:
                        "m\(process.machine) at revision \(result.revision) has \(result.pairs.count) pairs of \(expected.count), or others"
                )
            }
            if !range.serializable {
                try checkOrder(request, result.revision)
                clients.floor = max(clients.floor, result.revision)
            }
        }
        done(request)
    }

    private func done(_ request: ClientRequest) {
        guard !request.isDone else { return }
        request.isDone = true
        guard let client = request.client else { return }
        clients.waiting[client] = nil
        add(.request(client: client), after: clients.dice.duration(mean: plan.thinkNanoseconds))
    }

    /// The member died, or lost the request.
    func giveUp(_ request: ClientRequest) {
        if !request.isDone { done(request) }
    }
}
