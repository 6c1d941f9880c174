import Foundation
import JSON
import Testing

@testable import API

/// Tests/Processes/rights.json says who may do what, and rights.py asks for all of it.
@Suite("The table of rights")
struct RightsTableTests {
    private let table: JSONValue

    init() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Processes/rights.json")
        table = try JSONParser.parse(Array(Data(contentsOf: file)))
    }

    private func rows(_ name: String) throws -> Set<String> {
        guard case .object(let fields)? = table[name] else { throw CancellationError() }
        return Set(fields.map(\.name))
    }

    @Test("Every RPC has its row, and no row is of nothing")
    func rpcs() throws { #expect(try rows("grpc") == Set(GRPCRoute.all.map(\.path))) }

    @Test("Every path of the gateway has its row, and no row is of nothing")
    func gateway() throws { #expect(try rows("gateway") == Set(GatewayRoute.all.map { String($0.path) })) }

    @Test("Every path that tools are told of has its row")
    func told() throws {
        let rows = try rows("plain")
        for operation in OpenAPI.operations {
            #expect(
                rows.contains("\(operation.method.uppercased()) \(operation.path)"),
                "\(operation.method) \(operation.path)")
        }
    }
}
