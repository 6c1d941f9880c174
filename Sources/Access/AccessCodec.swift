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
        }
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let kind = try reader.byte()
        guard kind > 2 else {
            guard kind > 0 else { throw .invalid("change of rights 0") }
            self = kind == 1 ? .enable : .disable
            return
        }
        let first = try reader.lengthPrefixed()
        switch kind {
        case 3: self = .addUser(first, passwordHash: try reader.lengthPrefixed())
        case 4: self = .addUser(first, passwordHash: nil)
        case 5: self = .deleteUser(first)
        case 6: self = .changePassword(first, passwordHash: try reader.lengthPrefixed())
        case 7: self = .grantRole(first, user: try reader.lengthPrefixed())
        case 8: self = .revokeRole(first, user: try reader.lengthPrefixed())
        case 9: self = .addRole(first)
        case 10: self = .deleteRole(first)
        case 11: self = .grantPermission(try Permission(from: &reader), role: first)
        case 12:
            let key = try reader.lengthPrefixed()
            self = .revokePermission(key: key, end: try reader.lengthPrefixed(), role: first)
        default: throw .invalid("change of rights \(kind)")
        }
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

extension User {
    private static let format: UInt8 = 1

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.byte(Self.format)
        writer.lengthPrefixed(name)
        writer.bool(passwordHash != nil)
        if let passwordHash { writer.lengthPrefixed(passwordHash) }
        writer.varint(UInt64(roles.count))
        for role in roles { writer.lengthPrefixed(role) }
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == Self.format else { throw .invalid("format of a user") }
        let name = try reader.lengthPrefixed()
        let hash = try reader.bool() ? try reader.lengthPrefixed() : nil
        var roles: [[UInt8]] = []
        for _ in 0..<(try reader.count(itemBytesMin: 1)) { roles.append(try reader.lengthPrefixed()) }
        try reader.expectEnd()
        self.init(name: name, passwordHash: hash, roles: roles)
    }
}

extension Role {
    private static let format: UInt8 = 1

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.byte(Self.format)
        writer.lengthPrefixed(name)
        writer.varint(UInt64(permissions.count))
        for permission in permissions { permission.encode(into: &writer) }
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == Self.format else { throw .invalid("format of a role") }
        let name = try reader.lengthPrefixed()
        var permissions: [Permission] = []
        for _ in 0..<(try reader.count(itemBytesMin: 3)) { permissions.append(try Permission(from: &reader)) }
        try reader.expectEnd()
        self.init(name: name, permissions: permissions)
    }
}
