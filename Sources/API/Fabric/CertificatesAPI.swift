internal import Access
internal import Certificates
internal import Credentials
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Server

/// The fabric's own CA: `/v1/ca` and `/v1/tokens`. Certificates and requests are PEM.
struct CertificatesAPI: Sendable {
    let desk: Desk

    static let path: Substring = "/v1/ca"
    static let tokensPath: Substring = "/v1/tokens"

    func respond(to request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        let parts = request.path.split(separator: "/").dropFirst().map(String.init)
        switch (request.method, parts.first, parts.count) {
        case (.GET, "ca", 1): return try await authorities()
        case (.GET, "ca", 2) where parts[1] == "certificates": return try await list()
        case (.POST, "ca", 2): return try await sign(parts[1], request.body)
        case (.DELETE, "ca", 3) where parts[1] == "certificates":
            try await desk.carryOut(Trust.Revoke(id: parts[2]))
            return .done
        case (.GET, "tokens", 1): return try await tokens()
        case (.POST, "tokens", 1): return try await makeToken(request.body)
        case (.DELETE, "tokens", 2):
            try await desk.carryOut(Trust.RevokeToken(id: parts[1]))
            return .done
        default: throw .nothing(at: request.path)
        }
    }

    // MARK: - Looking

    private func authorities() async throws(APIError) -> HTTPResponse {
        let found = try await desk.carryOut(Trust.Authorities())
        var json = JSONWriter()
        json.object { json in
            json.field("fabric", String(found.fabric, radix: 16))
            json.field("authorities", found.authorities) { json, authority in
                let certificate = try? Certificate(der: authority.certificate)
                json.object { json in
                    json.field("id", authority.name.hexadecimal)
                    json.field("until", timestamp((certificate?.validity.to ?? 0) * 1000))
                    json.field("certificate", String(decoding: certificate?.pem ?? [], as: UTF8.self))
                }
            }
        }
        return .json(.ok, json)
    }

    private func list() async throws(APIError) -> HTTPResponse {
        let found = try await desk.carryOut(Trust.List())
        var json = JSONWriter()
        json.object { json in
            json.field("members", found.members) { json, entry in
                let id = String(entry.member.id, radix: 16)
                let known = found.trust.members[Array(id.utf8)]
                json.object { json in
                    json.field("id", id)
                    json.field("name", entry.attributes.name)
                    if let known, known.until > 0 { json.field("until", timestamp(known.until)) }
                    json.field("authority", known?.authority.hexadecimal ?? "")
                }
            }
            json.field("clients", found.trust.enrolments.all) { json, enrolment in
                json.object { json in
                    json.field("id", String(decoding: enrolment.name, as: UTF8.self))
                    json.field("name", String(decoding: enrolment.title, as: UTF8.self))
                    json.field("role", enrolment.role.text)
                    json.field("until", timestamp(enrolment.until))
                    json.field("authority", enrolment.authority.hexadecimal)
                }
            }
        }
        return .json(.ok, json)
    }

    // MARK: - Signing

    private func sign(_ verb: String, _ body: [UInt8]) async throws(APIError) -> HTTPResponse {
        switch verb {
        case "certificates":
            let body = try FabricBody(body, known: ["request", "name", "role", "ttlSeconds"])
            let issue = Trust.Issue(
                request: try body.certificateRequest(), title: try body.text("name") ?? "", role: try body.role(),
                seconds: try body.number("ttlSeconds") ?? MemberCertificates.lifeSeconds)
            return Self.answer(try await desk.carryOut(issue))
        case "login":
            let body = try FabricBody(body, known: ["request"])
            return Self.answer(try await desk.carryOut(Trust.LogIn(request: try body.certificateRequest())))
        case "renew":
            let body = try FabricBody(body, known: ["request"])
            return Self.answer(try await desk.carryOut(Trust.Renew(request: try body.certificateRequest())))
        case "machine":
            let body = try FabricBody(body, known: ["request"])
            return Self.answer(try await desk.carryOut(Trust.SignForMachine(request: try body.certificateRequest())))
        case "init":
            _ = try FabricBody(body, known: [])
            try await desk.carryOut(Trust.Found())
            return .done
        case "rotate":
            let body = try FabricBody(body, known: ["step", "force"])
            let step: Trust.Rotate.Step
            switch try body.text("step") ?? "begin" {
            case "begin": step = .begin
            case "finish": step = .finish(forced: try body.flag("force") ?? false)
            case "abandon": step = .abandon
            case let other:
                throw APIError(.invalidArgument, "step: \"\(other)\" is none of begin, finish, abandon")
            }
            try await desk.carryOut(Trust.Rotate(step: step))
            return .done
        case "enrol":
            let body = try FabricBody(body, known: ["token", "request", "name"])
            let enrol = Trust.Enrol(
                token: try body.joinToken(), request: try body.certificateRequest(), title: try body.text("name") ?? "")
            return Self.answer(try await desk.carryOut(enrol))
        case "join":
            let body = try FabricBody(
                body, known: ["token", "request", "name", "peerURLs", "hosts", "domain", "member"])
            let join = Trust.Join(
                token: try body.joinToken(), request: try body.certificateRequest(), name: try body.text("name") ?? "",
                peerURLs: try body.strings("peerURLs"), hosts: try body.strings("hosts"),
                domain: try body.text("domain") ?? "", member: try body.text("member"))
            return Self.answer(try await desk.carryOut(join))
        default: throw .nothing(at: "/v1/ca/\(verb)")
        }
    }

    private static func answer(_ signed: SignedCertificate) -> HTTPResponse {
        var json = JSONWriter()
        json.object { $0.write(signed) }
        return .json(.ok, json)
    }

    private static func answer(_ joined: Trust.Joined) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.write(joined.signed)
            json.field("fabric", String(joined.clusterID, radix: 16))
            json.field("authority", String(decoding: joined.authority, as: UTF8.self))
            json.field("members", joined.members) { json, entry in
                json.object { json in
                    json.field("id", String(entry.member.id, radix: 16))
                    json.field("name", entry.attributes.name)
                    json.field("peerURLs", entry.member.peerURLs) { $0.string($1) }
                }
            }
        }
        return .json(.ok, json)
    }

    // MARK: - Tokens

    private func tokens() async throws(APIError) -> HTTPResponse {
        let found = try await desk.carryOut(Trust.List()).trust.tokens.all
        var json = JSONWriter()
        json.object { json in json.field("tokens", found) { $0.write($1) } }
        return .json(.ok, json)
    }

    private func makeToken(_ body: [UInt8]) async throws(APIError) -> HTTPResponse {
        let body = try FabricBody(body, known: ["role", "domain", "replaces", "ttlSeconds", "uses"])
        let text = try body.text("role") ?? "voter"
        guard let role = JoinRole(text) else {
            throw APIError(
                .invalidArgument,
                "\"\(text)\" is none of voter, learner, witness, member:ID, weft:node:NAME, weft:client, weft:observer, weft:operator, root"
            )
        }
        let uses = try body.number("uses") ?? 1
        let made = try await desk.carryOut(
            Trust.MakeToken(
                role: role, domain: try body.text("domain") ?? "", replaces: try body.text("replaces"),
                seconds: try body.number("ttlSeconds") ?? 3600,
                usesMax: UInt64(clamping: uses)))
        var json = JSONWriter()
        json.object { json in
            json.field("token", made.text.description)
            json.name("about")
            json.write(made.token)
        }
        return .json(.created, json)
    }
}

extension JSONWriter {
    fileprivate mutating func write(_ signed: SignedCertificate) {
        field("id", String(signed.id, radix: 16))
        field("until", timestamp(signed.until))
        field("certificate", String(decoding: signed.certificate, as: UTF8.self))
        field("authorities", String(decoding: signed.authorities, as: UTF8.self))
    }

    /// Without its secret, which nobody knows.
    fileprivate mutating func write(_ token: JoinToken) {
        object { json in
            json.field("id", String(decoding: token.name, as: UTF8.self))
            json.field("role", token.role.text)
            json.field("domain", String(decoding: token.domain, as: UTF8.self))
            json.field("until", timestamp(token.until))
            json.field("uses", token.usesMax)
            json.field("usesLeft", token.usesLeft)
        }
    }
}

extension FabricBody {
    fileprivate func certificateRequest() throws(APIError) -> CertificateRequest {
        do throws(CertificateError) {
            return try CertificateRequest(pem: Array((try? text("request"))?.utf8 ?? "".utf8))
        } catch {
            throw APIError(.invalidArgument, "request: \(error)")
        }
    }

    fileprivate func joinToken() throws(APIError) -> JoinTokenText {
        guard let token = JoinTokenText(try text("token") ?? "") else {
            throw APIError(.invalidArgument, "token: it is no join token: one is weft1.CA.ID.SECRET")
        }
        return token
    }

    fileprivate func role() throws(APIError) -> ReservedRole {
        let text = try text("role") ?? "weft:client"
        guard let role = ReservedRole(certified: text), role.canBeGiven else {
            throw APIError(
                .invalidArgument,
                "\"\(text)\" is none of weft:client, weft:node:NAME, weft:observer, weft:operator, root")
        }
        return role
    }

}

extension [UInt8] {
    fileprivate var hexadecimal: String {
        map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}

extension HTTPResponse {
    /// Done, and there is nothing to tell.
    fileprivate static var done: HTTPResponse {
        var json = JSONWriter()
        json.object { _ in }
        return .json(.ok, json)
    }
}
