internal import ArgumentParser
internal import Certificates
internal import Client
internal import Credentials
internal import JSON
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Server
internal import Sockets
internal import Storage
internal import Transport

struct Join: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add this machine to a fabric, and run it.",
        discussion: """
            Asks the fabric at URL (any member's client URL) to add this machine. The new member starts without a vote,
            receives the data, and is given its vote by itself once it has caught up. Interrupted, the same command goes
            on where it stopped; later starts may use `weft serve` with the same flags.

            A fabric with a CA of its own takes in whoever has a join token (`weft token create` at any member). The token says
            which CA to believe, as what the machine joins, and where. It is told to a member with a certificate of that CA only.

            Where peers reach this machine is found out from its connection to URL, unless
            --initial-advertise-peer-urls says it.

            Examples:
              weft join https://10.0.0.1:2379 --token weft1.… --name m4 --data-dir /var/lib/weft
              weft join https://10.0.0.1:2379 --token-file /run/token --name m5 --domain west
              weft join http://10.0.0.1:2379 --name m6
              weft join https://10.0.0.1:2379 --name m7 --cacert /etc/weft/ca.pem --user root
              weft join http://10.0.0.1:2379 --name tie --domain third --witness
              weft join http://127.0.0.1:2379 --name m4 --listen-client-urls http://127.0.0.1:4379 \\
                --listen-peer-urls http://127.0.0.1:4380
            """)

    @Argument(help: "The client URL of a member of the fabric.")
    var url: String

    @OptionGroup var token: JoinTokenFlags

    @Option(help: "Seconds to wait for the fabric's leader to reach this machine before giving up.")
    var joinTimeout: Int = 30

    @Flag(help: "Stay without a vote until `weft member promote`.")
    var learner = false

    @Flag(help: "Vote and keep the log, but hold no keys and never keep the lead: a tie-breaker.")
    var witness = false

    @Option(help: "Name or id of a member whose vote this one takes, in one step, once it has caught up.")
    var replace: String?

    @OptionGroup var tls: TLSFlags
    @OptionGroup var login: LoginFlags
    @OptionGroup var flags: ServeFlags

    func validate() throws {
        if learner && (witness || replace != nil) {
            throw ValidationError("--learner stays without a vote; it goes neither with --witness nor with --replace")
        }
        if token.isGiven && login.user != nil {
            throw ValidationError("either a join token (--token, --token-file) or --user, not both")
        }
        if token.isGiven && (learner || witness || replace != nil) {
            throw ValidationError(
                "with a token, that says as what a machine joins: `weft token create --role … --replace …`")
        }
    }

    func run() async throws {
        guard let endpoint = Endpoint(url) else {
            throw Problem(.usage, "\"\(url)\" is no URL of the form http://HOST:PORT or https://HOST:PORT")
        }
        var settings = try ServeSettings(flags)
        do {
            // What it would found alone is of no interest here.
            settings.server.founders = []
            let directory = try DataDirectory(settings.server.dataDirectory, isForOwner: true) { text in
                Console.error("warning: \(text)")
            }
            // After a refusal remove everything but the key: the answer to a lost request is for that key.
            defer { directory.empty() }
            let identity = try directory.identity()
            let admission = try token.read().map { try Admission($0, at: endpoint) }
            var joining = Joining(
                client: try await client(endpoint, directory, canWait: identity != nil), endpoint: endpoint,
                role: learner ? "learner" : witness ? "witness" : "voter", replaces: replace,
                timeoutSeconds: joinTimeout)
            if let identity {
                print("going on with the member in \(directory.path)")
                try settings.adopt(try directory.settings())
                if let admission { try await joining.enterAgain(by: admission, settings, directory, identity) }
                do {
                    try await joining.adaptAddresses(&settings)
                    try await joining.checkSameFabric(identity)
                } catch let problem as Problem where problem.kind == .unavailable {
                    // It has taken part already, and knows the others.
                    Console.error("warning: \(problem.text)")
                }
                try await joining.run(settings, directory, ticket: nil)
            } else if let admission {
                let ticket = try await joining.enter(by: admission, &settings, directory)
                try await joining.begin(settings, directory, ticket)
            } else {
                try await joining.adaptAddresses(&settings)
                let ticket = try await joining.add(settings)
                try await joining.begin(settings, directory, ticket)
            }
        } catch let error as StorageError {
            throw Problem(error)
        }
    }

    /// Shows the member's own certificate where it has one of the fabric's CA.
    /// - Parameter canWait: if it is a member already, and can do without an answer.
    private func client(_ endpoint: Endpoint, _ directory: DataDirectory, canWait: Bool) async throws -> FabricClient {
        let files = MemberCertificates.files(in: directory)
        if endpoint.isSecure, File.exists(files.member) {
            return try Admission.client(endpoint, trust: files.trust, own: files.member)
        }
        var client = FabricClient(endpoints: [endpoint], group: MultiThreadedEventLoopGroup.singleton)
        // A token says who comes, whatever user the environment names.
        if token.isGiven { return client }
        client.http.tls = try tls.context(for: [endpoint])
        do {
            try await Problem.explaining { try await login.logIn(&client) }
        } catch let problem as Problem where problem.kind == .unavailable && canWait {
            Console.error("warning: \(problem.text)")
        }
        return client
    }
}

/// The steps of a join. Until the fabric has said yes nothing is left behind anywhere, and after a failure neither.
struct Joining {
    var client: FabricClient
    let endpoint: Endpoint
    /// As `/v1/members` names it.
    let role: String
    /// Name or id of the member to replace.
    let replaces: String?
    let timeoutSeconds: Int

    /// Fills in addresses that were not given from this machine's own address as the fabric's member sees it.
    func adaptAddresses(_ settings: inout ServeSettings) async throws {
        let response: HTTPClient.Response
        do {
            response = try await client.http.send(.GET, endpoint, "/version")
        } catch let failure as HTTPClient.Failure {
            let advice =
                endpoint.isSecure
                ? "A fabric with a CA of its own takes a machine in by a join token: `weft token create` at a member, then --token here. With certificates of your own, --cacert says whom to believe"
                : "Is \(endpoint) the client URL of a running member?"
            throw Problem(.unavailable, "\(failure.description). \(advice)")
        }
        guard let version = try? FabricClient.answer(response), version["weft"] != nil else {
            throw Problem(.failed, "\(endpoint) is no weft member: its /version does not say so")
        }
        settings.useOwnAddress(response.localHost ?? "127.0.0.1", isSecure: false)
    }

    func checkSameFabric(_ identity: Identity) async throws {
        let members = try await list()
        guard members.clusterID == identity.clusterID else {
            throw Problem(
                .failed,
                "the data directory belongs to fabric \(hex(identity.clusterID)), but \(endpoint) is a member of fabric \(hex(members.clusterID))"
            )
        }
    }

    private func list() async throws -> FabricMembers {
        do {
            return try await client.members()
        } catch {
            throw Problem(.unavailable, "the fabric at \(endpoint) cannot take a member now: \(error)")
        }
    }

    // MARK: - Asking

    /// Checks all that can be checked from here, and only then asks to be added.
    func add(_ settings: ServeSettings) async throws -> JoinTicket {
        try checkPortsAreFree(settings)
        let fabric = try await list()
        let own = settings.server.advertisedPeerURLs
        if let named = fabric.members.first(where: { $0.name == settings.server.name }) {
            throw Problem(
                .failed,
                "the fabric has a member named \(named.name) already (\(hex(named.id))); choose another --name, or remove that one first"
            )
        }
        if let known = fabric.members.first(where: { !$0.peerURLs.filter(own.contains).isEmpty }) {
            guard known.name.isEmpty else {
                throw Problem(.failed, "member \(known.name) has the peer URL \(own.joined(separator: ",")) already")
            }
            print("the fabric knows this machine already, from an earlier try, as member \(hex(known.id))")
            return ticket(fabric, known.id)
        }
        try await checkPeersAreReachable(fabric, own)
        let id = try await add(own, settings.server.domain, fabric)
        print("added to fabric \(hex(fabric.clusterID)) as member \(hex(id)), without a vote yet")
        return ticket(fabric, id)
    }

    private func ticket(_ fabric: FabricMembers, _ id: UInt64) -> JoinTicket {
        JoinTicket(
            clusterID: fabric.clusterID, memberID: id,
            peers: fabric.members.filter { $0.id != id }.map { ($0.id, $0.peerURLs) })
    }

    private func add(_ peerURLs: [String], _ domain: String, _ fabric: FabricMembers) async throws -> UInt64 {
        do {
            let old = try await replacedID()
            let answer = try await client.call("/v1/members") { json in
                json.field("peerURLs", peerURLs) { $0.string($1) }
                json.field("role", role)
                json.field("domain", domain)
                if let old { json.field("replaces", hex(old)) }
            }
            if let id = answer["member"]?["id"]?.text.flatMap({ UInt64($0, radix: 16) }) { return id }
            throw HTTPClient.Failure(description: "the answer names no member")
        } catch let problem as Problem {
            throw problem
        } catch let refusal as FabricClient.Refusal where refusal.code != 14 {
            throw Problem(.failed, "the fabric refused: \(refusal.message)")
        } catch {
            // It may have been added all the same: then it is found, and used.
            for _ in 0..<3 {
                if let members = try? await client.members().members,
                    let found = members.first(where: { $0.peerURLs == peerURLs })
                {
                    return found.id
                }
                try? await Task.sleep(for: .seconds(1))
            }
            throw Problem(.unavailable, "the fabric did not answer: \(error). Run the same command again later")
        }
    }

    /// Comes in with a token: gets the membership and the certificate in one step, and goes on as the member that it is.
    mutating func enter(
        by admission: Admission, _ settings: inout ServeSettings, _ directory: DataDirectory
    ) async throws -> JoinTicket {
        let (authority, ownHost) = try await admission.findAuthority()
        settings.useOwnAddress(ownHost ?? "127.0.0.1", isSecure: true)
        guard settings.usesOwnAuthorityForPeers else {
            throw Problem(
                .usage,
                "with a token, members reach each other by TLS with certificates of the fabric's CA: the peer URLs are https:// ones, without --peer-cert-file"
            )
        }
        try checkPortsAreFree(settings)
        let files = MemberCertificates.files(in: directory)
        try MemberCertificates.believe(authority, in: directory)
        let key = try MemberCertificates.joiningKey(in: directory)
        client = try Admission.client(endpoint, trust: files.trust)
        let answer: JSONValue
        do {
            answer = try await ask(admission.token, settings, key)
        } catch let problem as Problem {
            // Whoever did not answer may have done it: then the same key is let in again.
            if problem.kind != .unavailable { try MemberCertificates.clear(in: directory, keepsKey: true) }
            throw problem
        }
        guard let clusterID = answer["fabric"]?.text.flatMap({ UInt64($0, radix: 16) }),
            let id = answer["id"]?.text.flatMap({ UInt64($0, radix: 16) })
        else { throw Problem(.failed, "\(endpoint) answers no membership") }
        try take(answer, for: .member(fabric: clusterID, id: id), key, directory)
        print("added to fabric \(hex(clusterID)) as member \(hex(id)), without a vote yet")
        let peers = (answer["members"]?.items ?? []).compactMap { item -> (id: UInt64, peerURLs: [String])? in
            guard let other = item["id"]?.text.flatMap({ UInt64($0, radix: 16) }), other != id else { return nil }
            return (other, (item["peerURLs"]?.items ?? []).compactMap(\.text))
        }
        return JoinTicket(clusterID: clusterID, memberID: id, peers: peers)
    }

    /// Gets a certificate for a member that has lost its own, or never had one.
    mutating func enterAgain(
        by admission: Admission, _ settings: ServeSettings, _ directory: DataDirectory, _ identity: Identity
    ) async throws {
        let (authority, _) = try await admission.findAuthority(of: identity.clusterID)
        let key = try MemberCertificates.joiningKey(in: directory)
        // What is believed here stays as it is until the fabric has signed.
        client = try Admission.client(endpoint, trusting: authority)
        let answer = try await ask(admission.token, settings, key, as: identity.memberID)
        try take(answer, for: .member(fabric: identity.clusterID, id: identity.memberID), key, directory)
        print("member \(hex(identity.memberID)) has a certificate of fabric \(hex(identity.clusterID))")
    }

    /// Takes up what the fabric answered, and goes on as the member that it is.
    private mutating func take(
        _ answer: JSONValue, for name: FabricName, _ key: PrivateKey, _ directory: DataDirectory
    ) throws {
        func pem(_ field: String) -> [UInt8] { Array((answer[field]?.text ?? "").utf8) }
        try MemberCertificates.accept(
            CertificateAnswer(
                certificate: pem("certificate"), authorities: pem("authorities"), authority: pem("authority")),
            for: name, key, in: directory)
        let files = MemberCertificates.files(in: directory)
        client = try Admission.client(endpoint, trust: files.trust, own: files.member)
    }

    /// - Parameter member: which member this machine is already, if it is.
    private func ask(
        _ token: JoinTokenText, _ settings: ServeSettings, _ key: PrivateKey, as member: UInt64? = nil
    ) async throws -> JSONValue {
        let request: [UInt8]
        do throws(CertificateError) {
            request = try CertificateRequest(of: key, commonName: settings.server.name).pem()
        } catch {
            throw Problem(.usage, error.description)
        }
        return try await Problem.explaining {
            try await client.call("/v1/ca/join") { json in
                json.field("token", token.description)
                json.field("request", String(decoding: request, as: UTF8.self))
                json.field("name", settings.server.name)
                json.field("peerURLs", settings.server.advertisedPeerURLs) { $0.string($1) }
                json.field("hosts", settings.ownHosts) { $0.string($1) }
                json.field("domain", settings.server.domain)
                if let member { json.field("member", hex(member)) }
            }
        }
    }

    /// Runs the member for the first time. If it cannot begin, nothing of it stays.
    func begin(_ settings: ServeSettings, _ directory: DataDirectory, _ ticket: JoinTicket) async throws {
        do {
            try directory.writeSettings(settings.addresses)
            try await run(settings, directory, ticket: ticket)
        } catch {
            // It never began: nothing of it stays in the fabric either.
            if try directory.identity() == nil {
                await takeBack(ticket)
                try clear(directory)
            }
            throw error
        }
    }

    private func clear(_ directory: DataDirectory) throws {
        try directory.clear()
        try MemberCertificates.clear(in: directory)
    }

    private func replacedID() async throws -> UInt64? {
        guard let replaces else { return nil }
        return try await MemberCommand.find(replaces, client)
    }

    private func checkPortsAreFree(_ settings: ServeSettings) throws {
        for endpoint in settings.listenPeer + settings.listenClient {
            let address = ServeSettings.address(endpoint)
            do {
                let channel = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: address.host, port: address.port).wait()
                try channel.close().wait()
            } catch {
                throw Problem(.failed, "cannot listen on \(endpoint): \(error); choose another address")
            }
        }
    }

    private func checkPeersAreReachable(_ fabric: FabricMembers, _ own: [String]) async throws {
        let dialer = Dialer()
        let unreachable = await withTaskGroup(of: String?.self) { group in
            for member in fabric.members {
                let targets = member.peerURLs.compactMap(PeerAddress.init(url:)).map { ($0.host, $0.port) }
                guard !targets.isEmpty else { continue }
                group.addTask {
                    await Self.isReachable(targets, by: dialer)
                        ? nil : "\(member.name) at \(member.peerURLs.joined(separator: ","))"
                }
            }
            return await group.reduce(into: []) { $0 += [$1].compactMap(\.self) }
        }
        guard unreachable.count * 2 < fabric.members.count else {
            throw Problem(
                .failed,
                """
                from here these members' peer URLs cannot be reached: \(unreachable.joined(separator: "; ")). Nothing was \
                added. A peer URL on localhost is for members on one machine: give the members URLs that others reach
                """)
        }
    }

    private static let patience = TimeAmount.seconds(4)

    private static func isReachable(_ targets: [(host: String, port: Int)], by dialer: Dialer) async -> Bool {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: Bool.self)
        // A name may hang for longer than anybody wants to wait.
        loop.scheduleTask(in: patience) { promise.succeed(false) }
        dialer.connect(ClientBootstrap(group: loop), to: targets, timeout: .seconds(3), on: loop) { channel, _ in
            channel.close(promise: nil)
        }.whenComplete { promise.succeed((try? $0.get()) != nil) }
        return (try? await promise.futureResult.get()) ?? false
    }

    // MARK: - Running

    func run(_ settings: ServeSettings, _ directory: DataDirectory, ticket: JoinTicket?) async throws {
        let daemon = try Daemon(settings)
        let progress = JoinProgress()
        let isNew = ticket != nil
        try await onThread {
            try daemon.run(directory, ticket: ticket, onSnapshotProgress: progress.noteSnapshot) { member in
                Task(priority: .background) {
                    if await progress.follow(member, isNew: isNew, seconds: timeoutSeconds) == .unreached {
                        await giveUp(member, directory, settings)
                    }
                }
            }
        }
    }

    /// Has the fabric forget a member that could not begin.
    func takeBack(_ ticket: JoinTicket) async {
        do {
            _ = try await client.call("/v3/cluster/member/remove") { $0.field("ID", ticket.memberID) }
        } catch {
            Console.error("weft: run `weft member remove \(hex(ticket.memberID))` at another member: \(error)")
        }
    }

    /// The leader never came: takes the member out again, so that no half of one stays.
    private func giveUp(_ member: RunningMember, _ directory: DataDirectory, _ settings: ServeSettings) async {
        var text =
            "the fabric's leader did not reach this machine at \(settings.server.advertisedPeerURLs.joined(separator: ",")) in \(timeoutSeconds) s. Check the address and firewalls between the machines, and run the command again."
        do {
            // Stopped first, it does not hear of its own removal, which ends other members well.
            member.stop(quickly: true)
            _ = try await client.call("/v3/cluster/member/remove") { $0.field("ID", member.id) }
            try clear(directory)
        } catch {
            text +=
                " Member \(hex(member.id)) could not be removed again (\(error)); run `weft member remove \(hex(member.id))`."
        }
        fail(Problem(.failed, text))
    }
}

extension ServeSettings {
    /// Uses this machine's address for what still has the default of localhost.
    mutating func useOwnAddress(_ host: String, isSecure: Bool) {
        if !isSet.contains("listen-peer-urls") {
            listenPeer = [Endpoint(host: host, port: 2380, isSecure: isSecure)]
        }
        if !isSet.contains("listen-client-urls") {
            listenClient = [Endpoint(host: host, port: 2379, isSecure: isSecure)]
        }
        if !isSet.contains("initial-advertise-peer-urls") {
            server.advertisedPeerURLs = listenPeer.map { Self.reachable($0, host).description }
        }
        if !isSet.contains("advertise-client-urls") {
            server.advertisedClientURLs = listenClient.map { Self.reachable($0, host).description }
        }
    }

    /// A listener on all addresses is reached at this one.
    private static func reachable(_ endpoint: Endpoint, _ host: String) -> Endpoint {
        ["0.0.0.0", "::"].contains(endpoint.host)
            ? Endpoint(host: host, port: endpoint.port, isSecure: endpoint.isSecure)
            : endpoint
    }
}
