internal import Fabric
package import Logging
internal import MVCC
package import NIOCore
package import Raft
internal import Replication
package import Storage
package import Sockets
internal import Transport

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
    package static func start(
        _ settings: ServerSettings, directory: DataDirectory, ticket: JoinTicket?, port: Port,
        group: any EventLoopGroup, logger: Logger, onEnd: @escaping @Sendable (MemberEnd) -> Void,
        onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
    ) throws -> RunningMember {
        let isFresh = directory.isFresh()
        let identity = try self.identity(settings, directory, ticket)
        let founding = isFresh && ticket == nil ? foundingConfiguration(settings) : nil
        let founders = foundingConfiguration(settings).members.filter { $0.id != identity.memberID }
        let mayRepair = try directory.hints()?.contains(where: \.hasState) ?? !founders.isEmpty
        let disk = try MemberDisk(
            directory, identity: identity, founding: founding, mayRepair: mayRepair,
            versions: settings.replication.versions,
            logger: logger)
        let core = try MemberCore(
            settings: settings, identity: identity, directory: directory, marks: disk.marks, isFresh: isFresh,
            logger: logger, onEnd: onEnd)
        let transport = makeTransport(core, port, group, logger, onSnapshotProgress)
        let lanes = (
            logs: LogLane(core: core), apply: ApplyLane(core: core), checkpoints: CheckpointLane(core: core),
            snapshots: SnapshotLane(core: core), watches: WatchLane(core: core), consensus: ConsensusLane(core: core)
        )
        core.attach(
            logs: lanes.logs, apply: lanes.apply, checkpoints: lanes.checkpoints, snapshots: lanes.snapshots,
            watches: lanes.watches, transport: transport)
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
        let (revision, compactRevision) = (disk.store.meta.revision, disk.store.meta.compactRevision)
        startThread("weft-watch") { lanes.watches.run(revision: revision, compactRevision: compactRevision) }
        let (log, writer, store) = (Handover(disk.log), Handover(disk.writer), Handover(disk.store))
        startThread("weft-log") { lanes.logs.run(log) }
        startThread("weft-checkpoint") { lanes.checkpoints.run(writer) }
        startThread("weft-apply") { lanes.apply.run(store) }
        startThread("weft-snapshot", isInBackground: true) { lanes.snapshots.run() }
        startThread("weft-transfer", isInBackground: true) { core.transfers.run() }
        startThread("weft-consensus") { lanes.consensus.run(raft) }
        core.readers.start { core.view }
        core.watchDirectory()
        core.scrub()
        return RunningMember(core: core)
    }

    static func foundingConfiguration(_ settings: ServerSettings) -> Configuration {
        Configuration(
            settings.founders.map { founder in
                Member(
                    id: FabricIDs.founder(peerURLs: founder.peerURLs, token: settings.clusterToken), role: .voter,
                    peerURLs: founder.peerURLs)
            })
    }

    /// - Parameter mark: of what the founders begin with, when that is not nothing.
    static func identity(
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
        _ core: MemberCore, _ port: Port, _ group: any EventLoopGroup, _ logger: Logger,
        _ onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void
    ) -> Transport {
        let events = TransportEvents(
            received: { [core] in core.consensus.post(.messages($0)) },
            unreachable: { [core] in core.consensus.post(.raft(.unreachable($0))) },
            refused: { [core] in core.consensus.post(.raft(.refused($0))) },
            undelivered: { [core] in core.consensus.post(.undelivered($0)) },
            turnedAway: { [core] in core.noteTurnedAway(by: $0, $1) }, welcomed: { [core] in core.noteWelcome(by: $0) },
            snapshotProgress: onSnapshotProgress,
            snapshotReceived: { [core] mark, path, sender in
                try SnapshotImage.receive(path, is: mark, of: core.identity.clusterID)
                core.addReceivedSnapshot(mark, path: path)
                core.consensus.post(.raft(.snapshotReceived(mark, from: sender)))
            })
        return Transport(
            directory: PeerDirectory(
                clusterID: core.identity.clusterID, selfID: core.identity.memberID,
                versions: core.settings.versions, ownURLs: core.serverSettings.advertisedPeerURLs),
            group: group, store: core.snapshotStore, events: events, port: port,
            inBackground: { [core] work in core.transfers.mailbox.post(work) }, logger: logger)
    }
}
