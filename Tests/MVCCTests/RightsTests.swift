import Access
import MVCC
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Few letters, so that ranges meet.
private func word(_ random: inout Chance) -> [UInt8] {
    (0..<Int.random(in: 0...2, using: &random)).map { _ in UInt8.random(in: 0...3, using: &random) }
}

@Suite("Rights to keys")
struct RightsTests {
    private static let user = bytes("u")

    private func rights(_ roles: [[Permission]]) throws -> Rights {
        var state = AccessState()
        try state.apply(.addUser(Self.user, passwordHash: nil))
        for (number, permissions) in roles.enumerated() {
            let name = bytes("r\(number)")
            try state.apply(.addRole(name))
            try state.apply(.grantRole(name, user: Self.user))
            for permission in permissions { try state.apply(.grantPermission(permission, role: name)) }
        }
        return try #require(Rights(of: Self.user, in: state))
    }

    private func read(_ key: String, _ end: String) -> Permission {
        Permission(kind: 0, key: bytes(key), end: bytes(end))
    }

    private func span(_ start: String, _ end: String?) -> KeyRange {
        KeyRange(start: bytes(start), end: end.map { .before(bytes($0)) } ?? .unbounded)
    }

    private func single(_ key: [UInt8]) -> KeyRange { KeyRange(start: key, end: .single) }

    @Test("Ranges that touch are one, of whichever role; single keys are none")
    func merging() throws {
        let rights = try rights([[read("a", "c"), read("x", "")], [read("c", "e"), read("y", "")]])
        #expect(rights.allow(.read, of: span("a", "e")))
        #expect(!rights.allow(.read, of: span("a", "f")) && !rights.allow(.read, of: span("0", "b")))
        #expect(rights.allow(.read, of: single(bytes("x"))) && rights.allow(.read, of: single(bytes("y"))))
        #expect(!rights.allow(.read, of: span("x", "z")) && !rights.allow(.read, of: single(bytes("xa"))))
        #expect(!rights.allow(.read, of: span("a", nil)) && !rights.allow(.write, of: span("a", "b")))
    }

    @Test("A range to the end is all keys from one on, and from [0] all there are")
    func toTheEnd() throws {
        let some = try rights([[Permission(kind: 2, key: bytes("m"), end: [0])]])
        #expect(some.allow(.write, of: span("m", nil)) && !some.allow(.write, of: span("l", nil)))
        let all = try rights([[Permission(kind: 1, key: [0], end: [0])]])
        #expect(all.allow(.write, of: span("", nil)) && !all.allow(.read, of: span("", nil)))
    }

    @Test("Root may do everything, unknown kinds allow nothing, and who is nobody has no rights")
    func root() throws {
        var state = AccessState()
        try state.apply(.addUser(Self.user, passwordHash: nil))
        try state.apply(.grantRole(AccessState.root, user: Self.user))
        #expect(try #require(Rights(of: Self.user, in: state)).allow(.write, of: span("", nil)))
        #expect(Rights(of: bytes("nobody"), in: state) == nil)
        #expect(!(try rights([[Permission(kind: 3, key: [0], end: [0])]])).allow(.read, of: single([1])))
    }

    @Test(
        "A range is allowed if each key of it is: as a model says that looks at every key",
        arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) throws {
        var random = Chance(state: seed)
        let letters = UInt8(0)...4
        let keys = letters.flatMap { a in [[a]] + letters.flatMap { b in [[a, b]] + letters.map { [a, b, $0] } } }
        for _ in 0..<2000 {
            var permissions: [Permission] = []
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let permission = Permission(
                    kind: Int32.random(in: 0...2, using: &random), key: word(&random), end: word(&random))
                let isValid =
                    !permission.key.isEmpty
                    && (permission.end.isEmpty || permission.end == [0]
                        || permission.key.lexicographicallyPrecedes(permission.end))
                if isValid { permissions.append(permission) }
            }
            // The last of the same range counts.
            permissions = permissions.enumerated().filter { place, one in
                !permissions[(place + 1)...].contains { $0.key == one.key && $0.end == one.end }
            }.map(\.element)
            let rights = try rights([permissions])
            let start = word(&random)
            let last = Bool.random(using: &random) ? word(&random) : []
            let end = last.isEmpty ? [5] : last
            guard start.lexicographicallyPrecedes(end) else { continue }
            func covers(_ permission: Permission, _ key: [UInt8]) -> Bool {
                if permission.end.isEmpty { return permission.key == key }
                if permission.end == [0] {
                    return permission.key == [0] || !key.lexicographicallyPrecedes(permission.key)
                }
                return !key.lexicographicallyPrecedes(permission.key) && key.lexicographicallyPrecedes(permission.end)
            }
            let concerned = ([[]] + keys).filter {
                !$0.lexicographicallyPrecedes(start) && $0.lexicographicallyPrecedes(end)
            }
            let asked = KeyRange(start: start, end: end == [5] ? .unbounded : .before(end))
            let readable = permissions.filter { $0.kind != 1 }
            if rights.allow(.read, of: asked) {
                let missed = concerned.first { key in !readable.contains { covers($0, key) } }
                #expect(missed == nil, "\(permissions) allow \(asked), but none allows \(missed ?? [])")
            } else {
                // Some key of the range, of those that end where a permission does, is in none.
                let edges =
                    concerned + readable.flatMap { [$0.key, $0.key + [0], $0.end] } + [start + [0], [255]]
                let missed = edges.contains { key in
                    !key.lexicographicallyPrecedes(start)
                        && (asked.end == .unbounded || key.lexicographicallyPrecedes(end))
                        && !readable.contains { covers($0, key) }
                }
                #expect(missed, "\(permissions) refuse \(asked), and allow each key of it")
            }
        }
    }
}
