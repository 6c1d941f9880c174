import Foundation
import Logging
import NIOPosix
import Replication
import Storage
import Transport

@testable import Server

/// A member alone in its fabric, in this process, on a directory that goes with it.
final class RunningFabric: Sendable {
    let member: RunningMember
    let path: String

    init() throws {
        path = "\(NSTemporaryDirectory())weft-server-\(UUID().uuidString)"
        var settings = ServerSettings()
        settings.dataDirectory = path
        settings.founders = [.init(name: settings.name, peerURLs: settings.advertisedPeerURLs)]
        let logger = Logger(label: "weft") { _ in SwiftLogNoOpLogHandler() }
        let directory = try DataDirectory(path)
        let identity = try RunningMember.identity(settings, directory, nil)
        member = try RunningMember.start(
            settings, directory: directory, identity: identity, ticket: nil, port: Transport.makePort(logger),
            group: MultiThreadedEventLoopGroup.singleton, logger: logger, onEnd: { _ in })
        member.awaitCaughtUp()
    }

    /// Blocks until it has stopped.
    func stop(quickly: Bool = true) {
        member.stop(quickly: quickly)
        // Its lanes close their files when all is said and done, and SQLite removes some of them then.
        while (try? FileManager.default.removeItem(atPath: path)) == nil, FileManager.default.fileExists(atPath: path) {
        }
    }
}
