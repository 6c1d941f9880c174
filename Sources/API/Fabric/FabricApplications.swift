internal import Fabric
internal import HTTPServer
internal import JSON
internal import NIOHTTP1

/// Applications: `/v1/fabric/applications`.
struct FabricApplications: Sendable {
    let call: FabricCall

    func respond() async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.application) { return watch }
            let fabric = try await call.fabric()
            return call.list(fabric, Array(fabric.applications)) { $0.application($1) }
        case (.GET, 1):
            if let watch = try await call.watch(.application, name: call.path[0]) { return watch }
            guard let application = try await call.fabric().application(call.path[0]) else {
                throw FabricCall.missing(.application, call.path[0])
            }
            return call.answer(application.mark) { $0.application(application) }
        case (.PUT, 1):
            return try await call.change(
                .putApplication(call.path[0], try ApplicationTerms(body: call.request.body)))
        case (.DELETE, 1): return try await call.change(.removeApplication(call.path[0]))
        default: throw .nothing(at: call.request.path)
        }
    }
}

extension ApplicationTerms {
    init(body: [UInt8]) throws(APIError) {
        let body = try FabricBody(body, known: ["prefixes", "volumes", "rpoSeconds"])
        self.init(
            prefixes: try body.strings("prefixes").map { Array($0.utf8) }, volumes: try body.strings("volumes"),
            rpoSeconds: try body.number("rpoSeconds") ?? 0)
    }
}

extension JSONWriter {
    mutating func application(_ application: Application) {
        object { json in
            json.field("name", application.name)
            json.name("prefixes")
            json.array(application.terms.prefixes) { $0.string(String(decoding: $1, as: UTF8.self)) }
            json.name("volumes")
            json.array(application.terms.volumes) { $0.string($1) }
            json.name("rpoSeconds")
            json.number(application.terms.rpoSeconds)
            json.name("epoch")
            json.number(application.epoch)
            json.mark(application.mark)
        }
    }
}
