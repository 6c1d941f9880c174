internal import HTTPServer
internal import JSON
internal import NIOHTTP1

/// Answers over HTTP that all kinds of requests share.
extension HTTPResponse {
    static func json(_ status: HTTPResponseStatus, _ json: JSONWriter, _ headers: HTTPHeaders = [:]) -> HTTPResponse {
        var headers = headers
        headers.add(name: "content-type", value: "application/json")
        return HTTPResponse(status: status, headers: headers, body: json.bytes)
    }

    static func text(_ text: String, _ contentType: String = "text/plain; charset=utf-8") -> HTTPResponse {
        HTTPResponse(status: .ok, headers: ["content-type": contentType], body: Array(text.utf8))
    }

    static func error(_ error: APIError) -> HTTPResponse {
        .error(error.status, code: error.code.rawValue, error.message)
    }

    /// An error with etcd's three fields; curl users get a line end.
    static func error(_ status: HTTPResponseStatus, code: Int, _ message: String) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.name("error")
            json.string(message)
            json.name("code")
            json.number(code)
            json.name("message")
            json.string(message)
        }
        var response = HTTPResponse.json(status, json)
        response.body.append(UInt8(ascii: "\n"))
        return response
    }

    /// - Parameter allowed: the allowed methods.
    static func methodNotAllowed(_ allowed: String) -> HTTPResponse {
        var response = HTTPResponse.error(.methodNotAllowed, code: 12, "only \(allowed) here")
        response.headers.add(name: "allow", value: allowed)
        return response
    }
}
