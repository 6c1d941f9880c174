internal import HTTPServer
internal import NIOHTTP1

/// What is answered beside etcd's API and the keys, as `/openapi.json` tells it. A path that nobody is told of is not there: so a handler that
/// has no row in the table of rights cannot be reached.
enum PlainRoutes {
    enum Found: Equatable {
        case here
        /// The path is there for these methods only.
        case others(String)
        case nowhere
    }

    private struct Route {
        let method: String
        let parts: [Substring]

        func matches(_ path: [Substring]) -> Bool {
            parts.count == path.count && zip(parts, path).allSatisfy { $0 == $1 || $0.first == "{" }
        }
    }

    /// By the number of parts.
    private static let routes: [Int: [Route]] = Dictionary(
        grouping: OpenAPI.operations.map { operation in
            Route(method: operation.method.uppercased(), parts: operation.path.split(separator: "/"))
        }, by: \.parts.count)

    static func find(_ method: HTTPMethod, _ path: Substring) -> Found {
        let parts = path.split(separator: "/")
        let known = (routes[parts.count] ?? []).filter { $0.matches(parts) }.map(\.method)
        if known.isEmpty { return .nowhere }
        // Outside of /v1, HEAD is answered as GET.
        let isRead = method == .HEAD && !path.hasPrefix("/v1/")
        if known.contains(isRead ? "GET" : method.rawValue) { return .here }
        return .others(known.joined(separator: ", "))
    }
}
