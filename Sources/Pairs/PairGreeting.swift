package import Certificates
internal import Fabric
package import JSON

/// What one fabric says of itself to another: when they are paired, and every few seconds after that.
package struct PairGreeting: Sendable {
    package var fabric: UInt64
    /// CAs, the newest first: members of the fabric have certificates of theirs.
    package var authorities: [Certificate]
    /// By which an older CA vouches for the newest.
    package var bridges: [Certificate]
    /// `https://` URLs of its members.
    package var endpoints: [String]
    /// Milliseconds since 1970, by its clock.
    package var time: Int64
    package var release: String
    /// Of the fabric's formats.
    package var version: Int64
    /// Of its keys.
    package var revision: Int64
    /// Digests of the other's CAs that it believes.
    package var believed: [[UInt8]]

    private static let itemsMax = 64
    private static let authoritiesMax = 16
    /// Of CAs, and of bridges, as PEM.
    private static let pemBytesMax = 64 << 10
    private static let textBytesMax = 256

    package init(
        fabric: UInt64, authorities: [Certificate], bridges: [Certificate], endpoints: [String], time: Int64,
        release: String, version: Int64,
        revision: Int64, believed: [[UInt8]]
    ) {
        self.fabric = fabric
        self.authorities = authorities
        self.bridges = bridges
        self.endpoints = endpoints
        self.time = time
        self.release = release
        self.version = version
        self.revision = revision
        self.believed = believed
    }

    // MARK: - As JSON

    package static let fields: Set<String> = [
        "fabric", "authorities", "bridges", "endpoints", "unixMilliseconds", "release", "version", "revision",
        "believed",
    ]

    package func write(to json: inout JSONWriter) {
        json.field("fabric", String(fabric, radix: 16))
        json.field("authorities", String(decoding: authorities.flatMap(\.pem), as: UTF8.self))
        json.field("bridges", String(decoding: bridges.flatMap(\.pem), as: UTF8.self))
        json.field("endpoints", endpoints) { $0.string($1) }
        json.name("unixMilliseconds")
        json.number(time)
        json.field("release", release)
        json.name("version")
        json.number(version)
        json.name("revision")
        json.number(revision)
        json.field("believed", believed) { $0.string(Base64.encode($1)) }
    }

    /// - Throws: `unusable`, with what is wrong with it.
    package init(_ value: JSONValue) throws(PairError) {
        guard let text = value["fabric"]?.text, let fabric = UInt64(text, radix: 16), fabric != 0 else {
            throw .unusable("it does not say of which fabric it is")
        }
        guard let authorities = Self.certificates(value["authorities"]), !authorities.isEmpty,
            let bridges = Self.certificates(value["bridges"])
        else { throw .unusable("it does not show the CAs of its fabric") }
        let endpoints = (value["endpoints"]?.items ?? []).compactMap(\.text)
        let believed = (value["believed"]?.items ?? []).compactMap { $0.text.flatMap(Base64.decode) }
        guard endpoints.count <= Self.itemsMax, endpoints.allSatisfy({ $0.hasPrefix("https://") }),
            endpoints.allSatisfy({ $0.utf8.count <= Self.textBytesMax })
        else { throw .unusable("its endpoints are not up to \(Self.itemsMax) https:// URLs") }
        let release = value["release"]?.text ?? ""
        guard believed.count <= Self.authoritiesMax, believed.allSatisfy({ $0.count <= Self.textBytesMax }),
            release.utf8.count <= Self.textBytesMax
        else { throw .unusable("it says more than there is to say") }
        let time = value["unixMilliseconds"]?.integer ?? 0
        guard PairNews.times.contains(time) else { throw .unusable("its clock says what no clock can") }
        self.init(
            fabric: fabric, authorities: authorities, bridges: bridges, endpoints: endpoints, time: time,
            release: release,
            version: value["version"]?.integer ?? 0, revision: value["revision"]?.integer ?? 0, believed: believed)
    }
}

extension PairGreeting {
    /// Nil for what cannot be read, or is too much.
    private static func certificates(_ value: JSONValue?) -> [Certificate]? {
        guard let value else { return [] }
        guard let pem = value.text, pem.utf8.count <= pemBytesMax,
            let found = try? Certificate.all(pem: Array(pem.utf8)), found.count <= authoritiesMax,
            found.allSatisfy(\.isAuthority)
        else { return nil }
        return found
    }
}

/// Why two fabrics did not come together.
package enum PairError: Error, Equatable, Sendable {
    /// Nobody answers there.
    case unreachable(String)
    /// The other side answers, and refuses.
    case refused(String)
    /// What the other side says is of no use.
    case unusable(String)

    package var text: String {
        switch self {
        case .unreachable(let text), .refused(let text), .unusable(let text): text
        }
    }
}
