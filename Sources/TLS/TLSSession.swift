internal import COpenSSL
internal import NIOCore
#if canImport(Glibc)
    internal import Glibc
#endif

/// One connection's TLS between bytes of the network and bytes of the application: it reads and writes memory only. Used on one
/// event loop.
struct TLSSession: ~Copyable {
    enum Progress: Equatable {
        case wantsMore
        case done
        case failed(TLSError)

        var error: TLSError? { if case .failed(let error) = self { error } else { nil } }
    }

    private let context: TLSContext
    private let expected: Expected?
    private let session: OpaquePointer
    /// What came from the network, and what is to go there. The session frees both.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer

    private static let recordBytes = 16 << 10

    /// - Parameter expected: whom a client wants to reach.
    init(_ context: TLSContext, expecting expected: Expected?) throws(TLSError) {
        guard let session = SSL_new(context.pointer) else { throw .last("a connection cannot be set up") }
        guard let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem()) else {
            SSL_free(session)
            throw .last("a connection cannot be set up")
        }
        SSL_set_bio(session, incoming, outgoing)
        if case .host(let name)? = expected {
            do throws(TLSError) { try Self.expect(name, session) } catch {
                SSL_free(session)
                throw error
            }
        }
        self.context = context
        self.expected = expected
        self.session = session
        self.incoming = incoming
        self.outgoing = outgoing
        switch context.side {
        case .server: SSL_set_accept_state(session)
        case .client: SSL_set_connect_state(session)
        }
    }

    deinit { SSL_free(session) }

    private static func expect(_ name: String, _ session: OpaquePointer) throws(TLSError) {
        let parameters = SSL_get0_param(session)
        // An address is compared with those in the certificate, and is no name to send.
        if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 { return }
        ERR_clear_error()
        X509_VERIFY_PARAM_set_hostflags(parameters, TLSContext.hostFlags)
        guard !name.isEmpty, weft_tls_set_server_name(session, name) == 1,
            X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count) == 1
        else { throw .last("\"\(name)\" is no name of a server") }
    }

    /// A client's wishes, best first, such as "h2".
    func offer(_ protocols: [String]) {
        let names = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        SSL_set_alpn_protos(session, names, UInt32(names.count))
    }

    /// Once hands are shaken.
    var peerCertificate: PeerCertificate? { context.peerCertificate(of: session) }

    // MARK: - Bytes

    func take(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { bytes in
            _ = BIO_write(incoming, bytes.baseAddress, Int32(clamping: bytes.count))
        }
    }

    /// What is to go to the network; nil when there is nothing.
    func output(_ allocator: ByteBufferAllocator) -> ByteBuffer? {
        let count = Int(weft_tls_pending(outgoing))
        guard count > 0 else { return nil }
        var buffer = allocator.buffer(capacity: count)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            max(0, Int(BIO_read(outgoing, bytes.baseAddress, Int32(clamping: count))))
        }
        return buffer
    }

    // MARK: - Steps

    func shakeHands() -> Progress {
        ERR_clear_error()
        let result = SSL_do_handshake(session)
        guard result == 1 else { return progress(result, "no agreement") }
        do throws(TLSError) {
            try context.check(session)
            try expected?.check(peerCertificate)
        } catch {
            return .failed(error)
        }
        return .done
    }

    /// Adds what can be read to `buffer`. `done` says that the other side has ended.
    func read(into buffer: inout ByteBuffer) -> Progress {
        while true {
            ERR_clear_error()
            var result: Int32 = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.recordBytes) { bytes in
                result = SSL_read(session, bytes.baseAddress, Int32(clamping: bytes.count))
                return max(0, Int(result))
            }
            if result > 0 { continue }
            return SSL_get_error(session, result) == SSL_ERROR_ZERO_RETURN
                ? .done : progress(result, "TLS failed")
        }
    }

    func write(_ buffer: ByteBuffer) -> Progress {
        guard buffer.readableBytes > 0 else { return .done }
        ERR_clear_error()
        let result = buffer.withUnsafeReadableBytes { bytes in
            SSL_write(session, bytes.baseAddress, Int32(clamping: bytes.count))
        }
        return result > 0 ? .done : progress(result, "bytes cannot be encrypted")
    }

    /// Says that nothing more comes from here.
    func end() {
        ERR_clear_error()
        _ = SSL_shutdown(session)
        ERR_clear_error()
    }

    private func progress(_ result: Int32, _ what: String) -> Progress {
        switch SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsMore
        case SSL_ERROR_ZERO_RETURN: return .failed(TLSError("the other side ended it"))
        default:
            let reason = SSL_get_verify_result(session)
            guard reason == X509_V_OK || context.settings.trustsAnybody else {
                ERR_clear_error()
                let text = X509_verify_cert_error_string(reason).map { String(cString: $0) } ?? "unknown"
                return .failed(TLSError("the certificate is not trusted: \(text)"))
            }
            return .failed(TLSError.last(what))
        }
    }
}
