internal import Bytes
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1

/// Answers with many items as JSON, made and sent piece by piece: a whole one takes several times its size and would hold up all
/// other connections of its event loop while it is put into words.
enum StreamedJSON {
    /// Smaller answers are made at once.
    private static let bytesMin = 128 << 10
    private static let pieceBytes = 64 << 10

    static func isWorthwhile(_ pairs: [KeyValue]) -> Bool {
        var bytes = 0
        for pair in pairs {
            bytes += pair.key.count + pair.value.count + 64
            if bytes > bytesMin { return true }
        }
        return false
    }

    /// An answer whose items stand in an array between `head` and `tail`.
    /// - Parameters:
    ///   - hold: what the items take of the memory budget, kept until the last piece is on its way.
    ///   - item: writes one.
    static func response<Item: Sendable>(
        _ items: [Item], _ hold: MemoryHold? = nil, head: ArraySlice<UInt8>, tail: [UInt8],
        item: @escaping @Sendable (inout JSONWriter, Item) -> Void
    ) -> HTTPResponse {
        var response = HTTPResponse(status: .ok, headers: ["content-type": "application/json"])
        response.stream = { writer in
            try? await write(items, Array(head), tail, item, to: writer)
            withExtendedLifetime(hold) {}
        }
        return response
    }

    private static func write<Item>(
        _ items: [Item], _ head: [UInt8], _ tail: [UInt8], _ item: (inout JSONWriter, Item) -> Void,
        to writer: any HTTPBodyWriter
    ) async throws {
        var piece = head
        for (place, next) in items.enumerated() {
            if place > 0 { piece.append(UInt8(ascii: ",")) }
            var json = JSONWriter()
            item(&json, next)
            piece += json.bytes
            if piece.count >= pieceBytes {
                try await writer.write(piece)
                piece = []
                // Others of this loop come in between.
                await Task.yield()
            }
        }
        try await writer.write(piece + tail)
    }
}
