internal import ArgumentParser
internal import Client
internal import TLS
#if canImport(Glibc)
    internal import Glibc
#endif

/// The flags of every command that reaches members by TLS.
struct TLSFlags: ParsableArguments {
    @Option(help: "Believe members with a certificate of these CAs; also WEFT_CACERT. (default: the machine's own)")
    var cacert: String?

    @Option(help: "Show this certificate; also WEFT_CERT.")
    var cert: String?

    @Option(help: "The key of --cert; also WEFT_KEY.")
    var key: String?

    @Flag(help: "Believe anybody who answers by TLS: whoever is between here and the member reads and changes all.")
    var insecureSkipTlsVerify = false

    /// How members are reached by TLS; nil where nothing asks for it.
    func context(for endpoints: [Endpoint]) throws -> TLSContext? {
        // Whoever comes by the socket may be told of members that are reached by TLS.
        guard endpoints.contains(where: { $0.isSecure || $0.isLocal }) || cacert != nil || insecureSkipTlsVerify else {
            return nil
        }
        var settings = TLSSettings()
        settings.trustedCAFile = given(cacert, "WEFT_CACERT")
        settings.certificateFile = given(cert, "WEFT_CERT")
        settings.keyFile = given(key, "WEFT_KEY")
        settings.trustsAnybody = insecureSkipTlsVerify
        guard (settings.certificateFile == nil) == (settings.keyFile == nil) else {
            throw Problem(.usage, "--cert and --key go together")
        }
        do throws(TLSError) {
            return try TLSContext(settings, .client)
        } catch {
            throw Problem(.usage, error.description)
        }
    }
}

/// What a flag says, or else the environment.
func given(_ flag: String?, _ variable: String) -> String? {
    flag ?? getenv(variable).map { String(cString: $0) }
}
