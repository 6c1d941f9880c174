internal import Fabric
package import Logging
internal import MVCC
package import NIOCore
package import Raft
internal import Replication
package import Storage
package import Sockets
package import Transport

/// What a fabric told a machine that joins it.
package struct JoinTicket: Sendable {
    package var clusterID: UInt64
    package var memberID: NodeID
    /// The members there are already.
    package var peers: [(id: NodeID, peerURLs: [String])]

    package init(clusterID: UInt64, memberID: NodeID, peers: [(id: NodeID, peerURLs: [String])]) {
        self.clusterID = clusterID
        self.memberID = memberID
        self.peers = peers
    }
}

extension RunningMember {
    /// Starts a member: a founder or a newcomer when its directory is fresh, else the member that the directory holds.
    /// - Parameters:
    ///   - identity: what `identity(_:_:_:mark:)` answered.
    ///   - certificates: where the fabric's own CA makes them.
    package static func start(
        _ settings: ServerSettings, directory: DataDirectory, identity: Identity, ticket: JoinTicket?, port: Port,
        tls: PeerTLS? = nil, certificates: MemberCertificates? = nil, group: any EventLoopGroup, logger: Logger,
        onEnd: @escaping @Sendable (MemberEnd) -> Void,
        onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
    ) throws -> RunningMember {
        let isFresh = directory.isFresh()
        let founding = isFresh && ticket == nil ? foundingConfiguration(settings) : nil
        // One that joined is no founder of what its own settings would found.
        let founders = foundingConfiguration(settings).members.filter {
            $0.id != identity.memberID && $0.peerURLs != settings.advertisedPeerURLs
        }
        let mayRepair = try directory.hints()?.contains(where: \.hasState) ?? !founders.isEmpty
        let disk = try MemberDisk(
            directory, identity: identity, founding: founding, mayRepair: mayRepair,
            versions: settings.replication.versions,
            logger: logger)
        let mail = Mailboxes()
        let peers = PeerDirectory(
            clusterID: identity.clusterID, selfID: identity.memberID, versions: settings.replication.versions,
            ownURLs: settings.advertisedPeerURLs)
        let reports = PeerReports(directory: peers, onEnd: onEnd)
        let signer = CertificateSigner()
        let transport = makeTransport(
            peers, mail, reports, signer, directory, port, tls, group, logger, onSnapshotProgress)
        let core = try MemberCore(
            settings: settings, identity: identity, directory: directory, marks: disk.marks, isFresh: isFresh,
            mail: mail, transport: transport, reports: reports, authenticator: Authenticator(settings),
            certificates: certificates, logger: logger, onEnd: onEnd)
        if let ticket {
            try directory.writeHints(
                ticket.peers.flatMap { peer in peer.peerURLs.map { PeerHint(id: peer.id, url: $0) } })
        }
        let known = founders.flatMap { founder in founder.peerURLs.map { PeerHint(id: founder.id, url: $0) } }
        for hint in try known + (directory.hints() ?? []) {
            if let address = PeerAddress(url: hint.url) { core.addHint(hint.id, address) }
        }
        if disk.isEmptyFounder { transport.directory.setUnconfirmed() }
        try transport.open()
        var generator = SystemRandomNumberGenerator()
        let raft = try disk.raft(
            identity, settings.replication.raft, seed: generator.next(), now: monotonicNanoseconds())
        core.noteMembership(disk.store.meta)
        core.publish(disk.store.view(), pendingBytes: disk.store.pendingBytes)
        core.publish(databaseSizes: try disk.writer.sizes())
        core.fabricFeed.replace(revision: disk.store.fabric.revision)
        // The identity is written last: a directory that has one is complete.
        if isFresh { try directory.finishFirstStart(identity) }
        core.startLanes(of: disk, raft)
        core.readers.start { core.view }
        core.authenticator.hasher.start()
        core.auditLog.start()
        core.watchDirectory()
        core.scrub()
        let member = RunningMember(core: core)
        signer.set(member)
        return member
    }

    static func foundingConfiguration(_ settings: ServerSettings) -> Configuration {
        Configuration(
            settings.founders.map { founder in
                Member(
                    id: FabricIDs.founder(peerURLs: founder.peerURLs, token: settings.clusterToken), role: .voter,
                    peerURLs: founder.peerURLs)
            })
    }

    /// Whose the directory is or, when it is fresh, becomes.
    /// - Parameter mark: of what the founders begin with, when that is not nothing.
    package static func identity(
        _ settings: ServerSettings, _ directory: DataDirectory, _ ticket: JoinTicket?, mark: UInt64? = nil
    ) throws -> Identity {
        if let known = try directory.identity() {
            guard known.state == .member else {
                throw StorageError.unusable(
                    """
                    the member of \(directory.path) was removed from its fabric; move the directory away and run \
                    `weft join` to come back as a new member
                    """)
            }
            guard known.name == settings.name else {
                throw StorageError.unusable(
                    """
                    \(directory.path) holds the data of member "\(known.name)", not of "\(settings.name)"; start with \
                    --name \(known.name), or with the --data-dir of "\(settings.name)"
                    """)
            }
            return known
        }
        if let ticket {
            return Identity(clusterID: ticket.clusterID, memberID: ticket.memberID, name: settings.name)
        }
        let founding = foundingConfiguration(settings)
        guard let own = settings.founders.first(where: { $0.name == settings.name }) else {
            throw StorageError.unusable(
                "member \"\(settings.name)\" is not named in --initial-cluster; add it there, or use `weft join`")
        }
        guard settings.mayFound else {
            throw StorageError.unusable(
                """
                \(directory.path) is empty and --initial-cluster-state is existing: run `weft join URL` to become a member \
                of the fabric that exists
                """)
        }
        guard settings.isFoundingAsked else {
            throw StorageError.unusable(
                """
                there is no member in \(directory.path). To found a fabric on this machine alone, start with --found; with \
                others, start each with --initial-cluster \(settings.name)=\(settings.advertisedPeerURLs.first ?? "URL"),NAME=URL,…; \
                to add this machine to a fabric that exists, run `weft join http://MEMBER:2379` with the same flags
                """)
        }
        // A founder of its own has nobody to agree with. Chance in the id tells two such fabrics apart, also when one was
        // founded anew on an empty disk.
        let chance = founding.members.count == 1 ? [UInt64.random(in: 1...UInt64.max)] : []
        return Identity(
            clusterID: FabricIDs.cluster(founding.members.map(\.id) + chance + [mark].compactMap(\.self)),
            memberID: FabricIDs.founder(peerURLs: own.peerURLs, token: settings.clusterToken), name: settings.name)
    }

    // MARK: - Transport

    private static func makeTransport(
        _ peers: PeerDirectory, _ mail: Mailboxes, _ reports: PeerReports, _ signer: CertificateSigner,
        _ directory: DataDirectory, _ port: Port,
        _ tls: PeerTLS?, _ group: any EventLoopGroup, _ logger: Logger,
        _ onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void
    ) -> Transport {
        let events = TransportEvents(
            received: { messages in
                let taken = mail.consensus.isFull ? messages.filter { !$0.bringsEntries } : messages
                if !taken.isEmpty { mail.consensus.post(.messages(taken)) }
            },
            unreachable: { mail.consensus.post(.raft(.unreachable($0))) },
            refused: { mail.consensus.post(.raft(.refused($0))) },
            undelivered: { mail.consensus.post(.undelivered($0)) },
            turnedAway: { reports.noteTurnedAway(by: $0, $1) }, welcomed: { reports.noteWelcome(by: $0) },
            snapshotProgress: onSnapshotProgress,
            snapshotReceived: { [clusterID = peers.clusterID] mark, path, sender in
                try SnapshotImage.receive(path, is: mark, of: clusterID)
                reports.addReceived(mark, path: path)
                mail.consensus.post(.raft(.snapshotReceived(mark, from: sender)))
            },
            signs: { holder, wish in await signer.answer(wish, of: holder) })
        return Transport(
            directory: peers, group: group, store: SnapshotStore(directory: directory.snapshotPath), events: events,
            port: port, tls: tls, inBackground: { work in mail.transfers.post(work) }, logger: logger)
    }
}

extension MemberCore {
    fileprivate func startLanes(of disk: MemberDisk, _ raft: Raft) {
        let meta = disk.store.meta
        let watches = WatchLane(
            shell: self, revision: meta.revision, compactRevision: meta.compactRevision,
            progressNanoseconds: serverSettings.watchProgressNanoseconds)
        start("weft-watch", watches, mail.watches)
        start("weft-log", LogWriter(shell: self, store: disk.log), mail.log)
        start("weft-checkpoint", Checkpointer(shell: self, writer: disk.writer), mail.checkpoint)
        start("weft-apply", Applier(shell: self, store: disk.store), mail.apply)
        start("weft-snapshot", SnapshotLane(shell: self), mail.snapshots, isInBackground: true)
        startThread("weft-transfer", isInBackground: true) { [mail] in
            while let work = mail.transfers.takeOne() { work() }
        }
        start("weft-consensus", ConsensusLane(shell: self, raft: raft), mail.consensus)
    }
}
