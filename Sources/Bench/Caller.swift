internal import Client
internal import NIOCore
internal import TLS

/// How requests are encoded.
package enum Encoding: String, CaseIterable, Sendable {
    case grpc
    /// etcd's gateway, over HTTP/1.1.
    case json
}

/// Why a request has no answer.
struct CallFailure: Error {
    var text: String
}

/// A connection that makes requests in one encoding. Only on its event loop.
enum Caller {
    case grpc(GRPCConnection)
    case json(HTTP1Connection)

    static func connect(
        _ encoding: Encoding, to endpoint: Endpoint, _ tls: TLSContext?, on loop: any EventLoop
    ) -> EventLoopFuture<NIOLoopBound<Caller>> {
        switch encoding {
        case .grpc:
            GRPCConnection.connect(to: endpoint, tls, on: loop).map { NIOLoopBound(.grpc($0), eventLoop: loop) }
        case .json:
            HTTP1Connection.connect(to: endpoint, tls, on: loop).map { NIOLoopBound(.json($0), eventLoop: loop) }
        }
    }

    var isActive: Bool {
        switch self {
        case .grpc(let connection): connection.isActive
        case .json(let connection): connection.isActive
        }
    }

    func close() {
        switch self {
        case .grpc(let connection): connection.close()
        case .json(let connection): connection.close()
        }
    }

    /// - Parameter keepsAnswer: if not, what is answered is read and dropped.
    func call(
        _ request: EtcdRequest, keepsAnswer: Bool = true,
        _ answered: @escaping (Result<EtcdAnswer, CallFailure>) -> Void
    ) {
        switch self {
        case .grpc(let connection):
            connection.call(request.method, request.proto, keepsAnswer: keepsAnswer) { answer in
                answered(
                    answer.map { EtcdAnswer(bytes: $0, encoding: .proto) }
                        .mapError { CallFailure(text: $0.description) })
            }
        case .json(let connection):
            connection.post(request.path, request.json, keepsAnswer: keepsAnswer) { answer in
                answered(Self.answer(answer))
            }
        }
    }

    private static func answer(_ answer: HTTP1Connection.Answer) -> Result<EtcdAnswer, CallFailure> {
        switch answer {
        case .success(let (status, body)):
            let found = EtcdAnswer(bytes: body, encoding: .json)
            return status == 200 ? .success(found) : .failure(CallFailure(text: found.reason(status: status)))
        case .failure(let failure): return .failure(CallFailure(text: failure.description))
        }
    }
}
