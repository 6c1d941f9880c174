internal import NIOCore

/// Where a streamed answer over HTTP/1.1 goes.
struct HTTP1BodyWriter: HTTPBodyWriter {
    let connection: ConnectionHandler

    func write(_ bytes: [UInt8]) async throws(CancellationError) {
        if connection.loop.inEventLoop { return try await connection.write(bytes) }
        try await withTaskExecutorPreference(connection.executor) { () async throws(CancellationError) in
            try await connection.write(bytes)
        }
    }

    func awaitRoom() async throws(CancellationError) {
        if connection.loop.inEventLoop { return _ = try await connection.room() }
        try await withTaskExecutorPreference(connection.executor) { () async throws(CancellationError) in
            _ = try await connection.room()
        }
    }
}
