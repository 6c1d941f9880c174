package import Bytes

/// A row that holds a part of the state: `kv.db` has one for each user and each role, and one for the rest.
package struct AccessRow: Equatable, Sendable {
    /// Kinds of rows. They share a table with the records of domains, nodes and volumes, whose kinds are lower.
    package enum Kind: UInt8, Sendable {
        case mark = 64
        case user = 65
        case role = 66
        case authority = 67
        case joinToken = 68
        case enrolment = 69
        case memberCertificate = 70
        case revokedKey = 71
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
        if isEnabled != before.isEnabled || revision != before.revision || trust.revision != before.trust.revision {
            let body = RowBody.encode { writer in
                writer.bool(isEnabled)
                writer.varint(revision)
                writer.varint(trust.revision)
            }
            rows.append(AccessRow(kind: .mark, key: [], body: body))
        }
        for (name, user) in users.differences(from: before.users) {
            rows.append(AccessRow(kind: .user, key: name, body: user?.encoded()))
        }
        for (name, role) in roles.differences(from: before.roles) {
            rows.append(AccessRow(kind: .role, key: name, body: role?.encoded()))
        }
        if trust.revision != before.trust.revision { rows += trust.rows(since: before.trust) }
        return rows
    }

    /// Takes up a row as it was written down.
    package mutating func load(_ kind: AccessRow.Kind, _ body: [UInt8]) throws(DecodingFault) {
        switch kind {
        case .mark:
            (isEnabled, revision, trust.revision) = try RowBody.decode(body) { reader throws(DecodingFault) in
                (try reader.bool(), try reader.varint(), try reader.varint())
            }
        case .user: users.put(try User(decoding: body))
        case .role: roles.put(try Role(decoding: body))
        case .authority: trust.authorities.put(try Authority(decoding: body))
        case .joinToken: trust.tokens.put(try JoinToken(decoding: body))
        case .enrolment: trust.enrolments.put(try Enrolment(decoding: body))
        case .memberCertificate: trust.members.put(try MemberCertificate(decoding: body))
        case .revokedKey: trust.revokedKeys.put(try RevokedKey(decoding: body))
        }
    }
}

extension TrustState {
    fileprivate func rows(since before: TrustState) -> [AccessRow] {
        func rows<Record: TrustRecord & Equatable>(
            _ kind: AccessRow.Kind, _ now: NameTable<Record>, _ before: NameTable<Record>
        ) -> [AccessRow] {
            now.differences(from: before).map { AccessRow(kind: kind, key: $0.name, body: $0.record?.encoded()) }
        }
        return rows(.authority, authorities, before.authorities) + rows(.joinToken, tokens, before.tokens)
            + rows(.enrolment, enrolments, before.enrolments) + rows(.memberCertificate, members, before.members)
            + rows(.revokedKey, revokedKeys, before.revokedKeys)
    }
}
