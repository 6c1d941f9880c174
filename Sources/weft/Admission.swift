internal import Certificates
internal import Client
internal import Credentials
internal import JSON
internal import NIOHTTP1
internal import NIOPosix
internal import Storage
internal import Transport
internal import TLS

/// Comes into a fabric with a join token: it believes the CA that the token names and nobody else, and tells the token's secret only to
/// those who have a certificate of a member from it.
struct Admission {
    let token: JoinTokenText
    let endpoint: Endpoint

    init(_ token: String, at endpoint: Endpoint) throws {
        guard let found = JoinTokenText(token) else {
            throw Problem(.usage, "this is no join token: one is weft1.CA.ID.SECRET, as `weft token create` prints it")
        }
        guard endpoint.isSecure else {
            throw Problem(
                .usage, "a join token is for an https:// URL: in clear text whoever is on the way would have it")
        }
        self.token = found
        self.endpoint = endpoint
    }

    private static let answerBytesMax = 1 << 20

    /// Asks whoever answers for the CA that the token names. Nothing is believed but what has its digest.
    /// - Parameter fabric: whose it has to be, for a machine that is a member already.
    /// - Returns: the CA, and this machine's own address as the connection has it.
    func findAuthority(of fabric: UInt64? = nil) async throws -> (authority: Certificate, ownHost: String?) {
        var client = HTTPClient(group: MultiThreadedEventLoopGroup.singleton)
        client.bodyBytesMax = Self.answerBytesMax
        var anybody = TLSSettings()
        anybody.trustsAnybody = true
        client.tls = try TLSContext(anybody, .client)
        let response: HTTPClient.Response
        do {
            response = try await client.send(.GET, endpoint, "/v1/ca")
        } catch let failure as HTTPClient.Failure {
            throw Problem(.unavailable, "\(failure.description). Is \(endpoint) the client URL of a running member?")
        }
        let answer = try await Problem.explaining { try FabricClient.answer(response) }
        let authorities = (answer["authorities"]?.items ?? []).compactMap { item in
            (try? Certificate.all(pem: Array((item["certificate"]?.text ?? "").utf8)))?.first
        }
        guard let found = authorities.first(where: { $0.keyDigest == token.authority }) else {
            throw Problem(
                .failed,
                """
                \(endpoint) does not show the CA that the token names: it is of another fabric, the CA was replaced since, or somebody \
                is between here and the member. The token's secret was not told
                """)
        }
        if let fabric, let other = answer["fabric"]?.text, other != hex(fabric) {
            throw Problem(
                .failed,
                """
                this machine is a member of fabric \(hex(fabric)), and \(endpoint) is one of fabric \(other): nothing was changed. Join another \
                fabric from an empty --data-dir
                """)
        }
        return (found, response.localHost)
    }

    /// Gets a client's certificate, and writes it to its files.
    /// - Parameter name: what people call it; nil: the name of this machine.
    /// - Returns: the member's answer.
    func enrol(_ name: String?, _ files: ClientCertificateFiles) async throws -> JSONValue {
        let (authority, _) = try await findAuthority()
        let title = name ?? ownHostName() ?? "client"
        let (key, request) = try files.makeRequest(title)
        let client = try Self.client(endpoint, trusting: authority)
        let answer = try await Problem.explaining {
            try await client.call("/v1/ca/enrol") { json in
                json.field("token", token.description)
                json.field("request", request)
                json.field("name", title)
            }
        }
        try files.write(answer, key)
        return answer
    }

    /// A client that believes only members of the fabric, whose CAs are in a file.
    /// - Parameter own: a certificate to show, with its key.
    static func client(_ endpoint: Endpoint, trust: String, own: String? = nil) throws -> FabricClient {
        var settings = TLSSettings()
        settings.trustedCAFile = trust
        (settings.certificateFile, settings.keyFile) = (own, own)
        return try client(endpoint, settings)
    }

    /// The same, before anything is in a file.
    static func client(_ endpoint: Endpoint, trusting authority: Certificate) throws -> FabricClient {
        var settings = TLSSettings()
        settings.trustedPEM = authority.pem
        return try client(endpoint, settings)
    }

    private static func client(_ endpoint: Endpoint, _ found: TLSSettings) throws -> FabricClient {
        var settings = found
        settings.trust = .fabric
        var client = FabricClient(endpoints: [endpoint], group: MultiThreadedEventLoopGroup.singleton)
        do throws(TLSError) { client.http.tls = try TLSContext(settings, .client) } catch {
            throw Problem(.failed, error.description)
        }
        return client
    }
}
