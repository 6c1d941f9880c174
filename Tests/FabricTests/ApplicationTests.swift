import Bytes
import Testing

@testable import Fabric

@Suite("Applications")
struct ApplicationTests {
    private var fabric = FabricState()

    private mutating func apply(
        _ action: FabricCommand.Action, expected: Int64? = nil
    ) -> Result<FabricAnswer, FabricRefusal> {
        defer { _ = fabric.takeChanges() }
        return fabric.apply(FabricCommand(action, Trace(at: 1_000, by: "test"), expected: expected))
    }

    private mutating func put(_ name: String, _ prefixes: [String], _ volumes: [String] = []) -> String {
        let terms = ApplicationTerms(prefixes: prefixes.map { Array($0.utf8) }, volumes: volumes)
        switch apply(.putApplication(name, terms)) {
        case .success: return ""
        case .failure(.conflict(let text)), .failure(.invalid(let text)): return text
        case .failure(let other): return "\(other)"
        }
    }

    @Test("No key belongs to two, whichever prefix is longer; the same application may change its own")
    mutating func prefixes() {
        #expect(put("shop", ["/shop/", "/carts/"]).isEmpty)
        #expect(put("other", ["/shop/x/"]).contains("overlaps \"/shop/\" of application \"shop\""))
        #expect(put("other", ["/"]).contains("of application \"shop\""))
        #expect(put("other", ["/shop"]).contains("of application \"shop\""))
        #expect(put("other", ["/shops/"]).isEmpty)
        #expect(put("shop", ["/shop/x/", "/carts/"]).isEmpty)
        #expect(put("third", ["/shop/y/"]).isEmpty)
        #expect(put("own", ["q/", "q/r/"]).contains("overlaps"))
        #expect(put("own", ["q/r/", "a", "q/"]).contains("overlaps"))
        #expect(put("own", ["q/", "q/"]).contains("overlaps"))
        #expect(put("own", [""]).contains("1 to 1024 bytes"))
        #expect(put("own", []).contains("prefixes of keys, volumes, or both"))
        #expect(fabric.application("shop")?.terms.prefixes == [Array("/carts/".utf8), Array("/shop/x/".utf8)])
    }

    @Test("A volume is there, belongs to one, and is not deleted while it does")
    mutating func volumes() {
        #expect(put("shop", [], ["none"]).contains("none"))
        _ = apply(.putDomain(DomainSpec(name: "d")))
        _ = apply(
            .putNode(NodeSpec(name: "n", domain: "d", pools: [Pool(name: "p", capacityBytes: 1 << 30)])))
        for name in ["a", "b"] { _ = apply(.createVolume(VolumeSpec(name: name, sizeBytes: 1, replication: 1))) }
        #expect(fabric.volume(.name("a")) != nil)
        #expect(put("shop", [], ["b", "a"]).isEmpty)
        #expect(put("other", [], ["a"]).contains("belongs to application \"shop\""))
        #expect(put("other", ["/x/"], ["b"]).contains("belongs to application \"shop\""))
        #expect(put("shop", [], ["a", "a"]).contains("twice"))
        guard case .failure(.conflict(let text)) = apply(.deleteVolume(.name("a"))) else {
            Issue.record("it was deleted")
            return
        }
        #expect(text.contains("belongs to application \"shop\""))
        #expect(put("shop", [], ["b"]).isEmpty)
        guard case .success = apply(.deleteVolume(.name("a"))) else {
            Issue.record("it was not deleted")
            return
        }
    }

    @Test("What is removed is gone; commands and records are the same after their way through bytes")
    mutating func codec() throws {
        #expect(put("shop", ["/shop/"]).isEmpty)
        let terms = ApplicationTerms(prefixes: [[0xff, 0], [1]], volumes: ["v"], rpoSeconds: 900)
        for action in [FabricCommand.Action.putApplication("x", terms), .removeApplication("x")] {
            var writer = ByteWriter()
            let command = FabricCommand(action, Trace(at: 1, by: "x"))
            command.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(try FabricCommand(from: &reader) == command)
            try reader.expectEnd()
        }
        let application = try #require(fabric.application("shop"))
        #expect(application.epoch == 1)
        #expect(try Application(decoding: application.encoded()) == application)
        for count in 0..<application.encoded().count {
            #expect(throws: DecodingFault.self) {
                try Application(decoding: Array(application.encoded().prefix(count)))
            }
        }
        #expect(apply(.removeApplication("none")) == .failure(.notFound(.application, "none")))
        _ = apply(.removeApplication("shop"))
        #expect(fabric.application("shop") == nil)
        #expect(
            fabric.events().filter { $0.kind == .application }.map(\.what) == [
                "created", "removed; its keys and volumes stay",
            ])
    }
}
