import Access
import Bytes
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("Users and roles")
struct AccessStateTests {
    private var state = AccessState()

    private mutating func expect(_ change: AccessChange, _ refusal: AccessRefusal?, revision: UInt64) {
        let before = state
        do throws(AccessRefusal) {
            try state.apply(change)
            #expect(refusal == nil, "\(change)")
        } catch {
            #expect(error == refusal, "\(change)")
            #expect(state == before, "what is refused changes nothing")
        }
        #expect(state.revision == revision, "\(change)")
    }

    @Test("Changes are taken and refused as etcd does it, and the revision tells of them")
    mutating func changes() {
        let (alice, root, reader) = (bytes("alice"), AccessState.root, bytes("reader"))
        expect(.enable, .noRootUser, revision: 1)
        expect(.disable, nil, revision: 1)
        expect(.addUser([], passwordHash: [1]), .emptyUserName, revision: 1)
        expect(.addUser(root, passwordHash: [1]), nil, revision: 2)
        expect(.addUser(root, passwordHash: nil), .userExists, revision: 2)
        expect(.enable, .noRootRole, revision: 2)
        expect(.grantRole(root, user: root), nil, revision: 3)
        expect(.grantRole(root, user: root), nil, revision: 3)
        expect(.enable, nil, revision: 3)
        expect(.deleteUser(root), .invalid, revision: 3)
        expect(.revokeRole(root, user: root), .invalid, revision: 3)
        expect(.deleteRole(root), .invalid, revision: 3)
        expect(.grantRole(reader, user: alice), .noUser, revision: 3)
        expect(.addUser(alice, passwordHash: nil), nil, revision: 4)
        expect(.grantRole(reader, user: alice), .noRole, revision: 4)
        expect(.addRole([]), .emptyRoleName, revision: 4)
        expect(.addRole(reader), nil, revision: 5)
        expect(.addRole(reader), .roleExists, revision: 5)
        expect(.grantRole(reader, user: alice), nil, revision: 6)
        expect(.changePassword(alice, passwordHash: [2]), nil, revision: 7)
        #expect(state.users[alice]?.passwordHash == nil, "without a password there is no hash")
        expect(.changePassword(reader, passwordHash: [2]), .noUser, revision: 7)
        let permission = Permission(kind: 0, key: bytes("a"), end: bytes("c"))
        expect(.grantPermission(Permission(kind: 0, key: [], end: []), role: reader), .invalid, revision: 7)
        expect(
            .grantPermission(Permission(kind: 0, key: bytes("b"), end: bytes("a")), role: reader), .invalid, revision: 7
        )
        expect(.grantPermission(permission, role: bytes("none")), .noRole, revision: 7)
        expect(.grantPermission(permission, role: reader), nil, revision: 8)
        expect(.revokePermission(key: bytes("a"), end: [], role: reader), .permissionNotGranted, revision: 8)
        expect(.revokePermission(key: bytes("a"), end: bytes("c"), role: reader), nil, revision: 9)
        expect(.deleteRole(reader), nil, revision: 10)
        #expect(state.users[alice]?.roles == [], "a role that is gone is nobody's")
        expect(.revokeRole(reader, user: alice), .roleNotGranted, revision: 10)
        expect(.disable, nil, revision: 11)
        expect(.deleteUser(root), nil, revision: 12)
        expect(.deleteUser(root), .noUser, revision: 12)
    }

    @Test("Names that look alike are two")
    mutating func names() {
        expect(.addUser(bytes("\u{e9}"), passwordHash: nil), nil, revision: 2)
        expect(.addUser(bytes("e\u{301}"), passwordHash: nil), nil, revision: 3)
        #expect(state.users.all.count == 2)
        #expect(state.users[bytes("e")] == nil)
    }

    @Test("A permission of the same range takes the place of the one before")
    mutating func samePermission() {
        let role = bytes("r")
        expect(.addRole(role), nil, revision: 2)
        for kind in [Int32(0), 1, 2, 7] {
            expect(
                .grantPermission(Permission(kind: kind, key: bytes("k"), end: []), role: role), nil,
                revision: state.revision + 1)
        }
        #expect(state.roles[role]?.permissions == [Permission(kind: 7, key: bytes("k"), end: [])])
    }

    @Test("What is written down is read back, and nothing else is")
    func codec() throws {
        let permission = Permission(kind: -5, key: [0], end: [0])
        let changes: [AccessChange] = [
            .enable, .disable, .addUser([1], passwordHash: [2, 3]), .addUser([1], passwordHash: nil), .deleteUser([4]),
            .changePassword([5], passwordHash: []), .grantRole([6], user: [7]), .revokeRole([8], user: [9]),
            .addRole([10]), .deleteRole([]), .grantPermission(permission, role: [11]),
            .revokePermission(key: [12], end: [13], role: [14]),
            .noteMembers(what: [15]),
        ]
        for change in changes {
            var writer = ByteWriter(reserving: 16)
            change.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(try AccessChange(from: &reader) == change)
            for length in 0..<writer.bytes.count {
                var cut = ByteReader(Array(writer.bytes[..<length]))
                #expect(throws: DecodingFault.self) { try AccessChange(from: &cut) }
            }
        }
        for kind: UInt8 in [0, 13, 17, 255] {
            var reader = ByteReader([kind, 0])
            #expect(throws: DecodingFault.self) { try AccessChange(from: &reader) }
        }
        let user = User(name: [1, 2], passwordHash: [3], roles: [[4], [5]])
        let role = Role(name: [1], permissions: [permission])
        #expect(try User(decoding: user.encoded()) == user)
        #expect(try Role(decoding: role.encoded()) == role)
        #expect(throws: DecodingFault.self) { try User(decoding: role.encoded() + [0]) }
        #expect(throws: DecodingFault.self) { try Role(decoding: Array(role.encoded().dropLast())) }
    }
}
