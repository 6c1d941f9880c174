internal import Certificates
package import JSON
package import NIOCore
package import NIOHTTP1
internal import TLS

/// Talks to a fabric through the first of its endpoints that answers.
package struct FabricClient: Sendable {
    /// An error that the fabric answered, as etcd's API puts it.
    package struct Refusal: Error, CustomStringConvertible, Sendable {
        package var status: Int
        package var code: Int
        package var message: String
        package var description: String { message }
    }

    package let endpoints: [Endpoint]
    package let group: any EventLoopGroup
    package var http: HTTPClient

    package init(endpoints: [Endpoint], group: any EventLoopGroup) {
        self.endpoints = endpoints
        self.group = group
        http = HTTPClient(group: group)
    }

    /// A client whom other members know, too. Who comes by the socket of their own machine is root there without a token: they get a
    /// certificate of the fabric's CA for a few minutes, or a token. Where none can be had, as without a quorum, the others refuse.
    package func knownElsewhere() async throws -> FabricClient {
        guard endpoints.allSatisfy(\.isLocal), http.authorization == nil else { return self }
        var client = self
        if let tls = try await certified() {
            client.http.tls = tls
            return client
        }
        guard try await call("/v3/auth/status")["enabled"]?.boolean == true,
            let answer = try? await call("/v3/auth/authenticate", { $0.field("name", "root") })
        else { return self }
        client.http.authorization = answer["token"]?.text
        client.http.hidesAuthorization = true
        return client
    }

    /// Nil where the fabric has no CA of its own, or nobody signs here: others are believed as the caller said.
    private func certified() async throws -> TLSContext? {
        // An earlier release knows no such path.
        let authorities = (try? await send(.GET, "/v1/ca"))?["authorities"]?.items ?? []
        guard !authorities.isEmpty, let key = try? PrivateKey(),
            let request = try? CertificateRequest(of: key, commonName: "root").pem(), let keyPEM = try? key.pem(),
            let signed = try? await call(
                "/v1/ca/machine", { $0.field("request", String(decoding: request, as: UTF8.self)) })
        else { return nil }
        var settings = TLSSettings()
        settings.trust = .fabric
        settings.trustedPEM = authorities.flatMap { Array(($0["certificate"]?.text ?? "").utf8) }
        settings.certificatePEM = Array((signed["certificate"]?.text ?? "").utf8) + keyPEM
        return try TLSContext(settings, .client)
    }

    /// The same client for a member; nil for one that has not said where it is. The one who answered is asked where it answered.
    package func at(_ member: FabricMembers.Member, of fabric: FabricMembers) -> FabricClient? {
        if member.id == fabric.memberID, endpoints.allSatisfy(\.isLocal) { return self }
        let endpoints = member.clientURLs.compactMap(Endpoint.init)
        return endpoints.isEmpty ? nil : at(endpoints)
    }

    /// The same client for other endpoints.
    package func at(_ endpoints: [Endpoint]) -> FabricClient {
        var client = FabricClient(endpoints: endpoints, group: group)
        client.http = http
        return client
    }

    /// POSTs to the gateway.
    package func call(_ path: String, _ fields: (inout JSONWriter) -> Void = { _ in }) async throws -> JSONValue {
        var json = JSONWriter()
        json.object(fields)
        return try await send(.POST, path, body: json.bytes)
    }

    /// Sends a request with a JSON body, or none. Another endpoint is tried only when this one could not be connected to: a
    /// request that was sent may have taken effect.
    package func send(
        _ method: HTTPMethod, _ path: String, body: [UInt8] = [], headers: HTTPHeaders = [:]
    ) async throws -> JSONValue {
        var headers = headers
        headers.add(name: "content-type", value: "application/json")
        var failures: [String] = []
        for endpoint in endpoints {
            do {
                let response = try await http.send(
                    method, endpoint, path, headers: headers, body: body)
                return try Self.answer(response)
            } catch let failure as HTTPClient.Failure where failure.description.hasPrefix("cannot connect") {
                failures.append(failure.description)
            }
        }
        throw HTTPClient.Failure(description: failures.joined(separator: "; "))
    }

    /// Sends a request whose answer is taken piece by piece by `sink`.
    package func stream(
        _ method: HTTPMethod, _ path: String, body: [UInt8] = [], headers: HTTPHeaders = [:],
        to sink: @escaping HTTPClient.Sink
    ) async throws {
        var failures: [String] = []
        for endpoint in endpoints {
            do {
                let response = try await http.send(method, endpoint, path, headers: headers, body: body, sink: sink)
                if response.status >= 400 { _ = try Self.answer(response) }
                return
            } catch let failure as HTTPClient.Failure where failure.description.hasPrefix("cannot connect") {
                failures.append(failure.description)
            }
        }
        throw HTTPClient.Failure(description: failures.joined(separator: "; "))
    }

    /// The answer's JSON, or what it says went wrong.
    package static func answer(_ response: HTTPClient.Response) throws -> JSONValue {
        let value: JSONValue
        do {
            value = try JSONParser.parse(response.body)
        } catch {
            throw HTTPClient.Failure(
                description: "the answer is no JSON (HTTP \(response.status)): is this a weft or etcd client port?")
        }
        guard response.status < 400 else {
            throw Refusal(
                status: response.status, code: Int(value["code"]?.integer ?? 0),
                message: value["message"]?.text ?? value["error"]?.text ?? "HTTP status \(response.status)")
        }
        return value
    }

    /// The members, as of now.
    package func members() async throws -> FabricMembers {
        FabricMembers(
            try await call("/v3/cluster/member/list") { json in
                json.field("linearizable", true)
            })
    }
}

/// An answer of the cluster service.
package struct FabricMembers: Sendable {
    package struct Member: Sendable {
        package var id: UInt64
        package var name: String
        package var peerURLs: [String]
        package var clientURLs: [String]
        package var isLearner: Bool
    }

    package var clusterID: UInt64
    /// Who answered.
    package var memberID: UInt64
    package var members: [Member]

    /// Where clients reach members by TLS.
    package var secureEndpoints: [Endpoint] {
        members.flatMap(\.clientURLs).compactMap(Endpoint.init).filter(\.isSecure)
    }

    package init(_ answer: JSONValue) {
        clusterID = answer["header"]?["cluster_id"]?.unsigned ?? 0
        memberID = answer["header"]?["member_id"]?.unsigned ?? 0
        members = (answer["members"]?.items ?? []).map(Member.init)
    }
}

extension FabricMembers.Member {
    package init(_ value: JSONValue) {
        self.init(
            id: value["ID"]?.unsigned ?? 0, name: value["name"]?.text ?? "",
            peerURLs: (value["peerURLs"]?.items ?? []).compactMap(\.text),
            clientURLs: (value["clientURLs"]?.items ?? []).compactMap(\.text),
            isLearner: value["isLearner"]?.boolean ?? false)
    }
}
