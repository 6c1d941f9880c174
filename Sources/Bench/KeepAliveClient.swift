internal import Client

/// Renews its lease: over gRPC on a stream that stays open, as clients do.
final class KeepAliveClient: LoadClient {
    var ttl: Int64 = 0
    private var lease: Int64 = 0
    private var stream: GRPCStream?
    private var waiting: ((CallFailure?) -> Void)?

    override func once(_ done: @escaping (CallFailure?) -> Void) {
        guard lease == 0 else { return renew(done) }
        ask(.grant(ttl: ttl), done) { [self] answer in
            lease = answer.leaseID
            renew(done)
        }
    }

    private func renew(_ done: @escaping (CallFailure?) -> Void) {
        let request = EtcdRequest.keepAlive(lease: lease)
        guard case .grpc(let connection) = caller else {
            return ask(request, done) { [self] in finish($0, done) }
        }
        waiting = done
        let stream = self.stream ?? open(on: connection)
        self.stream = stream
        connection.send(request.proto, on: stream)
    }

    private func open(on connection: GRPCConnection) -> GRPCStream {
        connection.open(EtcdRequest.keepAlive) { [self] bytes in
            guard let done = waiting else { return }
            waiting = nil
            finish(EtcdAnswer(bytes: Array(bytes), encoding: .proto), done)
        } onEnd: { [self] failure in
            stream = nil
            waiting?(CallFailure(text: failure?.description ?? "the stream ended"))
            waiting = nil
        }
    }

    private func finish(_ answer: EtcdAnswer, _ done: @escaping (CallFailure?) -> Void) {
        if answer.leaseTTL > 0 { return done(nil) }
        done(CallFailure(text: "lease \(String(UInt64(bitPattern: lease), radix: 16)) ended though it was kept alive"))
        lease = 0
    }
}
