package import Client
package import TLS

/// What a run does, how much of it and with whom.
package struct LoadPlan: Sendable {
    package var endpoints: [Endpoint]
    /// For endpoints that are secure.
    package var tls: TLSContext?
    package var encoding = Encoding.grpc
    package var workload: Workload
    package var connections = 1
    package var clients = 1
    /// Event loops of the load tool.
    package var threads = 1
    /// Before anything is recorded.
    package var warmUpSeconds = 1.0
    package var seconds = 10.0
    /// Operations in all; the run ends after so many even if there is time left.
    package var total: Int?
    /// Operations per second in all, begun when they are due whether or not earlier ones are answered; nil: each client
    /// begins one when its last is answered.
    package var rate: Double?
    package var keys: KeySpace
    package var valueSize = 256
    package var seed: UInt64 = 1
    /// Who watches meanwhile.
    package var watching: Watching?

    /// Watches that are open while others put.
    package struct Watching: Sendable {
        package var watchers = 1
        package var connections = 1

        package init() {}
    }

    package init(endpoints: [Endpoint], workload: Workload, keys: KeySpace) {
        self.endpoints = endpoints
        self.workload = workload
        self.keys = keys
    }
}
