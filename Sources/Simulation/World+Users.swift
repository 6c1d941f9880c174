internal import Access
internal import Fabric
internal import MVCC
internal import Replication

/// Users whose rights come and go. Each client is one, and asks whatever it likes through members that may not have heard yet what it
/// may do, or may no more: what is written is looked at again where it is applied.
extension World {
    static func user(of client: Int) -> [UInt8] { Array("u\(client)".utf8) }

    private static func prefix(_ kind: Int32) -> Permission {
        Permission(kind: kind, key: Array("k".utf8), end: Array("l".utf8))
    }

    /// What the operator does first, in order.
    private var preparations: [AccessChange] {
        let users = (0..<plan.clients).map(Self.user)
        return [.addUser(AccessState.root, passwordHash: nil), .grantRole(AccessState.root, user: AccessState.root)]
            + users.flatMap { name -> [AccessChange] in
                [
                    .addUser(name, passwordHash: nil), .addRole(name), .grantRole(name, user: name),
                    .grantPermission(Self.prefix(2), role: name),
                ]
            } + [.enable]
    }

    /// In whose name a process passes something on; nil where it knows no rights.
    func author(_ name: [UInt8], at process: SimulatedProcess) -> Author? {
        guard let access = process.view?.access, access.isEnabled else { return nil }
        return Author(name: name, revision: access.revision)
    }

    /// The operator changes something, waits for the answer, and goes on.
    func changeAccess(prepared: Int) {
        guard isTroubled else { return }
        let awake = machines.compactMap(\.process).filter { !$0.isWitness }
        guard !awake.isEmpty else { return add(.changeAccess(prepared: prepared), after: Self.second) }
        let process = clients.dice.pick(awake)
        let change = prepared < preparations.count ? preparations[prepared] : chooseAccessChange()
        propose(
            .access(change, Fabric.Trace(at: Int64(now / 1_000_000), by: "operator")), at: process,
            within: 2 * Self.second
        ) { [unowned self] outcome in
            let isDone =
                switch outcome {
                // It was done before, and its answer was lost.
                case .success, .failure(.refused(.access(.userExists))), .failure(.refused(.access(.roleExists))): true
                case .failure: false
                }
            let pause = prepared < preparations.count ? 10_000_000 : clients.dice.duration(mean: plan.faultNanoseconds)
            add(.changeAccess(prepared: isDone ? prepared + 1 : prepared), after: pause)
        }
    }

    private func chooseAccessChange() -> AccessChange {
        let role = Self.user(of: clients.dice.below(plan.clients))
        let key = Array("k\(clients.dice.below(plan.keys))".utf8)
        switch clients.dice.below(20) {
        case 0: return .disable
        case 1, 2: return .enable
        case 3..<8: return .grantPermission(Self.prefix(Int32(clients.dice.below(3))), role: role)
        case 8..<11: return .revokePermission(key: Array("k".utf8), end: Array("l".utf8), role: role)
        case 11..<17:
            return .grantPermission(Permission(kind: Int32(clients.dice.below(3)), key: key, end: []), role: role)
        default: return .revokePermission(key: key, end: [], role: role)
        }
    }
}
