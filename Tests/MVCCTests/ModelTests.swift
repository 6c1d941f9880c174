import Access
import Bytes
import Foundation
import SQLite
import Testing

@testable import MVCC

/// The store against a model that keeps every revision of everything in a dictionary, over random commands, checkpoints,
/// restarts and compactions.
@Suite struct ModelTests {
    @Test(arguments: UInt64(1)...12) func storeAnswersAsTheModel(seed: UInt64) throws {
        let folder = try TemporaryFolder()
        var run = try Run(seed: seed, path: folder.path + "/kv.db")
        for _ in 0..<600 { try run.step() }
    }

    @Test func equalHistoriesHaveEqualHashesWhateverTheirCheckpoints() throws {
        let folder = try TemporaryFolder()
        var hashes: Set<UInt64> = []
        for checkpoints in [0, 1, 7] {
            let rig = try Rig(path: "\(folder.path)/\(checkpoints).db")
            for n in 0..<50 {
                let put = PutRequest(key: [UInt8(n % 7)], value: [UInt8(n)])
                _ = try rig.apply(.put(put))
                if checkpoints > 0, n % checkpoints == 0 { try rig.checkpoint() }
            }
            hashes.insert(rig.store.meta.hash)
        }
        #expect(hashes.count == 1)
    }
}

/// A folder that goes away with its owner.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "weft-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A store with its file, driven by hand.
final class Rig {
    let path: String
    private(set) var writer: StateWriter
    private(set) var store: KeyValueStore
    let reader: StateReader
    let mark = FileMarks()
    private var index: UInt64 = 0

    init(path: String) throws {
        self.path = path
        let exists = FileManager.default.fileExists(atPath: path)
        writer = try StateWriter(path: path, initial: exists ? nil : StateMeta(clusterID: 1))
        store = try KeyValueStore(
            reader: StateReader(path: path, cacheBytes: 1 << 20), marks: mark, bucketMax: 4)
        reader = try StateReader(path: path, cacheBytes: 1 << 20)
        index = store.meta.appliedIndex
    }

    func apply(_ command: Command, by author: Author? = nil) throws -> Result<CommandResult, MVCCError> {
        var bytes = ByteWriter()
        AuthoredCommand(command, by: author).encode(into: &bytes)
        index += 1
        return try store.apply(ByteReader(bytes.bytes), index: index, term: 1)
    }

    /// Writes what is in memory to the file.
    func checkpoint() throws {
        guard let frozen = store.freeze() else { return }
        try writer.write(frozen)
        store.dropFrozen()
        #expect(try writer.checkpoint())
    }

    /// Removes what compaction left, in slices.
    func prune() throws {
        let target = store.meta.compactRevision
        guard target > 0 else { return }
        try checkpoint()
        mark.raisePruned(to: target)
        while try writer.prune(below: target, rowsMax: 7) {}
    }
}

private struct Run {
    var rig: Rig
    var model = Model()
    var random: SplitMix

    init(seed: UInt64, path: String) throws {
        random = SplitMix(state: seed)
        rig = try Rig(path: path)
    }

    mutating func step() throws {
        switch random.below(20) {
        case 0: try rig.checkpoint()
        case 1:
            // A restart after a checkpoint: nothing but the file is left.
            try rig.checkpoint()
            let hash = rig.store.meta.hash
            rig = try Rig(path: rig.path)
            #expect(rig.store.meta.hash == hash)
        case 2 where random.below(4) == 0: try compact()
        case 3...11: try write(random.put())
        case 12, 13: try write(.deleteRange(DeleteRangeRequest(range: random.range())))
        case 14, 15: try write(.txn(random.txn()))
        default: break
        }
        for _ in 0..<3 { try compare(random.query(revision: model.revision)) }
        #expect(rig.store.meta.revision == model.revision)
        #expect(rig.store.meta.keyCount == Int64(model.live(at: model.revision).count))
    }

    private mutating func write(_ command: Command) throws {
        var command = command
        if case .deleteRange(var request) = command {
            request.wantsPrevious = true
            command = .deleteRange(request)
        }
        let expected = model.apply(command)
        let found = try rig.apply(command)
        #expect(found == expected)
    }

    private mutating func compact() throws {
        let revision = Int64(random.below(Int(model.revision) + 2))
        let expected = model.compact(revision)
        #expect(try rig.apply(.compact(revision: revision)) == expected)
        if random.below(2) == 0 { try rig.prune() }
    }

    private func compare(_ request: RangeRequest) throws {
        let view = rig.store.view()
        let expected = model.range(request)
        do {
            let found = try view.range(request, rig.reader)
            #expect(try expected.get() == found, "\(request)")
        } catch ReadFailure.request(let refusal) {
            #expect(throws: refusal) { try expected.get() }
        }
    }
}

/// What the store should be: every revision of every key.
private struct Model {
    var revision: Int64 = 1
    var compacted: Int64 = 0
    var history: [[UInt8]: [KeyValue]] = [:]

    func live(at revision: Int64) -> [KeyValue] {
        history.values.compactMap { $0.last { $0.modRevision <= revision } }.filter { $0.version > 0 }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
    }

    mutating func compact(_ target: Int64) -> Result<CommandResult, MVCCError> {
        guard target > compacted else { return .failure(.compacted) }
        guard target <= revision else { return .failure(.futureRevision) }
        compacted = target
        return .success(.done)
    }

    func range(_ request: RangeRequest, at overriding: Int64? = nil) -> Result<RangeResult, MVCCError> {
        let read = overriding ?? (request.revision > 0 ? request.revision : revision)
        if overriding == nil, read > revision { return .failure(.futureRevision) }
        if overriding == nil, request.revision > 0, read < compacted { return .failure(.compacted) }
        var result = RangeResult()
        let all = live(at: read).filter { request.range.contains($0.key) }
        result.count = Int64(all.count)
        result.revision = overriding ?? revision
        if request.countOnly { return .success(result) }
        var pairs = all.filter { pair in
            (request.minModRevision == 0 || pair.modRevision >= request.minModRevision)
                && (request.maxCreateRevision == 0 || pair.createRevision <= request.maxCreateRevision)
        }
        if request.sortOrder != .none {
            pairs = pairs.enumerated().sorted { a, b in
                let (x, y) = request.sortOrder == .descend ? (b.element, a.element) : (a.element, b.element)
                switch request.sortTarget {
                case .key: return x.key.lexicographicallyPrecedes(y.key)
                case .mod:
                    return (x.modRevision, 0) < (y.modRevision, 0)
                        || x.modRevision == y.modRevision && a.offset < b.offset
                default: return x.version < y.version || x.version == y.version && a.offset < b.offset
                }
            }.map(\.element)
        }
        if request.limit > 0, pairs.count > Int(request.limit) {
            pairs = Array(pairs.prefix(Int(request.limit)))
            result.more = true
        }
        if request.keysOnly { for place in pairs.indices { pairs[place].value = [] } }
        result.pairs = pairs
        return .success(result)
    }

    mutating func apply(_ command: Command) -> Result<CommandResult, MVCCError> {
        let before = revision
        var changed = false
        defer { if changed { revision = before + 1 } }
        switch command {
        case .put(let put):
            if put.ignoresValue, latest(put.key) == nil { return .failure(.keyNotFound) }
            return .success(.put(previous: self.put(put, before + 1, &changed)))
        case .deleteRange(let request):
            let gone = delete(request, before + 1, &changed)
            return .success(.deleteRange(deleted: Int64(gone.count), previous: gone))
        case .txn(let txn):
            var responses: [TxnResult.Response] = []
            let succeeded = txn.compares.allSatisfy(holds)
            for operation in succeeded ? txn.success : txn.failure {
                switch operation {
                case .put(let put): responses.append(.put(previous: self.put(put, before + 1, &changed)))
                case .deleteRange(let request):
                    let gone = delete(request, before + 1, &changed)
                    responses.append(
                        .deleteRange(deleted: Int64(gone.count), previous: request.wantsPrevious ? gone : []))
                case .range(let request):
                    guard case .success(let result) = range(request, at: changed ? before + 1 : before) else {
                        continue
                    }
                    responses.append(.range(result))
                case .txn: break
                }
            }
            return .success(.txn(TxnResult(succeeded: succeeded, responses: responses)))
        default: return .failure(.unreadable)
        }
    }

    private func latest(_ key: [UInt8]) -> KeyValue? {
        history[key]?.last.flatMap { $0.version > 0 ? $0 : nil }
    }

    private mutating func put(_ put: PutRequest, _ main: Int64, _ changed: inout Bool) -> KeyValue? {
        let old = latest(put.key)
        history[put.key, default: []].append(
            KeyValue(
                key: put.key, createRevision: old?.createRevision ?? main, modRevision: main,
                version: (old?.version ?? 0) + 1, value: put.ignoresValue ? old?.value ?? [] : put.value))
        changed = true
        return put.wantsPrevious ? old : nil
    }

    private mutating func delete(_ request: DeleteRangeRequest, _ main: Int64, _ changed: inout Bool) -> [KeyValue] {
        let gone = live(at: .max).filter { request.range.contains($0.key) }
        for pair in gone { history[pair.key]?.append(KeyValue(key: pair.key, modRevision: main)) }
        changed = changed || !gone.isEmpty
        return gone
    }

    private func holds(_ compare: Compare) -> Bool {
        let pairs = live(at: .max).filter { compare.range.contains($0.key) }
        if pairs.isEmpty {
            if case .value = compare.operand { return false }
            return compare.holds(for: KeyValue())
        }
        return pairs.allSatisfy(compare.holds)
    }
}

/// The test's own generator, and what it makes.
private struct SplitMix {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((z ^ (z >> 31)) % UInt64(bound))
    }

    mutating func key() -> [UInt8] {
        (0...below(2)).map { _ in [0, 97, 98, 255][below(4)] }
    }

    mutating func range() -> KeyRange {
        switch below(4) {
        case 0: KeyRange(start: key(), end: .unbounded)
        case 1: KeyRange(start: key(), end: .single)
        default: KeyRange(start: key(), end: .before(key()))
        }
    }

    mutating func put() -> Command {
        var put = PutRequest(key: key(), value: (0..<below(40)).map { UInt8($0) })
        put.wantsPrevious = below(2) == 0
        if below(8) == 0 {
            put.value = []
            put.ignoresValue = true
        }
        return .put(put)
    }

    mutating func txn() -> TxnRequest {
        var txn = TxnRequest()
        if below(2) == 0 {
            let relation = Compare.Relation(rawValue: UInt8(below(4))) ?? .equal
            let operand: Compare.Operand = below(2) == 0 ? .version(Int64(below(3))) : .value([0, 1])
            txn.compares = [Compare(range: range(), relation: relation, operand: operand)]
        }
        // Keys of one txn differ: puts under 1, deletions under 2.
        for n in 0..<below(3) {
            txn.success.append(.put(PutRequest(key: [1, UInt8(n)], value: [UInt8(below(9))])))
            txn.success.append(.range(RangeRequest(range: range())))
        }
        txn.success.append(.deleteRange(DeleteRangeRequest(range: KeyRange(start: [2], end: .before([3])))))
        txn.failure = [.put(PutRequest(key: [2, UInt8(below(5))], value: [7])), .range(RangeRequest(range: range()))]
        return txn
    }

    mutating func query(revision: Int64) -> RangeRequest {
        var request = RangeRequest(range: range())
        request.limit = Int64(below(4))
        if below(2) == 0 { request.revision = Int64(below(Int(revision) + 2)) }
        request.keysOnly = below(4) == 0
        request.countOnly = below(6) == 0
        if below(4) == 0 { request.sortOrder = below(2) == 0 ? .ascend : .descend }
        if request.sortOrder != .none { request.sortTarget = [.key, .mod, .version][below(3)] }
        if below(6) == 0 { request.minModRevision = Int64(below(Int(revision) + 1)) }
        if below(6) == 0 { request.maxCreateRevision = Int64(below(Int(revision) + 1)) }
        return request
    }
}
