/// If a host, by name or address, is the machine itself: what goes there passes no network.
package func isLoopback(_ host: String) -> Bool {
    host == "localhost" || host == "::1" || host.hasPrefix("127.")
}
