import Bytes
import NIOCore
import NIOEmbedded
import Testing

@testable import Transport

@Suite struct FrameReaderTests {
    /// The fault that ends a connection to which this many bytes of one frame come each second, if one does within a minute or two.
    private func fault(bytesPerSecond: Int, seconds: Int) -> FrameFault? {
        let loop = EmbeddedEventLoop()
        let reader = FrameReader(budget: .unlimited)
        reader.bytesMax = PeerFrame.bytesMax
        let channel = EmbeddedChannel(handler: reader, loop: loop)
        var header = ByteBuffer()
        header.writeInteger(UInt32(PeerFrame.bytesMax))
        header.writeInteger(UInt32(0))
        var fault: FrameFault?
        do {
            try channel.writeInbound(header)
            for _ in 0..<seconds {
                try channel.writeInbound(ByteBuffer(repeating: 0, count: bytesPerSecond))
                loop.advanceTime(by: .seconds(1))
                try channel.throwIfErrorCaught()
            }
        } catch {
            fault = error as? FrameFault
        }
        _ = try? channel.finish(acceptAlreadyClosed: true)
        return fault
    }

    @Test("A large frame over a slow line may take as long as it goes on, and one that trickles may not")
    func slowFrame() {
        #expect(fault(bytesPerSecond: 20_000, seconds: 120) == nil)
        #expect(fault(bytesPerSecond: 1000, seconds: 120) == .tooSlow)
        #expect(fault(bytesPerSecond: 0, seconds: 40) == .tooSlow)
    }
}
