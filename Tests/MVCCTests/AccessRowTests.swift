import Access
import Testing

@Suite("Rows of users and roles")
struct AccessRowTests {
    @Test(
        "Rows tell what changed, and a state that is loaded from all of them is the same",
        arguments: [1, 2, 3] as [UInt64])
    func rows(seed: UInt64) throws {
        var state = AccessState()
        var rows: [[UInt8]: AccessRow] = [:]
        let names = (UInt8(1)...4).map { [$0] } + [AccessState.root]
        var random = Chance(state: seed)
        func name() -> [UInt8] { names.randomElement(using: &random) ?? [] }
        for _ in 0..<2000 {
            let before = state
            let change: AccessChange =
                switch Int.random(in: 0...9, using: &random) {
                case 0, 1: .addUser(name(), passwordHash: Bool.random(using: &random) ? [9] : nil)
                case 2: .deleteUser(name())
                case 3: .addRole(name())
                case 4: .deleteRole(name())
                case 5, 6: .grantRole(name(), user: name())
                case 7: .grantPermission(Permission(kind: 2, key: name(), end: []), role: name())
                case 8: .revokePermission(key: name(), end: [], role: name())
                default: Bool.random(using: &random) ? .enable : .disable
                }
            do throws(AccessRefusal) { try state.apply(change) } catch { #expect(state == before) }
            for row in state.rows(since: before) { rows[[row.kind.rawValue] + row.key] = row }
            var loaded = AccessState()
            for row in rows.values { if let body = row.body { try loaded.load(row.kind, body) } }
            try #require(loaded == state, "after \(change)")
        }
    }
}
