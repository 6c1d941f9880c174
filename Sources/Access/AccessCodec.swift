package import Bytes

/// Changes and records as bytes: what log entries and `kv.db` hold. A later form gets a number of its own.
extension AccessChange {
    package func encode(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ names: [UInt8]...) {
            writer.byte(kind)
            for name in names { writer.lengthPrefixed(name) }
        }
        switch self {
        case .enable: write(1)
        case .disable: write(2)
        case .addUser(let name, let hash?): write(3, name, hash)
        case .addUser(let name, nil): write(4, name)
        case .deleteUser(let name): write(5, name)
        case .changePassword(let name, let hash): write(6, name, hash)
        case .grantRole(let role, let user): write(7, role, user)
        case .revokeRole(let role, let user): write(8, role, user)
        case .addRole(let name): write(9, name)
        case .deleteRole(let name): write(10, name)
        case .grantPermission(let permission, let role):
            write(11, role)
            permission.encode(into: &writer)
        case .revokePermission(let key, let end, let role): write(12, role, key, end)
        case .issueToken(let token):
            write(13, token.user, token.digest)
            writer.varint(token.revision)
            writer.signed(token.issued)
        case .trust(let change):
            writer.byte(14)
            change.encode(into: &writer)
        case .noteMembers(let what): write(15, what)
        case .logIn(let enrolment, let revision, let now):
            writer.byte(16)
            enrolment.encode(into: &writer)
            writer.varint(revision)
            writer.signed(now)
        }
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        func name() throws(DecodingFault) -> [UInt8] { try reader.lengthPrefixed() }
        switch try reader.byte() {
        case 1: self = .enable
        case 2: self = .disable
        case 3: self = .addUser(try name(), passwordHash: try name())
        case 4: self = .addUser(try name(), passwordHash: nil)
        case 5: self = .deleteUser(try name())
        case 6: self = .changePassword(try name(), passwordHash: try name())
        case 7: self = .grantRole(try name(), user: try name())
        case 8: self = .revokeRole(try name(), user: try name())
        case 9: self = .addRole(try name())
        case 10: self = .deleteRole(try name())
        case 11:
            let role = try name()
            self = .grantPermission(try Permission(from: &reader), role: role)
        case 12:
            let role = try name()
            self = .revokePermission(key: try name(), end: try name(), role: role)
        case 13:
            let user = try name()
            let digest = try name()
            self = .issueToken(
                IssuedToken(digest: digest, user: user, revision: try reader.varint(), issued: try reader.time()))
        case 14: self = .trust(try TrustChange(from: &reader))
        case 15: self = .noteMembers(what: try name())
        case 16:
            let enrolment = try Enrolment(from: &reader)
            self = .logIn(enrolment, revision: try reader.varint(), at: try reader.time())
        case let kind: throw .invalid("change of rights \(kind)")
        }
    }
}

extension Author {
    package func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(name)
        writer.varint(revision)
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        self.init(name: name, revision: try reader.varint())
    }
}

extension Permission {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.signed(Int64(kind))
        writer.lengthPrefixed(key)
        writer.lengthPrefixed(end)
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        guard let kind = Int32(exactly: try reader.signed()) else { throw .invalid("kind of a permission") }
        let key = try reader.lengthPrefixed()
        self.init(kind: kind, key: key, end: try reader.lengthPrefixed())
    }
}

/// The body of a row: first a byte for the format, so that a later version can tell what it reads.
enum RowBody {
    private static let format: UInt8 = 1

    static func encode(_ body: (inout ByteWriter) -> Void) -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.byte(format)
        body(&writer)
        return writer.bytes
    }

    static func decode<T>(
        _ bytes: [UInt8], _ body: (inout ByteReader) throws(DecodingFault) -> T
    ) throws(DecodingFault) -> T {
        var reader = ByteReader(bytes)
        guard try reader.byte() == format else { throw .invalid("format of a row of users and roles") }
        let value = try body(&reader)
        try reader.expectEnd()
        return value
    }
}

extension User {
    package func encoded() -> [UInt8] {
        RowBody.encode { writer in
            writer.lengthPrefixed(name)
            writer.bool(passwordHash != nil)
            if let passwordHash { writer.lengthPrefixed(passwordHash) }
            writer.varint(UInt64(roles.count))
            for role in roles { writer.lengthPrefixed(role) }
        }
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        self = try RowBody.decode(bytes) { reader throws(DecodingFault) in
            let name = try reader.lengthPrefixed()
            let hash = try reader.bool() ? try reader.lengthPrefixed() : nil
            var roles: [[UInt8]] = []
            for _ in 0..<(try reader.count(itemBytesMin: 1)) { roles.append(try reader.lengthPrefixed()) }
            return User(name: name, passwordHash: hash, roles: roles)
        }
    }
}

extension Role {
    package func encoded() -> [UInt8] {
        RowBody.encode { writer in
            writer.lengthPrefixed(name)
            writer.varint(UInt64(permissions.count))
            for permission in permissions { permission.encode(into: &writer) }
        }
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        self = try RowBody.decode(bytes) { reader throws(DecodingFault) in
            let name = try reader.lengthPrefixed()
            var permissions: [Permission] = []
            for _ in 0..<(try reader.count(itemBytesMin: 3)) { permissions.append(try Permission(from: &reader)) }
            return Role(name: name, permissions: permissions)
        }
    }
}
