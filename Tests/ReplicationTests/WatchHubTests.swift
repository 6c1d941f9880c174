import Bytes
import Testing

@testable import MVCC
@testable import Replication

@Suite struct WatchHubTests {
    /// A hub over a history that is kept as it was made.
    private final class World {
        var hub: WatchHub!
        var reads: [HistoryRead] = []
        var changes: [KeyValue] = []
        var compacted: Int64 = 0
        var written: Int64 = 1
        var isTold = true
        var revision: Int64 { (changes.last?.modRevision).map { max($0, 1) } ?? 1 }

        init() {
            hub = WatchHub(revision: 1, compactRevision: 0, progressNanoseconds: 1000, ringBytesMax: 100_000) {
                [unowned self] in
                self.reads.append($0)
            }
        }

        func write(_ keys: [String], bytes: Int = 1, deletes: Bool = false) {
            let next = revision + 1
            let made = keys.map { key in
                deletes
                    ? KeyValue(key: Array(key.utf8), modRevision: next)
                    : KeyValue(
                        key: Array(key.utf8), createRevision: next, modRevision: next, version: 1,
                        value: [UInt8](repeating: 7, count: bytes))
            }
            changes += made
            guard isTold else { return }
            hub.publish(made, revision: next, compactRevision: compacted, now: 0)
        }

        /// Written without a word, until all that came is skipped.
        func skip() {
            isTold = true
            hub.skip(through: revision, compactRevision: compacted)
        }

        func noteWritten() {
            written = revision
            hub.noteWritten(through: revision)
        }

        func answerReads() {
            while let read = reads.popLast() {
                #expect(read.through <= written)
                let found = changes.filter {
                    $0.modRevision >= read.from && $0.modRevision <= read.through
                }
                hub.take(read.from < compacted ? nil : (found, read.through), for: read)
            }
        }
    }

    private func told(_ stream: WatchStream, _ world: World) throws -> [WatchOutput] {
        var all: [WatchOutput] = []
        while true {
            let (outputs, wasBehind) = try stream.take()
            all += outputs
            if wasBehind {
                world.hub.resume(stream)
                world.answerReads()
            }
            if outputs.isEmpty, !wasBehind { return all }
        }
    }

    private func changes(_ outputs: [WatchOutput], _ id: Int64) -> [KeyValue] {
        outputs.flatMap { output in
            if case .changes(id, let batch, _, _) = output { batch.changes } else { [KeyValue]() }
        }
    }

    @Test(
        "Whatever is watched, read late, skipped or not read at all, and begun in the past: every change once, in order",
        arguments: 0..<40)
    func everyChangeOnce(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let world = World()
        let streams = (0..<3).map { _ in WatchStream(requiresLeader: false) }
        var outputs = [[WatchOutput]](repeating: [], count: 3)
        var watches: [(stream: Int, id: Int64, range: KeyRange, from: Int64)] = []
        for _ in 0..<300 {
            switch random.below(12) {
            case 0:
                let range =
                    random.below(2) == 0
                    ? KeyRange(start: Array("k\(random.below(4))".utf8), end: .single)
                    : KeyRange(prefix: Array("k".utf8))
                var request = WatchRequest(range: range)
                let start = Int64(random.below(Int(world.revision) + 3))
                request.startRevision = start
                request.id = Int64(watches.count + 1)
                let stream = random.below(3)
                world.hub.create(request, on: streams[stream], revision: world.revision, now: 0)
                watches.append((stream, request.id, range, start > 0 ? start : world.revision + 1))
            case 1:
                let stream = random.below(3)
                outputs[stream] += try told(streams[stream], world)
            case 2: world.noteWritten()
            case 3: world.answerReads()
            case 4: if world.isTold { world.isTold = false } else { world.skip() }
            default:
                world.write(
                    (0...random.below(3)).map { "k\(($0 + random.below(4)) % 8)" }.uniqued(),
                    bytes: random.below(8) == 0 ? 600_000 : 10, deletes: random.below(4) == 0)
            }
        }
        if !world.isTold { world.skip() }
        world.noteWritten()
        world.answerReads()
        for stream in 0..<3 { outputs[stream] += try told(streams[stream], world) }
        for watch in watches {
            let expected = world.changes.filter { $0.modRevision >= watch.from && watch.range.contains($0.key) }
            #expect(changes(outputs[watch.stream], watch.id) == expected)
        }
    }

    @Test("A reader that stops holds no more than its stream may")
    func stalledReader() throws {
        let world = World()
        let stream = WatchStream(requiresLeader: false)
        world.hub.create(
            WatchRequest(range: KeyRange(prefix: Array("k".utf8))), on: stream, revision: world.revision, now: 0)
        for _ in 0..<200 {
            world.write(["k"], bytes: 100_000)
            world.noteWritten()
        }
        let (held, _) = try stream.take()
        #expect(held.reduce(0) { $0 + $1.bytes } < 2 << 20)
    }

    @Test("What is read again waits for memory, and gives it back when everybody has heard of it")
    func memoryOfTheHistory() throws {
        let world = World()
        for n in 0..<5 { world.write(["k\(n)"], bytes: 50_000) }
        world.noteWritten()
        var request = WatchRequest(range: KeyRange(prefix: Array("k".utf8)))
        request.startRevision = 2
        let streams = [WatchStream(requiresLeader: false), WatchStream(requiresLeader: false)]
        for stream in streams { world.hub.create(request, on: stream, revision: world.revision, now: 0) }
        world.reads = []
        world.hub.postponePass()
        #expect(world.reads.isEmpty)
        world.hub.tick(now: 1)
        let read = try #require(world.reads.first)
        let budget = MemoryBudget(bytesMax: 1000)
        budget.note(700)
        let found = world.changes.filter { $0.modRevision <= read.through }
        world.hub.take((found, read.through), for: read, MemoryHold(budget, 700))
        var heard = [try streams[0].take().outputs, try streams[1].take().outputs]
        #expect(heard.allSatisfy { changes($0, 0) == world.changes } && budget.bytesTaken == 700)
        heard[0] = []
        #expect(budget.bytesTaken == 700, "the other one has it still")
        heard[1] = []
        #expect(budget.bytesTaken == 0)
    }

    @Test("Below the compacted revision a watch is cancelled with it; at it, it is not")
    func compaction() throws {
        let world = World()
        for _ in 0..<5 { world.write(["a"]) }
        world.compacted = 4
        world.hub.publish([], revision: world.revision, compactRevision: 4, now: 0)
        for (start, isCanceled) in [(Int64(3), true), (4, false)] {
            let stream = WatchStream(requiresLeader: false)
            var request = WatchRequest(range: KeyRange(prefix: Array("a".utf8)))
            request.startRevision = start
            world.hub.create(request, on: stream, revision: world.revision, now: 0)
            world.answerReads()
            let canceled = try stream.take().outputs.contains { output in
                if case .canceled(_, 0, compactRevision: 4) = output { true } else { false }
            }
            #expect(canceled == isCanceled)
        }
    }

    @Test("Nothing is said of what was before a watch's first revision")
    func beforeTheStart() throws {
        let world = World()
        let stream = WatchStream(requiresLeader: false)
        var request = WatchRequest(range: KeyRange(prefix: Array("k".utf8)))
        request.startRevision = 5
        request.wantsProgress = true
        world.hub.create(request, on: stream, revision: world.revision, now: 0)
        world.hub.askProgress(of: stream)
        func progress() throws -> [Int64] {
            try stream.take().outputs.compactMap { output in
                if case .progress(_, let revision) = output { revision } else { nil }
            }
        }
        // The hub begins at revision 1.
        for revision in 2...3 {
            world.write(["k"])
            world.hub.tick(now: UInt64(revision) * 10_000)
            #expect(try told(stream, world).allSatisfy { if case .created = $0 { true } else { false } })
        }
        world.write(["k"])
        world.hub.tick(now: 50_000)
        #expect(try progress().isEmpty)
        world.write(["k"])
        #expect(changes(try told(stream, world), 0).map(\.modRevision) == [5])
        world.hub.tick(now: 60_000)
        #expect(try progress() == [5])
    }

    @Test("Progress is said only of what was told")
    func progress() throws {
        let world = World()
        let stream = WatchStream(requiresLeader: false)
        world.hub.create(
            WatchRequest(range: KeyRange(prefix: Array("k".utf8))), on: stream, revision: world.revision, now: 0)
        for _ in 0..<40 { world.write(["k"], bytes: 200_000) }
        world.hub.askProgress(of: stream)
        var heard: Int64 = 0
        var progressed: Int64?
        for output in try told(stream, world) {
            switch output {
            case .changes(_, let batch, _, _): heard = max(heard, batch.changes.last?.modRevision ?? 0)
            case .progress(-1, let revision):
                progressed = revision
                #expect(heard == revision)
            default: break
            }
        }
        #expect(progressed == world.revision)
    }
}

struct SplitMix {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((z ^ (z >> 31)) % UInt64(bound))
    }
}

extension [String] {
    fileprivate func uniqued() -> [String] { reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
}
