internal import MVCC
package import Replication

/// Watches, as clients ask for them.
extension RunningMember {
    package func watch(_ request: WatchRequest, on stream: WatchStream) {
        core.post(.create(request, stream, revision: core.view.revision))
    }
    package func cancelWatch(_ id: Int64, on stream: WatchStream) { core.mail.watches.post(.cancel(id, stream)) }
    package func askProgress(of stream: WatchStream) { core.mail.watches.post(.progress(stream)) }

    /// Takes what a stream has to say.
    package func outputs(of stream: WatchStream) async throws(WatchEnd) -> [WatchOutput] {
        let (outputs, wasBehind) = try await stream.next()
        if wasBehind { core.mail.watches.post(.resume(stream)) }
        return outputs
    }

    /// Runs over all that was ever changed; the same at all members that have applied the same.
    package var stateHash: UInt64 { core.view.hash }

    /// To be called when the client is gone, however that came.
    package func close(_ stream: WatchStream) {
        stream.close()
        core.mail.watches.post(.close(stream))
    }
}
