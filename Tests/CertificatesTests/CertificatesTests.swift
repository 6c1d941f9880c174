import Certificates
import Testing

private let fabric: UInt64 = 0xfab
private let now: Int64 = 1_800_000_000

@Suite("Certificates of a fabric's own CA")
struct CertificatesTests {
    private let authority: CertificateAuthority

    init() throws { authority = try CertificateAuthority(of: fabric, now: now) }

    private func issue(
        _ name: FabricName = .member(fabric: fabric, id: 7), hosts: [String] = ["m1"],
        for use: CertificateAuthority.Use = .member,
        seconds: Int64 = 3600
    ) throws -> (certificate: Certificate, key: PrivateKey) {
        let key = try PrivateKey()
        let request = try CertificateRequest(of: key, commonName: "wish")
        let certificate = try authority.issue(
            try CertificateRequest(pem: request.pem()), commonName: "m1",
            names: CertificateNames(hosts: hosts, for: name),
            for: use, now: now, seconds: seconds)
        return (certificate, key)
    }

    @Test("CAs of other fabrics come back from their file, each with its fabric; the first to have one keeps it")
    func foreignAuthorities() throws {
        let other = try CertificateAuthority(of: 0xfac, now: now).certificate
        var foreign = ForeignAuthorities()
        foreign.add(authority.certificate, of: fabric)
        foreign.add(other, of: 0xfac)
        foreign.add(other, of: 0xbad)
        let again = try ForeignAuthorities(text: foreign.text)
        #expect(again.certificates.map(\.der) == [authority.certificate.der, other.der])
        #expect(again.fabric(of: authority.certificate.keyDigest) == fabric)
        #expect(again.fabric(of: other.keyDigest) == 0xfac)
        #expect(again.fabric(of: []) == nil)
        #expect(try ForeignAuthorities(text: []).isEmpty)
        for text in [
            other.pem, Array("fabric x\n".utf8) + other.pem, Array("fabric fac\n".utf8) + other.pem.dropLast(40),
        ] {
            #expect(throws: CertificateError.self) { try ForeignAuthorities(text: text) }
        }
    }

    @Test("The CA is one, for ten years, and comes back from its file")
    func ca() throws {
        let certificate = authority.certificate
        #expect(certificate.isAuthority && certificate.isSigned(by: certificate))
        #expect(certificate.validity.from == now - 300)
        #expect(certificate.validity.to == now + CertificateAuthority.lifeSeconds)
        let again = try CertificateAuthority(pem: authority.pem())
        #expect(again.certificate.der == certificate.der && again.certificate.keyDigest == certificate.keyDigest)
        #expect(certificate.keyDigest.count == 32)
        let other = try CertificateAuthority(of: fabric, now: now)
        #expect(other.certificate.commonName != certificate.commonName)
        #expect(throws: CertificateError.self) { try CertificateAuthority(certificate, PrivateKey()) }
        #expect(throws: CertificateError.self) { try CertificateAuthority(pem: certificate.pem + other.key.pem()) }
        let (leaf, key) = try issue()
        #expect(throws: CertificateError.self) { try CertificateAuthority(leaf, key) }
    }

    @Test("A certificate says whom it is for, and nothing of what the request wished")
    func leaf() throws {
        let hosts = ["m1", "10.0.0.1", "::1", "0:0::1", "m1", "bad name", "a,DNS:b", ""]
        let (certificate, key) = try issue(hosts: hosts)
        #expect(certificate.names.hosts == ["m1"])
        #expect(certificate.names.addresses == ["10.0.0.1", "::1"])
        #expect(certificate.names == CertificateNames(hosts: hosts, for: .member(fabric: fabric, id: 7)))
        #expect(certificate.fabricName == .member(fabric: fabric, id: 7))
        #expect(certificate.commonName == "m1" && !certificate.isAuthority)
        #expect(certificate.isSigned(by: authority.certificate) && certificate.isFor(key))
        #expect(certificate.validity.from == now - 300 && certificate.validity.to == now + 3600)
        let next = try issue(seconds: 2 * CertificateAuthority.lifeSeconds).certificate
        #expect(next.validity.to == authority.certificate.validity.to, "no longer than the CA")
        #expect(next.serial != certificate.serial && next.serial.count == 32)
        let read = try Certificate.all(pem: certificate.pem + authority.certificate.pem + key.pem())
        #expect(read.map(\.der) == [certificate.der, authority.certificate.der])
    }

    @Test("The next CA has a certificate by the one before it, in its file and beside what it signs")
    func rotation() throws {
        let made = try CertificateAuthority(after: authority, of: fabric, now: now)
        let next = try CertificateAuthority(pem: made.pem())
        let bridge = try #require(next.bridges.first)
        #expect(next.bridges.count == 1 && next.certificate.der == made.certificate.der)
        #expect(bridge.keyDigest == next.certificate.keyDigest && bridge.commonName == next.certificate.commonName)
        #expect(bridge.isSigned(by: authority.certificate) && !bridge.isSigned(by: next.certificate))
        #expect(bridge.isAuthority && next.certificate.isSigned(by: next.certificate))
        let leaf = try issue().certificate
        #expect(try Certificate.all(pem: next.chain(leaf)).map(\.der) == [leaf.der, bridge.der])
        #expect(throws: CertificateError.self) {
            try CertificateAuthority(next.certificate, next.key, bridges: [authority.certificate])
        }
    }

    @Test("Of a long name a certificate has the beginning, and it cannot be empty")
    func longNames() throws {
        let key = try PrivateKey()
        let long = String(repeating: "\u{e9}", count: 65)
        _ = try CertificateRequest(of: key, commonName: long)
        #expect(throws: CertificateError.self) { try CertificateRequest(of: key, commonName: "") }
    }

    @Test(
        "Bytes that are no certificate, no key and no request are refused",
        arguments: [[], [0x30, 0x82], Array("-----BEGIN".utf8)])
    func garbage(_ bytes: [UInt8]) throws {
        #expect(throws: CertificateError.self) { try Certificate(der: bytes) }
        #expect(throws: CertificateError.self) { try PrivateKey(pem: bytes) }
        #expect(throws: CertificateError.self) { try CertificateRequest(pem: bytes) }
        #expect(throws: CertificateError.self) { try CertificateAuthority(pem: bytes) }
        #expect(throws: CertificateError.self) { try Certificate(der: authority.certificate.der + [0]) }
        #expect(try Certificate.all(pem: bytes).isEmpty)
    }

    @Test("A request with another's signature is refused, and so is a damaged one")
    func requests() throws {
        let pem = try CertificateRequest(of: PrivateKey(), commonName: "n").pem()
        _ = try CertificateRequest(pem: pem)
        // Bytes of base64 in the middle: the key, then the signature.
        for place in [100, 150, 200, 300, 380] where place < pem.count - 40 {
            var damaged = pem
            damaged[place] = damaged[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: CertificateError.self, "byte \(place)") { try CertificateRequest(pem: damaged) }
        }
    }

    @Test("Only what is written as weft writes it is a name of a fabric")
    func names() {
        for name in [FabricName.member(fabric: 1, id: .max), .client(fabric: .max, id: 0), .machine(fabric: 1, id: 2)] {
            #expect(FabricName(uri: name.uri) == name)
            #expect(FabricName(uris: [name.uri, name.uri]) == nil && FabricName(uris: []) == nil)
        }
        for text in [
            "weft://1/member/02", "weft://1/member/A", "weft://1/member/", "weft://1/member/1/", "weft://1/root/1",
            "weft:/1/member/1",
            "http://1/member/1", "weft://1/member/1?", "weft://+1/member/1", "weft://1/member/10000000000000000", "",
        ] {
            #expect(FabricName(uri: text) == nil, "\(text)")
        }
    }
}
