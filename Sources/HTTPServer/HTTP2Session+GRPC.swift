internal import HTTP2

/// gRPC's answers.
extension HTTP2Session {
    /// Begins an answer whose messages the connection supplies.
    func respondGRPC(stream: Int32) { respond(stream: stream, GRPCFields.head, hasBody: true) }

    /// Answers a call with a status only.
    func refuseGRPC(stream: Int32, httpStatus: Int, _ status: GRPCStatus) {
        let head = [
            (":status", String(httpStatus)), ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "identity,gzip"),
        ]
        respond(stream: stream, fields: head + GRPCFields.trailers(status), hasBody: false)
    }

    func endGRPC(stream: Int32, _ status: GRPCStatus) {
        if status == .ok {
            trailers(stream: stream, GRPCFields.okTrailers)
        } else {
            trailers(stream: stream, fields: GRPCFields.trailers(status))
        }
    }
}

private enum GRPCFields {
    static let head = HTTP2ConstantFields([
        (":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip"),
    ])
    static let okTrailers = HTTP2ConstantFields([("grpc-status", "0")])

    static func trailers(_ status: GRPCStatus) -> [(String, String)] {
        let code = ("grpc-status", String(status.code))
        return status.message.isEmpty ? [code] : [code, ("grpc-message", GRPCWire.percentEncoded(status.message))]
    }
}
