internal import ArgumentParser
internal import Server
internal import Storage

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a member of a fabric.",
        discussion: """
            Flags have etcd's names and defaults. Each is also a variable of the environment (WEFT_DATA_DIR for
            --data-dir) and a key of the file given with --config-file. A flag beats the environment, that beats the file.

            A trial on this machine alone:
              weft serve --data-dir /tmp/weft

            A fabric of one that others can reach:
              weft serve --found --name m1 --data-dir /var/lib/weft/data --listen-client-urls http://10.0.0.1:2379 \\
                --listen-peer-urls http://10.0.0.1:2380

            Three founders, each started with its own name and URLs and the same --initial-cluster:
              weft serve --name m1 --listen-client-urls http://10.0.0.1:2379 --advertise-client-urls http://10.0.0.1:2379 \\
                --listen-peer-urls http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2380 \\
                --initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380
            """)

    @OptionGroup var flags: ServeFlags

    func run() async throws {
        var settings = try ServeSettings(flags)
        do {
            try settings.adopt(try DataDirectory.settings(at: settings.server.dataDirectory))
            guard !settings.advertisesAnyAddress else {
                throw Problem(
                    .usage,
                    """
                    0.0.0.0 is no address that others can reach: say with --advertise-client-urls and \
                    --initial-advertise-peer-urls where this member is reached
                    """)
            }
            let effective = settings
            try await onThread {
                let daemon = try Daemon(effective)
                try daemon.run(try daemon.openDirectory())
            }
        } catch let error as StorageError {
            throw Problem(error)
        }
    }
}
