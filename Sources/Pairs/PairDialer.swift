internal import Access
package import Certificates
internal import Client
package import Credentials
package import Fabric
internal import JSON
internal import MVCC
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
package import Server
internal import TLS

/// Goes to the members of another fabric for a member of this one.
package struct PairDialer: Sendable {
    package static let acceptPath = "/v1/pairing/accept"
    package static let contactPath = "/v1/pairing/contact"
    private static let timeout = TimeAmount.seconds(3)
    /// For all endpoints together: others wait.
    private static let patience = Duration.seconds(10)
    private static let answerBytesMax = 1 << 20

    private let member: RunningMember

    package init(of member: RunningMember) { self.member = member }

    // MARK: - Pairing

    /// Shows a token to the fabric that made it, and tells it whom to believe from now on. The secret goes only to those who have a certificate of
    /// the CA that the token names.
    /// - Parameters:
    ///   - name: as the other side is to call this fabric.
    ///   - endpoints: where the other is, if not where the token says.
    /// - Returns: what the other fabric says of itself.
    package func show(
        _ token: PairTokenText, as name: String, at endpoints: [String]
    ) async throws(PairError) -> PairGreeting {
        let places = try Self.endpoints(endpoints.isEmpty ? token.endpoints : endpoints)
        let own = member.greeting(believing: [])
        guard own.fabric != 0, !own.authorities.isEmpty else {
            throw .unusable("this fabric has no CA of its own: `weft ca init` makes one")
        }
        return try await Self.first(of: places) { place throws(PairError) in
            let authority = try await findAuthority(token.token.authority, at: place)
            return try await ask(Self.acceptPath, place, believing: [authority], showing: false) { json in
                json.field("token", token.token.description)
                json.field("name", name)
                own.write(to: &json)
            }
        }
    }

    /// Asks whoever answers for its CAs. Nothing is believed but what has the digest.
    private func findAuthority(_ digest: [UInt8], at place: Endpoint) async throws(PairError) -> Certificate {
        var anybody = TLSSettings()
        anybody.trustsAnybody = true
        let answer = try await send(.GET, "/v1/ca", place, anybody)
        let found = (answer["authorities"]?.items ?? []).compactMap { item in
            (try? Certificate.all(pem: Array((item["certificate"]?.text ?? "").utf8)))?.first
        }
        guard let authority = found.first(where: { $0.keyDigest == digest }) else {
            throw .unusable(
                "\(place) does not show the CA that the token names: the CA was replaced since, or somebody is between here and the member. The token's secret was not told"
            )
        }
        return authority
    }

    // MARK: - Paired

    /// Greets the other fabric. The caller notes what comes of it.
    package func greet(_ pair: ClusterPair) async -> Result<(PairGreeting, skew: Int64), PairError> {
        do throws(PairError) {
            let believed = pair.certificates
            let own = member.greeting(believing: believed)
            return .success(
                try await Self.first(of: try Self.endpoints(pair.terms.places)) { place throws(PairError) in
                    let begun = member.wallMilliseconds
                    let found = try await ask(Self.contactPath, place, believing: believed, showing: true) {
                        own.write(to: &$0)
                    }
                    guard found.fabric == pair.terms.fabric else {
                        throw .unusable("fabric \(String(found.fabric, radix: 16)) answers in its place")
                    }
                    return (found, found.time - (begun + member.wallMilliseconds) / 2)
                })
        } catch {
            return .failure(error)
        }
    }

    // MARK: - Sending

    private static func endpoints(_ texts: [String]) throws(PairError) -> [Endpoint] {
        let found = texts.compactMap(Endpoint.init).filter(\.isSecure)
        guard !found.isEmpty, found.count == texts.count else {
            throw .unreachable("https:// URLs of the other fabric's members are needed to reach it")
        }
        return found
    }

    /// What the first of them answers that is of use. One that refuses may be a member that has not heard yet.
    private static func first<T: Sendable>(
        of places: [Endpoint], _ ask: (Endpoint) async throws(PairError) -> T
    ) async throws(PairError) -> T {
        let end = ContinuousClock.now + patience
        var refusal: PairError?
        var failures: [String] = []
        for place in places where failures.isEmpty || .now < end {
            do throws(PairError) { return try await ask(place) } catch {
                if case .unreachable(let text) = error { failures.append(text) } else { refusal = refusal ?? error }
            }
        }
        throw refusal ?? .unreachable(failures.joined(separator: "; "))
    }

    private func ask(
        _ path: String, _ place: Endpoint, believing: [Certificate], showing shows: Bool,
        _ fields: (inout JSONWriter) -> Void
    ) async throws(PairError) -> PairGreeting {
        var settings = TLSSettings()
        settings.trust = .fabric
        settings.trustedPEM = believing.flatMap(\.pem)
        if shows { (settings.certificateFile, settings.keyFile) = (member.certificatePath, member.certificatePath) }
        var json = JSONWriter()
        json.object(fields)
        return try PairGreeting(try await send(.POST, path, place, settings, json.bytes))
    }

    private func send(
        _ method: HTTPMethod, _ path: String, _ place: Endpoint, _ settings: TLSSettings, _ body: [UInt8] = []
    ) async throws(PairError) -> JSONValue {
        do {
            var client = FabricClient(endpoints: [place], group: MultiThreadedEventLoopGroup.singleton)
            client.http.timeout = Self.timeout
            client.http.bodyBytesMax = Self.answerBytesMax
            client.http.tls = try TLSContext(settings, .client)
            return try await client.send(method, path, body: body)
        } catch let refusal as FabricClient.Refusal {
            throw .refused(refusal.message)
        } catch {
            let text = "\(error)"
            // How the other side's port says that it believes no such CA (RFC 8446, section 6.2).
            if text.contains("unknown ca") {
                throw .refused("it does not believe this fabric: the pair was removed there, or it was restored")
            }
            throw .unreachable(text)
        }
    }
}

extension RunningMember {
    /// What this fabric says of itself.
    /// - Parameter authorities: of the other fabric, as they are believed here.
    package func greeting(believing authorities: [Certificate]) -> PairGreeting {
        PairGreeting(
            fabric: clusterID, authorities: access.trust.certificates, bridges: bridges, endpoints: secureEndpoints,
            time: wallMilliseconds, release: settings.release, version: Int64(fabricVersion), revision: revision,
            believed: authorities.map(\.keyDigest))
    }
}
