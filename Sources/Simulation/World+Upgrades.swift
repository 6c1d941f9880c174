internal import Access
internal import MVCC
internal import Raft
internal import Replication
internal import Storage

/// Members of two releases in one fabric. The later one knows formats that may be used once all run it and somebody says so.
extension World {
    static let earlierRelease = FabricVersion.first...FabricVersion.first

    /// Tells the fabric what a process runs, until it is known.
    func publish(_ process: SimulatedProcess) {
        let wanted = MemberAttributes(
            name: "m\(process.machine)", clientURLs: [],
            release: MemberAttributes.Release(
                name: "release \(process.settings.versions.upperBound)", versions: process.settings.versions))
        guard process.attributes != wanted else { return }
        propose(.publish(memberID: process.identity.memberID, wanted), at: process) { [unowned self] _ in
            add(.publish(process), after: Self.second / 10)
        }
    }

    /// The operator installs the later release somewhere, goes back to the earlier one, or ends the upgrade, maybe too early.
    func goOnUpgrading(_ leader: SimulatedProcess) {
        guard plan.faults.contains(.upgrade) else { return }
        if leader.settings.versions == FabricVersion.supported, faultDice.chance(0.1) {
            say("the upgrade has to end")
            propose(.raiseVersion(FabricVersion.supported.upperBound), at: leader)
        }
        let number = faultDice.below(machines.count)
        guard machines[number].process != nil else { return }
        let isEarlier = machines[number].versions == Self.earlierRelease
        // There is no way back once the upgrade has ended.
        guard isEarlier || oracle.releases.version == FabricVersion.first,
            faultDice.chance(isEarlier ? 0.3 : 0.05)
        else { return }
        install(isEarlier ? FabricVersion.supported : Self.earlierRelease, on: number)
        crash(number, powerCut: false)
    }

    /// A machine without a member gets one; the operator knows what the fabric needs.
    func releaseOfNewcomer() -> ClosedRange<UInt64> {
        let isEarlier = plan.faults.contains(.upgrade) && faultDice.chance(0.5)
        return isEarlier && oracle.releases.version == FabricVersion.first
            ? Self.earlierRelease : FabricVersion.supported
    }

    /// A member refuses to go on. If that is for what it runs, it gets the later release.
    func noteUnusable(_ number: Int, _ error: StorageError) {
        guard case .unusable = error else { return }
        guard !machines[number].versions.contains(oracle.releases.version) else {
            return fail(
                Violation(check: "a release that knows the fabric's version serves it", detail: "m\(number): \(error)"))
        }
        install(FabricVersion.supported, on: number)
    }

    private func install(_ versions: ClosedRange<UInt64>, on number: Int) {
        say("m\(number) gets release \(versions.upperBound)")
        machines[number].versions = versions
    }

    func propose(
        _ command: Command, at process: SimulatedProcess, within nanoseconds: UInt64 = 7 * second,
        answer: @escaping (Outcome) -> Void = { _ in }
    ) {
        let id = makeRequestID()
        process.expect(id, answer)
        let isOwn = if case .publish = command { true } else if case .raiseVersion = command { true } else { false }
        let author = isOwn ? nil : author(AccessState.root, at: process)
        let payload = CommandEnvelope.encode(command, by: author, requestID: id)
        process.post(
            .propose(Proposal(id: id, kind: .command, payload: payload), deadline: process.now + nanoseconds))
    }
}

extension Plan {
    var releaseOfFounders: ClosedRange<UInt64> {
        faults.contains(.upgrade) ? World.earlierRelease : FabricVersion.supported
    }
}
