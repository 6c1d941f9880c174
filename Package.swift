// swift-tools-version: 6.2
import PackageDescription

/// The rules of `style.md`, for every target of the project.
let houseRules: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Rooms are boundaries for readers, not for the optimizer: without this generic code is called, not specialized, across them.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

/// A room. What it may import is what it lists here: the manifest is the rule.
func room(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: houseRules)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: resources, swiftSettings: houseRules)
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "weft",
    products: [.executable(name: "weft", targets: ["weft"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        room("Bytes", ["CPlatform"]),
        room("Raft", ["Bytes"]),
        room("Schedules"),
        room("Fabric", ["Bytes", "Schedules"]),
        room("Access", ["Bytes"]),
        .systemLibrary(name: "CSQLite"),
        .target(name: "CPlatform"),
        .target(name: "CPageSums", dependencies: ["CPlatform", "CSQLite"]),
        room("SQLite", ["CPageSums", "CSQLite"]),
        room("Storage", ["Bytes", "CMessageDigest", "CPlatform", "Raft", "SQLite"]),
        room("MVCC", ["Access", "Bytes", "Fabric", "SQLite"]),
        room("Sockets", [nioCore, nioPosix, logging]),
        room(
            "Transport",
            ["Bytes", "Certificates", "Raft", "Sockets", "Storage", "TLS", nioCore, nioPosix, logging]),
        room("Replication", ["Access", "Bytes", "Fabric", "MVCC", "Raft", "SQLite", "Storage", logging]),
        room(
            "Server",
            [
                "Access", "Bytes", "CPlatform", "Certificates", "Credentials", "Fabric", "JSON", "MVCC", "Raft",
                "Replication",
                "Schedules", "Sockets",
                "SQLite", "Storage", "Transport",
                nioCore, logging,
            ]),
        .target(name: "CSimulatedDisk", dependencies: ["CPlatform", "CSQLite"]),
        room(
            "Simulation",
            [
                "Access", "Bytes", "CSimulatedDisk", "Fabric", "MVCC", "Raft", "Replication", "SQLite", "Storage",
                "Transport", logging,
            ]),
        .executableTarget(
            name: "weft-sim",
            dependencies: [
                "Bytes", "CPlatform", "CSimulatedDisk", "Simulation",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: houseRules),
        .systemLibrary(name: "CNGHTTP2"),
        .systemLibrary(name: "COpenSSL"),
        room("Certificates", ["COpenSSL"]),
        room("TLS", ["COpenSSL", "Certificates", nioCore, logging]),
        .systemLibrary(name: "CCrypt"),
        room("Credentials", ["CCrypt", "COpenSSL", "JSON"]),
        .systemLibrary(name: "CZlib"),
        .systemLibrary(name: "CMessageDigest"),
        room("HTTP2", ["CNGHTTP2", nioCore]),
        room(
            "HTTPServer",
            ["Bytes", "Certificates", "CZlib", "HTTP2", "Sockets", "TLS", nioCore, nioPosix, nioHTTP1, logging]),
        room("EtcdProto", [.product(name: "SwiftProtobuf", package: "swift-protobuf")], exclude: ["proto"]),
        room("JSON"),
        room("SettingsFile", [.product(name: "Yams", package: "Yams")]),
        .target(name: "CSocketErrors"),
        .target(name: "CFuzzEntry"),
        .executableTarget(
            name: "weft-fuzz",
            dependencies: [
                "API", "CFuzzEntry", "Bytes", "CSimulatedDisk", "HTTPServer", "JSON", "MVCC", "Raft", "SettingsFile",
                "SQLite",
                "Storage", "Transport",
            ],
            // libFuzzer brings the main function.
            swiftSettings: houseRules + [.unsafeFlags(["-parse-as-library"])]),
        room("Client", ["Certificates", "HTTP2", "JSON", "Sockets", "TLS", nioCore, nioPosix, nioHTTP1]),
        room(
            "Pairs",
            [
                "Access", "Certificates", "Client", "Credentials", "Fabric", "JSON", "MVCC", "Replication", "Server",
                "TLS", nioCore,
                nioPosix, nioHTTP1,
            ]),
        room("Bench", ["Bytes", "Client", "JSON", "TLS", nioCore, nioPosix]),
        room(
            "API",
            [
                .product(name: "SwiftProtobuf", package: "swift-protobuf"), "Access", "Bytes", "Certificates",
                "Credentials", "EtcdProto", "Fabric",
                "HTTPServer",
                "JSON", "MVCC", "Pairs",
                "Raft", "Replication", "Schedules", "Server", nioHTTP1,
            ]),
        .executableTarget(
            name: "weft",
            dependencies: [
                "API", "Bench", "Bytes", "Certificates", "Client", "CPlatform", "CSocketErrors", "Credentials",
                "Fabric", "JSON", "Pairs",
                "Raft",
                "Replication",
                "Server", "Storage",
                "Transport",
                "HTTPServer", "MVCC", "Sockets", "TLS",
                nioCore, nioPosix, nioHTTP1, logging,
                "SettingsFile", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: houseRules),
        tests("BytesTests", ["Bytes", "JSON"]),
        tests("RaftTests", ["Bytes", "Raft"], resources: ["Interactions"]),
        tests("CredentialsTests", ["Credentials", "JSON"]),
        tests("AccessTests", ["Access", "Bytes"]),
        tests("SchedulesTests", ["Schedules"]),
        tests("FabricTests", ["Bytes", "Fabric", "Schedules"]),
        tests("StorageTests", ["Raft", "SQLite", "Storage"]),
        tests("MVCCTests", ["Access", "Bytes", "Fabric", "MVCC", "SQLite"]),
        tests("ReplicationTests", ["Fabric", "MVCC", "Raft", "Replication", "SQLite", "Storage", logging]),
        tests("TransportTests", ["Bytes", "Raft", "Storage", "Transport", nioCore, nioEmbedded]),
        tests(
            "SocketsTests",
            [
                "Sockets", nioCore, nioEmbedded, nioPosix, logging,
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ]),
        tests("CertificatesTests", ["Certificates"]),
        tests("TLSTests", ["Certificates", "TLS", nioCore, nioEmbedded, logging]),
        tests("HTTPServerTests", ["Bytes", "CNGHTTP2", "HTTPServer", "Sockets", nioCore, nioPosix, nioHTTP1, logging]),
        tests("APITests", ["API", "HTTPServer", "JSON", "MVCC", nioHTTP1]),
        tests("ServerTests", ["MVCC", "Replication", "Server", "Storage", "Transport", nioPosix, logging]),
        tests("TidyTests", []),
    ]
)
