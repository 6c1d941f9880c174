internal import NIOCore

/// Lets tasks on an event loop wait for something to change there. Only on that loop. Waking says nothing: whoever
/// waited looks again.
final class LoopSignal: @unchecked Sendable {
    private let loop: any EventLoop
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ loop: any EventLoop) {
        self.loop = loop
    }

    /// Returns after the next `fire()`, or when the task is cancelled.
    func wait() async {
        loop.preconditionInEventLoop()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { continuation.resume() } else { waiting.append(continuation) }
            }
        } onCancel: {
            loop.execute { self.fire() }
        }
    }

    func fire() {
        guard !waiting.isEmpty else { return }
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }
}
