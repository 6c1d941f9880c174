internal import Bytes
internal import CSimulatedDisk
internal import MVCC
internal import Raft
internal import Replication
internal import Storage
internal import Transport

/// How messages travel.
struct Network {
    /// What befalls the messages of one directed link.
    struct Link {
        var loss = 0.0
        var extraNanoseconds: UInt64 = 0
        var isCut = false
        /// Nothing overtakes what arrives then.
        var lastArrival: UInt64 = 0
    }

    var links: [[Link]]
    var dice: Dice
    /// Messages that may be replayed.
    var past: [(message: Message, to: Int)] = []

    init(seed: UInt64, plan: Plan) {
        links = [[Link]](repeating: [Link](repeating: Link(), count: plan.machines), count: plan.machines)
        dice = Dice(seed: seed, purpose: "network")
    }

    mutating func heal() {
        for from in links.indices {
            for to in links.indices {
                links[from][to] = Link(lastArrival: links[from][to].lastArrival)
            }
        }
        past = []
    }
}

/// An image on its way to a member that is too far behind.
final class SnapshotTransfer {
    let sender: SimulatedProcess
    let peer: NodeID
    let image: SnapshotImage
    var attempts = 0

    init(sender: SimulatedProcess, peer: NodeID, image: SnapshotImage) {
        self.sender = sender
        self.peer = peer
        self.image = image
    }
}

extension World {
    private var isReordering: Bool { isTroubled && plan.faults.contains(.reorder) }

    func send(_ messages: [Message], from process: SimulatedProcess) {
        for message in messages { send(message, from: process) }
    }

    private func send(_ message: Message, from process: SimulatedProcess) {
        attempt { () throws(Violation) in
            switch message.body {
            case .vote: try oracle.noteVote(of: message.from, for: message.from, term: message.term)
            case .voteReply(granted: true): try oracle.noteVote(of: message.from, for: message.to, term: message.term)
            default: break
            }
        }
        guard let machine = machine(of: message.to), machine != process.machine else { return }
        guard machines[machine].process != nil else {
            // Nobody listens there: sometimes the sender knows, and has its proposals back.
            if network.dice.chance(0.7) { giveBack(message, to: process) }
            return
        }
        travel(message, from: process.machine, to: machine)
    }

    private func giveBack(_ message: Message, to process: SimulatedProcess) {
        if case .propose = message.body { add(.tell(process, .undelivered([message])), after: laneDelay()) }
        if network.dice.chance(0.2) { add(.tell(process, .raft(.unreachable(message.to))), after: laneDelay()) }
    }

    private func travel(_ message: Message, from: Int, to: Int) {
        let link = network.links[from][to]
        guard !link.isCut, !network.dice.chance(link.loss), let message = damaged(message) else { return }
        var arrival = now + linkDelay() + link.extraNanoseconds
        if isReordering, network.dice.chance(0.1) {
            arrival += network.dice.duration(mean: 50_000_000)
        } else {
            arrival = max(arrival, link.lastArrival)
            network.links[from][to].lastArrival = arrival
        }
        add(.deliver(message, to: to), after: arrival - now)
        guard isTroubled else { return }
        if plan.faults.contains(.lie), network.dice.chance(0.003), let lie = lie(like: message) {
            add(.deliver(lie, to: to), after: arrival - now + network.dice.duration(mean: 5_000_000))
        }
        if plan.faults.contains(.duplicate), network.dice.chance(0.1) {
            add(.deliver(message, to: to), after: arrival - now + network.dice.duration(mean: 20_000_000))
        }
        if plan.faults.contains(.replay), network.dice.chance(0.01) {
            add(.deliver(message, to: to), after: network.dice.duration(mean: 20 * Self.second))
        }
    }

    private func linkDelay() -> UInt64 {
        if isTroubled, plan.faults.contains(.delay), network.dice.chance(0.002) {
            return network.dice.duration(mean: 10 * plan.linkNanoseconds)
        }
        return UInt64(Double(plan.linkNanoseconds) * (0.9 + 0.2 * network.dice.unit()))
    }

    /// The message as it arrives when bytes of its frame may change: nil when the receiver notices, which it must.
    private func damaged(_ message: Message) -> Message? {
        guard isTroubled else { return message }
        let corrupts = plan.faults.contains(.corrupt) && network.dice.chance(0.01)
        let truncates = plan.faults.contains(.truncate) && network.dice.chance(0.01)
        guard corrupts || truncates else { return message }
        var bytes = MessageFrame.bytes(of: [message])
        if corrupts { bytes[network.dice.below(bytes.count)] ^= UInt8(1 << network.dice.below(8)) }
        if truncates { bytes.removeLast(network.dice.between(1, bytes.count)) }
        do throws(DecodingFault) {
            let found = try MessageFrame.messages(in: bytes)
            if corrupts || truncates, found != [message], !found.isEmpty {
                fail(Violation(check: "changed frames are noticed", detail: "a changed frame passed for \(found)"))
            }
        } catch {
            return nil
        }
        return nil
    }

    func deliver(_ message: Message, to machine: Int) {
        if overtaking != nil { overtake(at: message) }
        guard let process = machines[machine].process, process.identity.memberID == message.to else { return }
        // What is under way when a link is cut does not arrive either.
        if let sender = self.machine(of: message.from), network.links[sender][machine].isCut { return }
        // It has arrived; a process that stands still finds it later, in no certain order.
        let until = machines[machine].pausedUntil
        if until > now {
            add(.hand(message, process), after: until - now + laneDelay())
        } else {
            hand(message, process)
        }
    }

    func hand(_ message: Message, _ process: SimulatedProcess) {
        note(message.from &* 31 &+ message.term)
        guard !process.removed.contains(message.from) else {
            // As the daemons do: who removed a member tells it.
            if let other = self.machine(of: message.from).flatMap({ machines[$0].process }) {
                add(.removed(other), after: laneDelay())
            }
            return
        }
        process.post(.messages([message]))
    }

    // MARK: - Snapshots

    /// Brings a chunk over, or finishes.
    func advance(_ transfer: SnapshotTransfer) {
        guard transfer.sender.isAlive else { return }
        transfer.attempts += 1
        guard let machine = machine(of: transfer.peer), let receiver = machines[machine].process,
            transfer.attempts < 100
        else { return end(transfer, succeeded: false) }
        let link = network.links[transfer.sender.machine][machine]
        let isStill = machines[machine].pausedUntil > now || machines[transfer.sender.machine].pausedUntil > now
        guard !link.isCut, !isStill, !network.dice.chance(link.loss) else {
            if network.dice.chance(0.1) { return end(transfer, succeeded: false) }
            return add(.chunk(transfer), after: network.dice.duration(mean: Self.second))
        }
        do throws(StorageError) {
            if try moveChunk(transfer, to: receiver) {
                end(transfer, succeeded: true)
            } else {
                add(.chunk(transfer), after: network.dice.duration(mean: plan.linkNanoseconds) + link.extraNanoseconds)
            }
        } catch {
            say("a snapshot to member \(transfer.peer) fails: \(error)")
            endIfDead(receiver)
            endIfDead(transfer.sender)
            if transfer.sender.isAlive { end(transfer, succeeded: false) }
        }
    }

    private func moveChunk(_ transfer: SnapshotTransfer, to receiver: SimulatedProcess) throws(StorageError) -> Bool {
        let header = transfer.image.header
        let store = SnapshotStore(directory: receiver.directory.snapshotPath)
        let have = try store.received(header)
        if have < header.bytes {
            let chunk = try File(transfer.image.path, .read).read(at: have, count: SnapshotStore.chunkBytes)
            try store.write(chunk, at: have, of: header)
            guard have + chunk.count >= header.bytes else { return false }
        }
        let path = try store.finish(header)
        try SnapshotImage.receive(path, is: header.mark, of: receiver.identity.clusterID)
        receiver.addReceivedSnapshot(header.mark, path: path)
        receiver.post(.raft(.snapshotReceived(header.mark, from: transfer.sender.identity.memberID)))
        return true
    }

    private func endIfDead(_ process: SimulatedProcess) {
        if wd_is_dead(Int32(process.machine)) != 0 {
            processDied(process, "the machine died within an operation of its disk")
        }
    }

    private func end(_ transfer: SnapshotTransfer, succeeded: Bool) {
        let sender = transfer.sender
        sender.post(.snapshotEnded(transfer.peer, succeeded ? transfer.image.header.mark.index : nil))
        sender.post(SnapshotWork.ended(transfer.peer))
    }
}
