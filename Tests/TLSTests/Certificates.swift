import Foundation

@testable import TLS

/// Certificates of a test, made by the openssl command in a directory of its own, which goes with it.
final class Certificates {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("weft-tls-\(UUID().uuidString)")

    init() throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    func openssl(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.currentDirectoryURL = directory
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw TLSError("openssl \(arguments.joined(separator: " "))") }
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: path(name), atomically: true, encoding: .utf8)
    }

    func read(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }

    /// Makes NAME.pem and NAME.key, which sign others.
    func makeCA(_ name: String) throws {
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "\(name).key",
            "-out", "\(name).pem", "-days", "30", "-subj", "/CN=\(name)")
        try write("", to: "\(name).index")
        try write(
            """
            [ca]
            default_ca=own
            [own]
            database=\(path(name + ".index"))
            default_md=sha256
            default_crl_days=30
            """, to: "\(name).conf")
    }

    /// Makes NAME.pem and NAME.key, signed by a CA.
    func makeLeaf(_ name: String, by ca: String, names: String = "DNS:localhost,IP:127.0.0.1") throws {
        try openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "\(name).key", "-out",
            "\(name).csr", "-subj", "/CN=\(name)")
        try write("subjectAltName=\(names)", to: "\(name).ext")
        try openssl(
            "x509", "-req", "-in", "\(name).csr", "-CA", "\(ca).pem", "-CAkey", "\(ca).key", "-CAcreateserial", "-out",
            "\(name).pem", "-days", "20", "-extfile", "\(name).ext")
    }

    /// Has a CA take certificates back, and makes CA.crl.
    func revoke(_ names: [String], by ca: String) throws {
        for name in names {
            try openssl(
                "ca", "-config", "\(ca).conf", "-cert", "\(ca).pem", "-keyfile", "\(ca).key", "-revoke", "\(name).pem")
        }
        try openssl(
            "ca", "-config", "\(ca).conf", "-cert", "\(ca).pem", "-keyfile", "\(ca).key", "-gencrl", "-out", "\(ca).crl"
        )
    }

    func server(_ name: String = "server", clientCA: String? = nil) -> TLSSettings {
        var settings = TLSSettings()
        settings.certificateFile = path("\(name).pem")
        settings.keyFile = path("\(name).key")
        settings.trustedCAFile = clientCA.map { path("\($0).pem") }
        return settings
    }

    func client(trusting ca: String, as name: String? = nil) -> TLSSettings {
        var settings = TLSSettings()
        settings.trustedCAFile = path("\(ca).pem")
        settings.certificateFile = name.map { path("\($0).pem") }
        settings.keyFile = name.map { path("\($0).key") }
        return settings
    }
}
