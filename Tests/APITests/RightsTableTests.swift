import Foundation
import JSON
import NIOHTTP1
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

    @Test("Every other path has its row, and no row is of nothing; what has none is not answered")
    func others() throws {
        // Rows ask for what is there, and for what differs by its query or by whose it is.
        let examples = [
            ("/v1/kv/m", "/v1/kv/{key}"), ("/volumes/w/", "/volumes/{name}/"), ("/readyz/disk", "/readyz/{check}"),
            ("/livez/serializable_read", "/livez/{check}"),
        ]
        let rows = try rows("plain").map { row in
            examples.reduce(String(row.prefix { $0 != "?" })) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
        }
        #expect(Set(rows) == Set(OpenAPI.operations.map { "\($0.method.uppercased()) \($0.path)" }))
        for operation in OpenAPI.operations {
            #expect(PlainRoutes.find(.init(rawValue: operation.method.uppercased()), operation.path[...]) == .here)
        }
        #expect(PlainRoutes.find(.GET, "/v1/secrets") == .nowhere)
        #expect(PlainRoutes.find(.POST, "/v1/fabric/nodes/e1/drain") == .nowhere)
        #expect(PlainRoutes.find(.DELETE, "/v1/tokens") == .others("GET, POST"))
        #expect(PlainRoutes.find(.HEAD, "/health") == .here)
    }
}
