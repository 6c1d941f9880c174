import Testing

@testable import Fabric

@Suite struct TableTests {
    @Test("Holds what a sorted array holds, and copies hold what was", arguments: 0..<6)
    func sameAsArray(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        var chunks = SortedChunks<Int64>()
        var known: [Int64] = []
        var copies: [(chunks: SortedChunks<Int64>, known: [Int64])] = []
        // It grows to some chunks, and shrinks to nothing.
        for step in 0..<12_000 {
            let element = Int64(random.below(2500))
            let place = known.firstIndex { $0 >= element } ?? known.count
            let isThere = place < known.count && known[place] == element
            if random.below(12_000) > step {
                chunks.put(element)
                if !isThere { known.insert(element, at: place) }
            } else {
                chunks.remove(element)
                if isThere { known.remove(at: place) }
            }
            #expect(chunks.count == known.count)
            #expect((chunks[element] != nil) == known.contains(element))
            guard step.isMultiple(of: 500) else { continue }
            copies.append((chunks, known))
            #expect(Array(chunks.walk(from: element)) == known.filter { $0 >= element })
            #expect(Array(chunks.walk(after: element)) == known.filter { $0 > element })
            #expect((chunks.first, chunks.last) == (known.first, known.last))
        }
        for copy in copies { #expect(Array(copy.chunks.walk()) == copy.known) }
    }

    @Test("A change of one among many copies one chunk of a few hundred elements", arguments: [1000, 100_000])
    func changesCostLittle(_ count: Int64) {
        var random = SplitMix(state: 7)
        var chunks = SortedChunks<Int64>()
        for element in 0..<count { chunks.put(element * 2) }
        for _ in 0..<100 {
            let before = chunks
            let element = Int64(random.below(Int(count) * 2))
            if random.below(3) == 0 { chunks.remove(element) } else { chunks.put(element) }
            let (apart, all) = chunks.chunks(apartFrom: before)
            #expect(apart <= 2)
            #expect(all <= 1 + Int(count) / 128)
        }
    }

    @Test mutating func oneVolumeAmongManyIsChangedAlone() throws {
        var fabric = FabricState()
        func apply(_ action: FabricCommand.Action) throws {
            _ = try fabric.apply(FabricCommand(action, Trace(at: 1, by: "me"))).get()
            _ = (fabric.takeChanges(), fabric.takeLeaseEffects())
        }
        for node in ["a", "b"] {
            try apply(
                .putNode(NodeSpec(name: node, domain: node, pools: [Pool(name: "p", capacityBytes: 1 << 40)])))
        }
        for number in 0..<1500 {
            try apply(.createVolume(VolumeSpec(name: "v\(number)", sizeBytes: 1, replication: 2)))
        }
        let before = fabric
        try apply(.attach(.name("v700"), node: "a", force: false))
        let volumes = fabric.volumeTable.chunks(apartFrom: before.volumeTable)
        #expect(volumes.apart == 1)
        #expect(volumes.all > 2)
        #expect(fabric.eventTable.chunks(apartFrom: before.eventTable).apart == 1)
    }
}
