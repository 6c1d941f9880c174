import Bytes
import JSON
import Testing

@Suite struct BytesTests {
    @Test func crc32cIsCastagnolis() {
        // RFC 3720, appendix B.4.
        #expect(CRC32C.of([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(CRC32C.of([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(CRC32C.of(Array(0..<32)) == 0x46dd_794e)
        #expect(CRC32C.of(Array("123456789".utf8)) == 0xe306_9283)
    }

    @Test func crc32cOfPartsIsThatOfTheWhole() {
        let whole = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        for split in [0, 1, 7, 8, 9, 500, 999, 1000] {
            var sum = CRC32C()
            sum.add(whole[..<split])
            sum.add(whole[split...])
            #expect(sum.value == CRC32C.of(whole))
        }
    }

    @Test(arguments: [0, 1, 127, 128, 300, UInt64.max, UInt64.max - 1, 1 << 63])
    func varintsComeBack(_ value: UInt64) throws {
        var writer = ByteWriter()
        writer.varint(value)
        writer.signed(Int64(bitPattern: value))
        var reader = ByteReader(writer.bytes)
        #expect(try reader.varint() == value)
        #expect(try reader.signed() == Int64(bitPattern: value))
        #expect(reader.isAtEnd)
    }

    @Test func aLengthThatIsNotThereReservesNothing() {
        var writer = ByteWriter()
        writer.varint(1 << 40)
        var reader = ByteReader(writer.bytes)
        #expect(throws: DecodingFault.truncated) { try reader.lengthPrefixed() }
        var long = ByteReader([UInt8](repeating: 0xff, count: 11))
        #expect(throws: DecodingFault.self) { try long.varint() }
    }
}

@Suite struct JSONTests {
    @Test(arguments: [
        "{}", "[]", "null", "true", #"{"a":[1,-2.5e+3,"\u00e9\ud83d\ude00\n"],"b":{"c":null}}"#, "0", "-0.1", #""""#,
    ]) func validDocumentsAreRead(_ text: String) throws {
        _ = try JSONParser.parse(Array(text.utf8))
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":}", "{a:1}", "01", "1.", "+1", "nul", "\"\\x\"", "\"\u{01}\"", "\"\\ud800\"", "1 2",
        "[", "\"",
        "{\"a\":1,}", "'a'", "\"\\u12\"", "-",
    ]) func otherTextIsAnError(_ text: String) {
        #expect(throws: JSONFault.self) { try JSONParser.parse(Array(text.utf8)) }
    }

    @Test func depthIsBounded() {
        let deep = { (n: Int) in Array((String(repeating: "[", count: n) + String(repeating: "]", count: n)).utf8) }
        #expect(throws: Never.self) { try JSONParser.parse(deep(32)) }
        #expect(throws: JSONFault.self) { try JSONParser.parse(deep(33)) }
        #expect(throws: JSONFault.self) { try JSONParser.parse([UInt8](repeating: 0x5b, count: 1 << 20)) }
    }

    @Test func escapesComeBack() throws {
        let text = "quote \" backslash \\ line\nreturn\rtab\tbell\u{07} é 😀"
        var json = JSONWriter()
        json.string(text)
        #expect(try JSONParser.parse(json.bytes).text == text)
    }

    @Test func base64IsReadInBothAlphabets() {
        for length in 0..<40 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 91 &+ 250) }
            let text = Base64.encode(bytes)
            #expect(Base64.decode(text) == bytes)
            let urlSafe = text.replacing("+", with: "-").replacing("/", with: "_")
            #expect(Base64.decode(urlSafe) == bytes)
            #expect(Base64.decode(urlSafe.replacing("=", with: "")) == bytes)
        }
        for bad in ["a", "***", "ab=c", "abc==", "a b c"] { #expect(Base64.decode(bad) == nil, "\(bad)") }
    }
}
