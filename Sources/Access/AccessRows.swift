package import Bytes

/// A row that holds a part of the state: `kv.db` has one for each user and each role, and one for the rest.
package struct AccessRow: Equatable, Sendable {
    /// Kinds of rows. They share a table with the records of domains, nodes and volumes, whose kinds are lower.
    package enum Kind: UInt8, Sendable {
        case mark = 64
        case user = 65
        case role = 66
    }

    package let kind: Kind
    package let key: [UInt8]
    /// Nil when it is gone.
    package let body: [UInt8]?
}

extension AccessState {
    /// What differs from an earlier state.
    package func rows(since before: AccessState) -> [AccessRow] {
        var rows: [AccessRow] = []
        if isEnabled != before.isEnabled || revision != before.revision {
            let body = RowBody.encode { writer in
                writer.bool(isEnabled)
                writer.varint(revision)
            }
            rows.append(AccessRow(kind: .mark, key: [], body: body))
        }
        for (name, user) in users.differences(from: before.users) {
            rows.append(AccessRow(kind: .user, key: name, body: user?.encoded()))
        }
        for (name, role) in roles.differences(from: before.roles) {
            rows.append(AccessRow(kind: .role, key: name, body: role?.encoded()))
        }
        return rows
    }

    /// Takes up a row as it was written down.
    package mutating func load(_ kind: AccessRow.Kind, _ body: [UInt8]) throws(DecodingFault) {
        switch kind {
        case .mark:
            (isEnabled, revision) = try RowBody.decode(body) { reader throws(DecodingFault) in
                (try reader.bool(), try reader.varint())
            }
        case .user: users.put(try User(decoding: body))
        case .role: roles.put(try Role(decoding: body))
        }
    }
}
