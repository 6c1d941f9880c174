internal import Bytes
package import Raft

/// Images of the state on their way between members: those to be sent, and the one being received.
package struct SnapshotStore: Sendable {
    /// What a sender says of an image before its first chunk.
    package struct Header: Equatable, Sendable {
        package var mark: SnapshotMark
        package var bytes: Int
        /// CRC-32C of the whole image.
        package var checksum: UInt32

        package init(mark: SnapshotMark, bytes: Int, checksum: UInt32) {
            self.mark = mark
            self.bytes = bytes
            self.checksum = checksum
        }
    }

    package static let chunkBytes = 256 << 10
    /// What is received is synced this often: all at the end would hold up the log's syncs on the same device.
    private static let syncBytes = 1 << 20
    private let directory: String

    package init(directory: String) {
        self.directory = directory
    }

    /// Where the image of `index` lies for sending.
    package func outgoingPath(_ index: Index, isBare: Bool) -> String {
        "\(directory)/send-\(index)\(isBare ? "-bare" : "").db"
    }

    private func incomingPath(_ header: Header) -> String {
        "\(directory)/receive-\(header.mark.index)-\(header.mark.term)-\(header.checksum).part"
    }

    /// Removes images that an earlier run made to send, or had received whole and not installed.
    package func removeLeftovers() throws(StorageError) {
        for name in try File.names(in: directory) where name.hasPrefix("send-") || name.hasPrefix("install-") {
            try File.remove("\(directory)/\(name)")
        }
    }

    /// Length and checksum of a file, read in pieces.
    package static func measure(_ path: String) throws(StorageError) -> (bytes: Int, checksum: UInt32) {
        let file = try File(path, .read)
        var sum = CRC32C()
        var offset = 0
        while true {
            let piece = try file.read(at: offset, count: 1 << 20)
            if piece.isEmpty { break }
            sum.add(piece)
            offset += piece.count
        }
        return (offset, sum.value)
    }

    /// How much of an image is here already, whole chunks only; anything of other images is removed.
    package func received(_ header: Header) throws(StorageError) -> Int {
        let path = incomingPath(header)
        for name in try File.names(in: directory) where name.hasPrefix("receive-") {
            if "\(directory)/\(name)" != path { try File.remove("\(directory)/\(name)") }
        }
        guard File.exists(path) else { return 0 }
        let size = try File(path, .read).size()
        return min(size, header.bytes) / Self.chunkBytes * Self.chunkBytes
    }

    package func write(_ chunk: [UInt8], at offset: Int, of header: Header) throws(StorageError) {
        let path = incomingPath(header)
        let file = try File(path, .create)
        try file.write(chunk, at: offset)
        if offset / Self.syncBytes < (offset + chunk.count) / Self.syncBytes { try sync(file) }
    }

    private func sync(_ file: borrowing File) throws(StorageError) {
        do throws(StorageError) {
            try file.sync()
        } catch {
            // What a failed sync left in memory would pass for written the next time: none of it is used.
            try File.remove(file.path)
            throw error
        }
    }

    /// The path of a received image, once it is whole, right and on the device. It has another name then, so that the next
    /// image's arrival leaves it alone.
    package func finish(_ header: Header) throws(StorageError) -> String {
        let path = incomingPath(header)
        let found = try Self.measure(path)
        guard found.bytes == header.bytes, found.checksum == header.checksum else {
            try File.remove(path)
            throw .damaged(path: path, reason: "the snapshot that was received is not the one that was sent")
        }
        try sync(try File(path, .readWrite))
        // The same image may have come before, and wait to be installed.
        var number = 0
        func whole() -> String {
            "\(directory)/install-\(header.mark.index)-\(header.mark.term)-\(header.checksum)-\(number).db"
        }
        while File.exists(whole()) { number += 1 }
        try File.rename(path, to: whole())
        return whole()
    }
}
