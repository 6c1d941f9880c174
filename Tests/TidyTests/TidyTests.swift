import Foundation
import Testing

/// The house rules that a machine can check.
@Suite struct TidyTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct Source: CustomTestStringConvertible, Sendable {
        let path: String
        let lines: [String]
        var testDescription: String { path }
        /// The room it is in.
        var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    }

    static func files(under folder: String) -> [Source] {
        let base = root.appendingPathComponent(folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        // What a generator wrote is as it wrote it.
        return names.filter { $0.hasSuffix(".swift") && !$0.hasSuffix(".pb.swift") }.sorted().compactMap { name in
            guard let text = try? String(contentsOf: base.appendingPathComponent(name), encoding: .utf8) else {
                return nil
            }
            return Source(path: "\(folder)/\(name)", lines: text.components(separatedBy: "\n"))
        }
    }

    static let sources = files(under: "Sources")

    /// What each room may import beside the toolchain's own modules.
    static let allowed: [String: Set<String>] = [
        "Bytes": ["CPlatform", "Synchronization"], "JSON": [], "Raft": ["Bytes"], "SQLite": ["CPageSums", "CSQLite"],
        "Storage": ["Bytes", "CMessageDigest", "CPlatform", "Raft", "SQLite", "Glibc"],
        "Access": ["Bytes"], "Schedules": [],
        "Fabric": ["Bytes", "Schedules"],
        "MVCC": ["Access", "Bytes", "Fabric", "SQLite", "Glibc", "Synchronization"],
        "Sockets": ["Dispatch", "NIOCore", "NIOPosix", "Logging", "Glibc", "Synchronization"],
        "Transport": [
            "Bytes", "Raft", "Sockets", "Storage", "NIOCore", "NIOPosix", "Logging", "Glibc", "Synchronization", "TLS",
            "Certificates",
        ],
        "Replication": [
            "Access", "Bytes", "Fabric", "MVCC", "Raft", "SQLite", "Storage", "Logging", "Synchronization",
        ],
        "Server": [
            "Access", "Bytes", "CPlatform", "Certificates", "Credentials", "Fabric", "JSON", "MVCC", "Raft",
            "Replication", "Schedules", "Sockets", "SQLite",
            "Storage", "Transport",
            "NIOCore",
            "Logging",
            "Glibc",
            "Synchronization",
        ],
        "Simulation": [
            "Access", "Bytes", "CSimulatedDisk", "Fabric", "Logging", "MVCC", "Raft", "Replication", "SQLite",
            "Storage",
            "Transport",
        ],
        "weft-sim": ["ArgumentParser", "Bytes", "CPlatform", "CSimulatedDisk", "Foundation", "Glibc", "Simulation"],
        "SettingsFile": ["Yams"],
        "weft-fuzz": [
            "API", "Bytes", "CSimulatedDisk", "Glibc", "HTTPServer", "JSON", "MVCC", "Raft", "SettingsFile", "SQLite",
            "Storage", "Transport",
        ],
        "Credentials": ["CCrypt", "COpenSSL", "JSON", "Synchronization"],
        "Certificates": ["COpenSSL", "Glibc"],
        "TLS": ["COpenSSL", "Certificates", "Glibc", "Logging", "NIOCore", "Synchronization"],
        "HTTPServer": [
            "Bytes", "Certificates", "CZlib", "Glibc", "HTTP2", "Logging", "NIOCore", "NIOPosix", "NIOHTTP1",
            "Sockets",
            "Synchronization", "TLS",
        ],
        "API": [
            "Access", "Bytes", "Certificates", "Credentials", "EtcdProto", "Fabric", "Foundation",
            "FoundationEssentials",
            "HTTPServer", "JSON",
            "MVCC", "Pairs", "Raft",
            "Replication",
            "Schedules", "Server", "NIOHTTP1", "Glibc", "SwiftProtobuf",
        ],
        "Pairs": [
            "Access", "Certificates", "Client", "Credentials", "Fabric", "JSON", "MVCC", "NIOCore", "NIOHTTP1",
            "NIOPosix", "Replication", "Server", "TLS",
        ],
        "HTTP2": ["CNGHTTP2", "NIOCore"],
        "Client": ["Certificates", "Glibc", "HTTP2", "JSON", "NIOCore", "NIOPosix", "NIOHTTP1", "Sockets", "TLS"],
        "Bench": ["Bytes", "Client", "Glibc", "JSON", "NIOCore", "NIOPosix", "Synchronization", "TLS"],
        "weft": [
            "API", "ArgumentParser", "Bench", "Bytes", "CPlatform", "Certificates", "Client", "Credentials", "Dispatch",
            "Fabric",
            "Glibc",
            "HTTPServer",
            "JSON", "Logging",
            "MVCC",
            "NIOCore", "NIOHTTP1", "NIOPosix", "Pairs", "Raft", "Replication", "Server", "Sockets", "Storage",
            "Synchronization",
            "TLS", "Transport", "SettingsFile",
        ],
    ]

    @Test func thereAreSources() {
        #expect(Self.sources.count > 60)
    }

    @Test(arguments: sources) func filesAreShort(_ source: Source) {
        #expect(source.lines.count < 800)
    }

    @Test(arguments: sources) func roomsImportOnlyWhatTheyMay(_ source: Source) {
        for line in source.lines {
            let words = line.split(separator: " ")
            guard let place = words.firstIndex(of: "import"), place <= 2, words.count > place + 1, !line.hasPrefix("//")
            else {
                continue
            }
            let name = String(words[place + 1])
            #expect(Self.allowed[source.target]?.contains(name) == true, "\(source.path) may not import \(name)")
        }
    }

    /// Codecs reach a member through operations only: what is asked for is authorised where operations are carried out.
    @Test func codecsReachNoMember() {
        let codecs = Self.sources.filter { $0.target == "API" && !$0.path.contains("/Operations/") }
        #expect(codecs.count > 20)
        for source in codecs {
            for (number, line) in source.lines.enumerated() where source.path != "Sources/API/APIService.swift" {
                let code = line.components(separatedBy: "//")[0]
                for forbidden in ["RunningMember", "desk.member", ".run(at:", "desk.ask"] {
                    #expect(!code.contains(forbidden), "\(source.path):\(number + 1) has \(forbidden)")
                }
            }
        }
    }

    @Test(arguments: sources) func nothingForbiddenIsWritten(_ source: Source) {
        for (number, line) in source.lines.enumerated() {
            // Tasks of a group end with it.
            let code = line.components(separatedBy: "//")[0].replacingOccurrences(of: "addTask {", with: "")
            for forbidden in ["try!", "Task {", "Task.detached", "fatalError()", "as!", "TO" + "DO", "FIX" + "ME"] {
                #expect(!code.contains(forbidden), "\(source.path):\(number + 1) has \(forbidden)")
            }
        }
    }

    @Test(arguments: sources) func functionsFitAScreen(_ source: Source) {
        var start: (line: Int, indent: Int)?
        for (number, line) in source.lines.enumerated() {
            let indent = line.prefix { $0 == " " }.count
            let text = line.drop { $0 == " " }
            if let open = start, text.hasPrefix("}"), indent == open.indent {
                #expect(number - open.line < 70, "\(source.path):\(open.line + 1) is \(number - open.line) lines long")
                start = nil
            }
            let isFunction = text.contains("func ") || text.contains("init(") || text.hasPrefix("deinit")
            if start == nil, isFunction, !text.hasPrefix("//"), !text.hasSuffix("}") { start = (number, indent) }
        }
    }

    @Test func consensusDependsOnNoHashOrder() {
        for source in Self.sources where source.target == "Raft" {
            for (number, line) in source.lines.enumerated() {
                let code = line.components(separatedBy: "//")[0]
                for hashed in ["Dictionary<", "Set<", "[NodeID:", "[Index:", "SystemRandomNumberGenerator", ".random("]
                {
                    #expect(!code.contains(hashed), "\(source.path):\(number + 1) has \(hashed)")
                }
            }
        }
    }
}
