import Fabric
import Foundation
import Testing

@testable import MVCC

@Suite struct ScrubTests {
    private static let pageBytes = 8192

    private func walk(_ reader: StateReader) throws {
        var place: ScrubPlace? = .start
        while let next = place { place = try reader.scrub(from: next) }
    }

    private func flip(_ path: String, _ offset: Int) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(offset))
        let byte = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: [byte ^ 4])
        try file.close()
    }

    @Test("A bit that flips in whatever page is found by a walk, though all was read before")
    func everyPage() throws {
        let folder = try TemporaryFolder()
        let rig = try Rig(path: folder.path + "/kv.db")
        let trace = Trace(at: 1, by: "test")
        for number in 0..<300 {
            let key = Array("key/\(number)".utf8)
            _ = try rig.apply(.leaseGrant(id: Int64(number + 1), ttl: 60))
            var put = PutRequest(
                key: key, value: [UInt8](repeating: 7, count: number.isMultiple(of: 50) ? 30_000 : 300))
            put.lease = Int64(number + 1)
            _ = try rig.apply(.put(put))
            let node = NodeSpec(name: "n\(number)", domain: "east", ttl: 60)
            _ = try rig.apply(.fabric(FabricCommand(.putNode(node), trace)))
        }
        try rig.checkpoint()
        try walk(rig.reader)
        let size = try #require(FileManager.default.attributesOfItem(atPath: rig.path)[.size] as? Int)
        var missed: [Int] = []
        for page in 0..<size / Self.pageBytes {
            try flip(rig.path, page * Self.pageBytes + 5000)
            if (try? walk(rig.reader)) != nil { missed.append(page) }
            try flip(rig.path, page * Self.pageBytes + 5000)
        }
        try walk(rig.reader)
        // The second page says which pages lie where, for giving back free ones; no row is in it.
        #expect(missed.filter { $0 != 1 } == [])
        #expect(size > 40 * Self.pageBytes)
    }
}
