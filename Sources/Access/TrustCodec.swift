internal import Bytes

/// Changes and records of certificates as bytes. A later form gets a number of its own.
extension TrustChange {
    func encode(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ names: [UInt8]...) {
            writer.byte(kind)
            for name in names { writer.lengthPrefixed(name) }
        }
        switch self {
        case .addAuthority(let authority):
            writer.byte(1)
            authority.encode(into: &writer)
        case .removeAuthority(let name, let leaving):
            write(2, name)
            writer.varint(UInt64(leaving.count))
            for member in leaving { writer.lengthPrefixed(member) }
        case .addToken(let token, let now):
            writer.byte(3)
            token.encode(into: &writer)
            writer.signed(now)
        case .removeToken(let name): write(4, name)
        case .useToken(let name, let secret, let key, let now):
            write(5, name, secret, key)
            writer.signed(now)
        case .enrol(let enrolment, let now):
            writer.byte(6)
            enrolment.encode(into: &writer)
            writer.signed(now)
        case .revoke(let name): write(7, name)
        case .noteMember(let certificate):
            writer.byte(8)
            certificate.encode(into: &writer)
        case .forgetMember(let name): write(9, name)
        }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        func name() throws(DecodingFault) -> [UInt8] { try reader.lengthPrefixed() }
        switch try reader.byte() {
        case 1: self = .addAuthority(try Authority(from: &reader))
        case 2:
            let authority = try name()
            var leaving: [[UInt8]] = []
            for _ in 0..<(try reader.count(itemBytesMin: 1)) { leaving.append(try name()) }
            self = .removeAuthority(authority, leaving: leaving)
        case 3:
            let token = try JoinToken(from: &reader)
            self = .addToken(token, at: try reader.signed())
        case 4: self = .removeToken(try name())
        case 5: self = .useToken(try name(), secret: try name(), key: try name(), at: try reader.signed())
        case 6:
            let enrolment = try Enrolment(from: &reader)
            self = .enrol(enrolment, at: try reader.signed())
        case 7: self = .revoke(try name())
        case 8: self = .noteMember(try MemberCertificate(from: &reader))
        case 9: self = .forgetMember(try name())
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
        for part in [name, digest, Array(role.text.utf8), domain] { writer.lengthPrefixed(part) }
        writer.signed(until)
        writer.varint(usesMax)
        writer.varint(UInt64(usedBy.count))
        for key in usedBy { writer.lengthPrefixed(key) }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let digest = try reader.lengthPrefixed()
        let text = String(decoding: try reader.lengthPrefixed(), as: UTF8.self)
        guard let role = JoinRole(text) else { throw .invalid("role \(text) of a join token") }
        let domain = try reader.lengthPrefixed()
        let (until, usesMax) = (try reader.signed(), try reader.varint())
        var usedBy: [[UInt8]] = []
        for _ in 0..<(try reader.count(itemBytesMin: 1)) { usedBy.append(try reader.lengthPrefixed()) }
        self.init(
            name: name, digest: digest, role: role, domain: domain, until: until, usesMax: usesMax, usedBy: usedBy)
    }
}

extension Enrolment: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        for part in [name, title, Array(role.text.utf8), authority] { writer.lengthPrefixed(part) }
        writer.signed(until)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let title = try reader.lengthPrefixed()
        let text = String(decoding: try reader.lengthPrefixed(), as: UTF8.self)
        guard let role = ReservedRole(certified: text) else { throw .invalid("role \(text) of a certificate") }
        let authority = try reader.lengthPrefixed()
        self.init(name: name, title: title, role: role, until: try reader.signed(), authority: authority)
    }
}

extension MemberCertificate: TrustRecord {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(name)
        writer.signed(until)
        writer.lengthPrefixed(authority)
        writer.bool(signs)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.lengthPrefixed()
        let until = try reader.signed()
        let authority = try reader.lengthPrefixed()
        self.init(name: name, until: until, authority: authority, signs: try reader.bool())
    }
}
