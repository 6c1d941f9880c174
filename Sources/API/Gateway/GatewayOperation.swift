internal import JSON

/// An operation as etcd's gateway says it in JSON.
protocol GatewayOperation: Operation {
    init(_ request: GatewayObject) throws(APIError)
    static func write(_ answer: Answer, to json: inout JSONWriter)
}

extension GatewayOperation {
    static func json(_ answer: Answer) -> JSONWriter {
        var json = JSONWriter()
        json.object { write(answer, to: &$0) }
        return json
    }
}

/// One whose answer begins with a header.
protocol HeadedGatewayOperation: GatewayOperation where Answer: HeadedAnswer {
    static func write(_ body: Answer.Body, _ header: ResponseHeader, to json: inout JSONWriter)
}

extension HeadedGatewayOperation {
    static func write(_ answer: Answer, to json: inout JSONWriter) {
        json.header(answer.header)
        write(answer.body, answer.header, to: &json)
    }
}

extension HeadedGatewayOperation where Answer == Answered<Void> {
    static func write(_: Void, _: ResponseHeader, to json: inout JSONWriter) {}
}
