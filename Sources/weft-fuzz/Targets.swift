internal import API
internal import Bytes
internal import CSimulatedDisk
internal import HTTPServer
internal import JSON
internal import MVCC
internal import Raft
internal import SQLite
internal import SettingsFile
internal import Storage
internal import Transport

/// The decoders of bytes that come from outside: whatever the bytes are, there is an answer or an error.
enum Target: String, CaseIterable {
    case peerFrame = "peer-frame"
    case entry
    case command
    /// Commands applied to states.
    case apply
    /// Messages given to consensus.
    case core
    case json
    case gateway
    case grpc
    case grpcBody = "grpc-body"
    case httpPath = "http-path"
    case settings
    case stateMeta = "state-meta"
    case mark
    case identity
    case logRows = "log-rows"
    case snapshotImage = "snapshot-image"

    func run(_ bytes: [UInt8]) {
        switch self {
        case .peerFrame: Self.peerFrame(bytes)
        case .entry: Self.entry(bytes)
        case .command: Self.command(bytes)
        case .apply: ApplyTarget.run(bytes)
        case .core: CoreTarget.run(bytes)
        case .json: Self.json(bytes)
        case .gateway: _ = GatewayRequests.decode(bytes)
        case .grpc: _ = GRPCRequests.decode(bytes)
        case .grpcBody:
            for isGzip in [false, true] {
                let messages = grpcMessages(in: bytes, isGzip: isGzip, messageBytesMax: 1 << 16)
                precondition(messages.allSatisfy { $0.count <= 1 << 16 }, "a message is longer than allowed")
            }
        case .httpPath: Self.httpPath(bytes)
        case .settings: _ = try? SettingsFile.parse(String(decoding: bytes, as: UTF8.self))
        case .stateMeta: Self.stateMeta(bytes)
        case .mark, .identity: Self.files(bytes, self)
        case .logRows: Self.logRows(bytes)
        case .snapshotImage: Self.snapshotImage(bytes)
        }
    }

    // MARK: - Codecs: what can be read is written and read the same

    private static func peerFrame(_ bytes: [UInt8]) {
        _ = try? MessageFrame.messages(in: bytes)
        guard let once = try? MessageFrame.reencoded(payload: bytes) else { return }
        let twice = try? MessageFrame.reencoded(payload: once)
        precondition(once == twice, "a frame changes when it is written and read again")
    }

    private static func entry(_ bytes: [UInt8]) {
        guard let entry = try? ConfigurationEntry(decoding: bytes) else { return }
        let again = try? ConfigurationEntry(decoding: entry.encoded())
        precondition(again == entry, "a configuration changes when it is written and read again")
    }

    private static func command(_ bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        guard let command = try? Command(from: &reader) else { return }
        var writer = ByteWriter()
        command.encode(into: &writer)
        var second = ByteReader(writer.bytes)
        var again = ByteWriter()
        (try? Command(from: &second))?.encode(into: &again)
        precondition(again.bytes == writer.bytes, "a command changes when it is written and read again")
    }

    private static func json(_ bytes: [UInt8]) {
        _ = try? JSONParser.parse(bytes)
        _ = Base64.decode(String(decoding: bytes, as: UTF8.self))
    }

    private static func httpPath(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        let decoded = percentDecoded(text[...])
        precondition(decoded.count <= text.utf8.count, "decoding makes a path longer")
        _ = percentDecoded(text[...], plusIsSpace: true)
    }

    private static func stateMeta(_ bytes: [UInt8]) {
        guard let meta = try? StateMeta(decoding: bytes) else { return }
        precondition(
            (try? StateMeta(decoding: meta.encoded())) == meta, "a state changes when it is written and read again")
    }

    // MARK: - Files

    private static func fresh() {
        wd_reset()
        wd_start(0)
    }

    private static func files(_ bytes: [UInt8], _ target: Target) {
        fresh()
        do throws(StorageError) {
            if target == .identity {
                try File.replace("/sim/0/identity", with: bytes)
                _ = try DataDirectory("/sim/0").identity()
            } else {
                _ = try LogStore(path: "/sim/0/log.db", markPath: "/sim/0/durable.mark", isNew: true)
                try File("/sim/0/durable.mark", .readWrite).write(bytes, at: 0)
                _ = try LogStore(path: "/sim/0/log.db", markPath: "/sim/0/durable.mark", isNew: false)
            }
        } catch {
            return
        }
    }

    /// A log whose rows hold anything.
    private static func logRows(_ bytes: [UInt8]) {
        fresh()
        let (path, mark) = ("/sim/0/log.db", "/sim/0/durable.mark")
        do {
            do {
                let store = try LogStore(path: path, markPath: mark, isNew: true)
                let entries = (1...4).map { index in
                    Entry(
                        index: Index(index), term: 1, proposal: Proposal(id: 1, kind: .command, payload: [UInt8(index)])
                    )
                }
                try store.append(Ready.Append(firstIndex: 1, entries: entries), hardState: HardState(term: 1))
            }
            try scramble(path, bytes)
            let store = try LogStore(path: path, markPath: mark, isNew: false)
            let contents = store.loaded()
            _ = try store.entries(from: contents.baseIndex + 1, through: contents.lastIndex, costMax: .max)
        } catch {
            return
        }
    }

    private static func scramble(_ path: String, _ bytes: [UInt8]) throws {
        let columns = ["idx", "term", "kind", "checksum", "row_sum", "payload"]
        let states = ["term", "vote", "commit_index", "base_index", "base_term", "row_sum"]
        var reader = ByteReader(bytes)
        let connection = try Connection(path: path, access: .readWrite)
        while let choice = try? reader.byte(), let value: UInt64 = try? reader.fixed() {
            let number = Int64(bitPattern: value)
            let column = Int(choice) % 6
            let row = Int(choice) / 6 % 5
            if row == 4 {
                try connection.execute("UPDATE OR IGNORE state SET \(states[column])=\(number)")
            } else if column == 5 {
                try connection.execute("UPDATE entry SET payload=CAST(\(number) AS BLOB) WHERE idx=\(row + 1)")
            } else {
                try connection.execute("UPDATE OR IGNORE entry SET \(columns[column])=\(number) WHERE idx=\(row + 1)")
            }
        }
    }

    /// An image with some of its bytes changed.
    private static func snapshotImage(_ bytes: [UInt8]) {
        fresh()
        let path = "/sim/0/install-1.db"
        do {
            try StateWriter.writeBare(StateMeta(clusterID: 7), to: path)
            let file = try File(path, .readWrite)
            let size = try file.size()
            var reader = ByteReader(bytes)
            while let offset: UInt32 = try? reader.fixed(), let value = try? reader.byte() {
                try file.write([value], at: Int(offset) % size)
            }
            _ = try inspectImage(at: path)
        } catch {
            return
        }
    }
}
