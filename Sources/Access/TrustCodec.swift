internal import Bytes

/// Changes and records of certificates as bytes. A later form gets a number of its own.
extension TrustChange {
    func encode(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ names: [UInt8]...) {
            writer.byte(kind)
            for name in names { writer.lengthPrefixed(name) }
        }
        switch self {
        case .addAuthority(let authority, let newest):
            writer.byte(1)
            authority.encode(into: &writer)
            writer.lengthPrefixed(newest)
        case .removeAuthority(let name, let leaving):
            write(2, name)
            writer.list(leaving)
        case .addToken(let token, let now):
            writer.byte(3)
            token.encode(into: &writer)
            writer.signed(now)
        case .removeToken(let name): write(4, name)
        case .useToken(let use, let enrolment):
            write(5, use.token, use.secret, use.key)
            writer.signed(use.at)
            writer.bool(enrolment != nil)
            enrolment?.encode(into: &writer)
        case .enrol(let enrolment, let now):
            writer.byte(6)
            enrolment.encode(into: &writer)
            writer.signed(now)
        case .revoke(let name, let now):
            write(7, name)
            writer.signed(now)
        case .noteMember(let seen):
            write(8, seen.member, seen.authority, seen.key)
            writer.signed(seen.until)
        case .forgetMember(let name): write(9, name)
        case .renew(let name, let until, let authority):
            write(10, name, authority)
            writer.signed(until)
        case .expectKey(let key, let shown, let member): write(11, member, key, shown)
        case .noteKnower(let member, let authority): write(12, member, authority)
        }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        func name() throws(DecodingFault) -> [UInt8] { try reader.lengthPrefixed() }
        switch try reader.byte() {
        case 1:
            let authority = try Authority(from: &reader)
            self = .addAuthority(authority, after: try name())
        case 2:
            let authority = try name()
            self = .removeAuthority(authority, leaving: try reader.list())
        case 3:
            let token = try JoinToken(from: &reader)
            self = .addToken(token, at: try reader.time())
        case 4: self = .removeToken(try name())
        case 5:
            let use = TokenUse(token: try name(), secret: try name(), key: try name(), at: try reader.time())
            self = .useToken(use, for: try reader.bool() ? try Enrolment(from: &reader) : nil)
        case 6:
            let enrolment = try Enrolment(from: &reader)
            self = .enrol(enrolment, at: try reader.time())
        case 7: self = .revoke(try name(), at: try reader.time())
        case 8:
            let (member, authority, key) = (try name(), try name(), try name())
            self = .noteMember(
                SeenCertificate(member: member, until: try reader.time(), authority: authority, key: key))
        case 9: self = .forgetMember(try name())
        case 10:
            let (listed, authority) = (try name(), try name())
            self = .renew(listed, until: try reader.time(), authority: authority)
        case 11:
            let member = try name()
            self = .expectKey(try name(), shown: try name(), member: member)
        case 12: self = .noteKnower(member: try name(), authority: try name())
        case let kind: throw .invalid("change of certificates \(kind)")
        }
    }
}

/// A record that is a row's body, and a part of changes.
protocol TrustRecord: Named {
    func encode(into writer: inout ByteWriter)
    init(from reader: inout ByteReader) throws(DecodingFault)
}

extension TrustRecord {
    func encoded() -> [UInt8] { RowBody.encode { encode(into: &$0) } }

    init(decoding bytes: [UInt8]) throws(DecodingFault) {
        self = try RowBody.decode(bytes) { reader throws(DecodingFault) in try Self(from: &reader) }
    }
}

extension Authority: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(name)
        writer.lengthPrefixed(certificate)
        writer.varint(number)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let certificate = try reader.lengthPrefixed()
        self.init(name: name, certificate: certificate, number: try reader.varint())
    }
}

extension JoinToken: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        for part in [name, digest, Array(role.text.utf8), domain, replaces] { writer.lengthPrefixed(part) }
        writer.signed(until)
        writer.varint(usesMax)
        writer.varint(uses)
        writer.list(returning)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let digest = try reader.lengthPrefixed()
        let text = String(decoding: try reader.lengthPrefixed(), as: UTF8.self)
        guard let role = JoinRole(text) else { throw .invalid("role \(text) of a join token") }
        let (domain, replaces) = (try reader.lengthPrefixed(), try reader.lengthPrefixed())
        let until = try reader.time()
        self.init(
            name: name, digest: digest, role: role, domain: domain, replaces: replaces, until: until,
            usesMax: try reader.varint())
        uses = try reader.varint()
        returning = try reader.list()
    }
}

extension Enrolment: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        for part in [name, title, Array(role.text.utf8), key, authority] { writer.lengthPrefixed(part) }
        writer.signed(lifeSeconds)
        writer.signed(until)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let title = try reader.lengthPrefixed()
        let text = String(decoding: try reader.lengthPrefixed(), as: UTF8.self)
        guard let role = ReservedRole(certified: text) else { throw .invalid("role \(text) of a certificate") }
        let (key, authority) = (try reader.lengthPrefixed(), try reader.lengthPrefixed())
        let lifeSeconds = try reader.time()
        guard (1...Self.lifeSecondsMax).contains(lifeSeconds) else { throw .invalid("life of a certificate") }
        self.init(
            name: name, title: title, role: role, key: key, lifeSeconds: lifeSeconds, until: try reader.time(),
            authority: authority)
    }
}

extension RevokedKey: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(name)
        writer.signed(until)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(name: try reader.lengthPrefixed(), until: try reader.time())
    }
}

extension MemberCertificate: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(name)
        writer.signed(until)
        writer.lengthPrefixed(authority)
        writer.list(keys)
        writer.list(knows)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(name: try reader.lengthPrefixed())
        until = try reader.time()
        authority = try reader.lengthPrefixed()
        keys = try reader.list()
        knows = try reader.list()
    }
}
