internal import HTTPServer
internal import NIOHTTP1

/// What a request says of who sends it.
struct Caller: Sendable {
    private let headers: HTTPHeaders
    private let isGRPC: Bool
    /// Where it came from, without a port; empty when that is not known.
    let address: String

    init(_ call: GRPCCall) {
        self.init(call.headers, isGRPC: true, address: call.address)
    }

    init(_ call: UnaryCall) {
        self.init(call.headers, isGRPC: true, address: call.address)
    }

    init(_ request: HTTPRequest) {
        self.init(request.headers, isGRPC: false, address: request.address)
    }

    private init(_ headers: HTTPHeaders, isGRPC: Bool, address: String) {
        self.headers = headers
        self.isGRPC = isGRPC
        self.address = address
    }

    /// Nil when there is none. Over gRPC the field is "token"; everywhere "authorization" counts, with or without the scheme.
    var token: String? {
        if isGRPC, let token = headers.first(name: "token") { return token }
        guard let text = headers.first(name: "authorization") else { return nil }
        let scheme = "Bearer "
        return text.hasPrefix(scheme) ? String(text.dropFirst(scheme.count)) : text
    }
}
