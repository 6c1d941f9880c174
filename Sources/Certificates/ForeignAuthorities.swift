/// Whose CA made a certificate: another fabric's, and which.
package struct ForeignIssuer: Equatable, Sendable {
    package let fabric: UInt64
    /// Of the CA: see `Certificate.keyDigest`.
    package let key: [UInt8]

    package init(fabric: UInt64, key: [UInt8]) {
        self.fabric = fabric
        self.key = key
    }
}

/// CAs of other fabrics, each with the one fabric whose members it may name: what stands in a member's file for its port.
package struct ForeignAuthorities: Sendable {
    package private(set) var certificates: [Certificate] = []
    private var fabrics: [[UInt8]: UInt64] = [:]
    private static let heading = "fabric "

    package init() {}

    /// Adds a CA of a fabric. One that is there already, of whichever fabric, stays as it is.
    package mutating func add(_ certificate: Certificate, of fabric: UInt64) {
        guard fabrics.updateIfAbsent(certificate.keyDigest, fabric) else { return }
        certificates.append(certificate)
    }

    package var isEmpty: Bool { certificates.isEmpty }

    /// Whose CA has this key: by its digest, as `Certificate.keyDigest`.
    package func fabric(of key: [UInt8]) -> UInt64? { fabrics[key] }

    /// For each CA a line with its fabric, in hexadecimal, then PEM.
    package var text: [UInt8] {
        certificates.flatMap { certificate in
            Array("\(Self.heading)\(String(fabrics[certificate.keyDigest] ?? 0, radix: 16))\n".utf8) + certificate.pem
        }
    }

    package init(text: [UInt8]) throws(CertificateError) {
        var fabric: UInt64?
        var block: [UInt8] = []
        for line in text.split(separator: UInt8(ascii: "\n")) {
            guard line.starts(with: Self.heading.utf8) else {
                block += line + [UInt8(ascii: "\n")]
                continue
            }
            try take(block, of: fabric)
            block = []
            fabric = UInt64(String(decoding: line.dropFirst(Self.heading.utf8.count), as: UTF8.self), radix: 16)
            guard fabric != nil else { throw CertificateError("a CA's fabric cannot be read") }
        }
        try take(block, of: fabric)
    }

    private mutating func take(_ block: [UInt8], of fabric: UInt64?) throws(CertificateError) {
        let found = try Certificate.all(pem: block)
        guard let fabric else {
            guard found.isEmpty else { throw CertificateError("a CA stands there without its fabric") }
            return
        }
        for certificate in found { add(certificate, of: fabric) }
    }
}

extension Dictionary {
    /// False when there is a value already.
    fileprivate mutating func updateIfAbsent(_ key: Key, _ value: Value) -> Bool {
        guard self[key] == nil else { return false }
        self[key] = value
        return true
    }
}
