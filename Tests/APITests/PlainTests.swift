import HTTPServer
import JSON
import MVCC
import Testing

@testable import API

@Suite struct PlainTests {
    @Test(arguments: [
        ("a%20b", "a b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("a//b/../c", "a//b/../c"), ("%2F", "/"),
        ("+", "+"),
    ]) func percentEncodingIsUndoneAndNothingElse(_ sample: (text: String, bytes: String)) {
        #expect(percentDecoded(sample.text[...]) == Array(sample.bytes.utf8))
    }

    @Test func entityTagsAreReadAsTheyComeFromClients() {
        #expect(ETags("*").isAny)
        #expect(ETags(#""12""#).revisions == [12])
        #expect(ETags(#" W/"3" , "4""#).revisions == [3, 4])
        #expect(ETags("12").revisions.isEmpty)
        #expect(ETags(#""""#).revisions.isEmpty)
    }

    @Test func aPrefixEndsWhereItsLastByteRises() {
        #expect(KeyRange(prefix: Array("ab".utf8)).end == .before(Array("ac".utf8)))
        #expect(KeyRange(prefix: [1, 0xff, 0xff]).end == .before([2]))
        #expect(KeyRange(prefix: [0xff]).end == .unbounded)
        #expect(KeyRange(prefix: []) == KeyRange(start: [0], end: .unbounded))
    }

    @Test func gatewayFieldsGoByEitherName() throws {
        let snake = try GatewayObject(
            body: Array(#"{"key":"YQ==","range_end":"Yg==","keys_only":true,"limit":"3"}"#.utf8))
        let camel = try GatewayObject(body: Array(#"{"key":"YQ","rangeEnd":"Yg","keysOnly":true,"limit":3}"#.utf8))
        #expect(try snake.rangeRequest() == camel.rangeRequest())
    }

    @Test(arguments: [
        #"{"limit":"one"}"#, #"{"key":1}"#, #"{"key":"*"}"#, #"{"sort_order":"UP"}"#, #"{"sort_target":9}"#,
        #"{"keys_only":"yes"}"#, #"{"limit":99999999999999999999}"#, "[]", "7",
    ]) func wrongFieldsAreInvalidArguments(_ body: String) {
        #expect {
            try GatewayObject(body: Array(body.utf8)).rangeRequest()
        } throws: { error in
            (error as? APIError)?.code == .invalidArgument
        }
    }
}
