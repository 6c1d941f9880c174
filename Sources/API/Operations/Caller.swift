internal import Certificates
internal import HTTPServer
internal import NIOHTTP1

/// What a request says of who sends it.
struct Caller: Sendable {
    private let headers: HTTPHeaders
    private let isGRPC: Bool
    private let client: HTTPClientIdentity

    init(_ call: GRPCCall) {
        self.init(call.headers, isGRPC: true, call.client)
    }

    init(_ call: UnaryCall) {
        self.init(call.headers, isGRPC: true, call.client)
    }

    init(_ request: HTTPRequest) {
        self.init(request.headers, isGRPC: false, request.client)
    }

    private init(_ headers: HTTPHeaders, isGRPC: Bool, _ client: HTTPClientIdentity) {
        self.headers = headers
        self.isGRPC = isGRPC
        self.client = client
    }

    /// Where it came from, without a port; empty when that is not known.
    var address: String { client.address }

    /// If it came by the socket of this machine: it is root, or one of the service's group.
    var isLocal: Bool { client.isLocal }

    /// Of a certificate of the fabric's own CA.
    var fabricName: FabricName? { client.fabricName }

    /// The CA of another fabric, paired with this one, by which the caller is a member of that.
    var foreignIssuer: ForeignIssuer? { client.foreignIssuer }

    /// Until when that is good: seconds since 1970.
    var certificateUntil: Int64 { client.certificateUntil }

    /// If nobody on the way can read what is said.
    var isPrivate: Bool { client.isPrivate }

    /// If it is the `weft` command.
    var isCommand: Bool { headers.contains(name: "weft-client") }

    /// Of a certificate that was found to be good: a user's name, where there is no token.
    var commonName: String? { client.commonName.flatMap { $0.isEmpty ? nil : $0 } }

    /// Nil when there is none. Over gRPC the field is "token"; everywhere "authorization" counts, with or without the scheme.
    var token: String? {
        if isGRPC, let token = headers.first(name: "token") { return token }
        guard let text = headers.first(name: "authorization") else { return nil }
        let scheme = "Bearer "
        return text.hasPrefix(scheme) ? String(text.dropFirst(scheme.count)) : text
    }
}
