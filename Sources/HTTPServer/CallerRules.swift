internal import NIOCore
internal import NIOHTTP1
internal import Sockets

/// From where requests are taken. A page in a browser may not use the person who opened it to reach a member: what it sends names its
/// origin (Fetch standard, "Origin" and "Sec-Fetch-Site"), and programs send neither.
package struct CallerRules: Sendable {
    /// Origins of other pages that may ask, as in `http://console.example:8080`; "*" is all (`--cors`).
    package var origins: Set<String> = []
    /// If said, requests must name one of these hosts; "*" is all (`--host-whitelist`).
    package var hosts: Set<String>?
    /// How the connection came. By which name somebody may be asked is told by the certificate where there is one, and by the path of
    /// a local socket.
    var entrance = Port.Entrance.clear
    private var isSecure: Bool { entrance == .secure }
    /// Names of this member. A page's request to another name comes by a DNS name that was rebound to this address.
    package var ownHosts: Set<String> = []

    package init() {}

    enum Verdict {
        /// - origin: whose page may read the answer.
        case taken(origin: String?)
        case refused(HTTPResponseStatus, String)
        /// The answer to a page that asks whether it may ask.
        case answered(HTTPResponse)
    }

    /// - Parameter isGRPC: whitelists of hosts are not for gRPC, as in etcd.
    func verdict(on method: HTTPMethod, _ headers: HTTPHeaders, isGRPC: Bool = false) -> Verdict {
        let host = headers.first(name: "host").map(Self.name) ?? ""
        if !isGRPC, entrance == .clear, let hosts, !hosts.contains("*"), !hosts.contains(host) {
            return .refused(.misdirectedRequest, "host \"\(host)\" is not in --host-whitelist")
        }
        let origin = headers.first(name: "origin")
        let site = headers.first(name: "sec-fetch-site")
        if origin == nil, site == nil { return .taken(origin: nil) }
        guard isSecure || Self.isAddress(host) || ownHosts.contains(host) || hosts?.contains(host) == true else {
            return .refused(
                .misdirectedRequest,
                "a page asks for host \"\(host)\", which is not this member's; see --host-whitelist")
        }
        if isOwn(origin, site, host: headers.first(name: "host") ?? "") { return .taken(origin: nil) }
        guard let origin, origins.contains("*") || origins.contains(origin) else {
            return .refused(.forbidden, "pages of \(origin ?? "other sites") may not ask; see --cors")
        }
        guard method == .OPTIONS, headers.contains(name: "access-control-request-method") else {
            return .taken(origin: origin)
        }
        return .answered(HTTPResponse(status: .ok, headers: Self.permission(for: origin, isAnswer: false)))
    }

    private func isOwn(_ origin: String?, _ site: String?, host: String) -> Bool {
        (origin == nil || origin == "\(isSecure ? "https" : "http")://\(host)")
            && (site == nil || site == "same-origin" || site == "none")
    }

    /// What lets a page of `origin` read an answer.
    static func permission(for origin: String, isAnswer: Bool) -> HTTPHeaders {
        var headers: HTTPHeaders = ["access-control-allow-origin": origin, "vary": "origin"]
        if isAnswer { return headers }
        headers.add(name: "access-control-allow-methods", value: "POST, GET, OPTIONS, PUT, DELETE")
        headers.add(
            name: "access-control-allow-headers", value: "accept, content-type, authorization, if-match, if-none-match")
        return headers
    }

    /// The host without its port, in lower case.
    private static func name(_ authority: String) -> String {
        let text = authority.lowercased()
        if text.hasPrefix("[") { return String(text.dropFirst().prefix { $0 != "]" }) }
        return String(text.prefix { $0 != ":" })
    }

    private static func isAddress(_ host: String) -> Bool {
        host == "localhost" || (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }
}

/// What is wrong with a request's head as such (RFC 9112, sections 3.2 and 6.1).
func headFault(_ head: HTTPRequestHead) -> String? {
    let hosts = head.headers["host"]
    let isOld = head.version.major == 1 && head.version.minor == 0
    if hosts.count > 1 || hosts.isEmpty && !isOld { return "the request must have one Host" }
    if let host = hosts.first, !isHost(host) { return "Host \"\(host)\" is not HOST or HOST:PORT" }
    guard head.headers.contains(name: "transfer-encoding") else { return nil }
    if head.headers.contains(name: "content-length") { return "both Content-Length and Transfer-Encoding" }
    return isOld ? "Transfer-Encoding in HTTP/1.0" : nil
}

private func isHost(_ text: String) -> Bool {
    var rest = text[...]
    if rest.hasPrefix("[") {
        guard let end = rest.firstIndex(of: "]") else { return false }
        rest = rest[rest.index(after: end)...]
    } else {
        let name = rest.prefix { $0 != ":" }
        let marks = "-._~%!$&'()*+,;="
        guard name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || marks.contains($0)) }) else {
            return false
        }
        rest = rest.dropFirst(name.count)
    }
    if rest.isEmpty { return true }
    return rest.first == ":" && rest.dropFirst().allSatisfy { $0.isASCII && $0.isNumber }
}
