import Foundation
import Testing

@testable import Storage

@Suite struct ServedMarkTests {
    private let path = NSTemporaryDirectory() + "served-\(UInt64.random(in: 0 ... .max))"

    @Test("What was answered from is known until the machine starts again")
    func boots() throws {
        defer { unlink(path) }
        let first = try ServedMark(path: path, boot: 7)
        #expect(first.before == nil)
        for index in [UInt64(3), 900] { first.note(index) }
        #expect(try ServedMark(path: path, boot: 7).before == 900)
        #expect(try ServedMark(path: path, boot: 8).before == nil)
        // It is killed again before it has caught up.
        try ServedMark(path: path, boot: 7).note(60)
        #expect(try ServedMark(path: path, boot: 7).before == 900)
        #expect(try ServedMark(path: path, boot: nil).before == nil)
    }

    @Test("A mark of which a bit is wrong, or that is cut off, tells nothing", arguments: 0..<20)
    func damage(place: Int) throws {
        defer { unlink(path) }
        try ServedMark(path: path, boot: 7).note(5)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        try #require(bytes.count == 20)
        bytes[place] ^= 4
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        #expect(try ServedMark(path: path, boot: 7).before == nil)
        try Data(bytes[..<place]).write(to: URL(fileURLWithPath: path))
        #expect(try ServedMark(path: path, boot: 7).before == nil)
    }
}
