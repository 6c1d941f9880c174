internal import Bytes
package import Logging
internal import MVCC
package import NIOCore
package import Raft
internal import SQLite
package import Storage
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
        _ settings: ServerSettings, directory: DataDirectory, ticket: JoinTicket?, group: any EventLoopGroup,
        logger: Logger, onEnd: @escaping @Sendable (MemberEnd) -> Void,
        onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
    ) throws -> RunningMember {
        let isFresh = directory.isFresh()
        let identity = try self.identity(settings, directory, ticket)
        let core = MemberCore(
            settings: settings, identity: identity, directory: directory, logger: logger, onEnd: onEnd)
        let founding = isFresh && ticket == nil ? foundingConfiguration(settings) : nil
        let disk = try openDisk(core, founding: founding)
        let transport = makeTransport(core, group, logger, onSnapshotProgress)
        let lanes = (
            logs: LogLane(core: core), apply: ApplyLane(core: core), checkpoints: CheckpointLane(core: core),
            snapshots: SnapshotLane(core: core), consensus: ConsensusLane(core: core)
        )
        core.attach(
            logs: lanes.logs, apply: lanes.apply, checkpoints: lanes.checkpoints, snapshots: lanes.snapshots,
            transport: transport)
        if let ticket {
            try directory.writeHints(ticket.peers.compactMap { peer in peer.peerURLs.first.map { (peer.id, $0) } })
        }
        for (id, url) in try directory.hints() {
            if let address = PeerAddress(url: url) { core.addHint(id, address) }
        }
        if isEmptyFounder(disk) { transport.directory.setUnconfirmed() }
        for address in settings.peerListenAddresses { try transport.listen(at: address) }
        let raft = try makeRaft(core, disk)
        core.noteMembership(disk.store.meta, removed: [])
        core.publish(disk.store)
        // The identity is written last: a directory that has one is complete.
        if isFresh { try directory.finishFirstStart(identity) }
        let (log, writer, store) = (Handover(disk.log), Handover(disk.writer), Handover(disk.store))
        startThread("weft-log") { lanes.logs.run(log) }
        startThread("weft-checkpoint") { lanes.checkpoints.run(writer) }
        startThread("weft-apply") { lanes.apply.run(store) }
        startThread("weft-snapshot") { lanes.snapshots.run() }
        startThread("weft-consensus") { lanes.consensus.run(raft) }
        core.readers.start()
        return RunningMember(core: core)
    }

    /// What is opened here and then owned by one lane each.
    private struct Disk {
        let log: LogStore
        let writer: StateWriter
        let store: KeyValueStore
    }

    private static func foundingConfiguration(_ settings: ServerSettings) -> Configuration {
        Configuration(
            settings.founders.map { founder in
                Member(
                    id: FabricIDs.founder(peerURLs: founder.peerURLs, token: settings.clusterToken), role: .voter,
                    peerURLs: founder.peerURLs)
            })
    }

    private static func identity(
        _ settings: ServerSettings, _ directory: DataDirectory, _ ticket: JoinTicket?
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
        // A founder of its own has nobody to agree with. Chance in the id tells two such fabrics apart, also when one was
        // founded anew on an empty disk.
        let chance = founding.members.count == 1 ? [UInt64.random(in: 1...UInt64.max)] : []
        return Identity(
            clusterID: FabricIDs.cluster(founding.members.map(\.id) + chance),
            memberID: FabricIDs.founder(peerURLs: own.peerURLs, token: settings.clusterToken), name: settings.name)
    }

    // MARK: - Disk

    /// Founders begin as if they had a snapshot of index 1: whoever joins later finds the log's beginning cut, and so
    /// gets a snapshot with the configuration.
    static let foundingIndex: Index = 1

    private static func openDisk(_ core: MemberCore, founding: Configuration?) throws -> Disk {
        let directory = core.directory
        let isNew = try directory.identity() == nil
        if isNew { try directory.beginFirstStart() }
        var initial = StateMeta(clusterID: core.identity.clusterID)
        if let founding {
            var writer = ByteWriter()
            founding.encode(into: &writer)
            initial.configuration = writer.bytes
            initial.appliedIndex = foundingIndex
            initial.appliedTerm = 1
        }
        if !isNew, !File.exists(directory.statePath) {
            throw StorageError.damaged(path: directory.statePath, reason: "it is missing")
        }
        do {
            let writer = try StateWriter(path: directory.statePath, initial: isNew ? initial : nil)
            let store = try core.openStore()
            guard store.meta.clusterID == core.identity.clusterID else {
                throw StorageError.unusable(
                    "\(directory.statePath) belongs to fabric \(hex(store.meta.clusterID)), not to this one")
            }
            let log = try LogStore(path: directory.logPath, markPath: directory.markPath, isNew: isNew)
            if store.meta.appliedIndex > 0, log.term(at: store.meta.appliedIndex) != store.meta.appliedTerm,
                log.loaded().baseIndex < store.meta.appliedIndex
            {
                // A founder's first start, or an install that a crash cut short after the image was in place: the log that
                // is still there ends before the state, or is another's.
                try log.reset(index: store.meta.appliedIndex, term: store.meta.appliedTerm)
            }
            try core.snapshotStore.removeLeftovers()
            return Disk(log: log, writer: writer, store: store)
        } catch let error as SQLiteError {
            throw error.isCorruption
                ? StorageError.damaged(path: directory.statePath, reason: error.message) : StorageError.sqlite(error)
        }
    }

    /// If a founder of several has never written anything: it is new, or its disk was lost.
    private static func isEmptyFounder(_ disk: Disk) -> Bool {
        let contents = disk.log.loaded()
        return disk.store.meta.appliedIndex == foundingIndex && contents.lastIndex == foundingIndex
            && contents.hardState.term <= 1
    }

    private static func makeRaft(_ core: MemberCore, _ disk: Disk) throws -> Raft {
        let contents = disk.log.loaded()
        let meta = disk.store.meta
        guard meta.appliedIndex >= contents.baseIndex else {
            throw StorageError.damaged(
                path: core.directory.statePath,
                reason: "it ends at entry \(meta.appliedIndex), but the log begins after \(contents.baseIndex)")
        }
        let tail =
            meta.appliedIndex < contents.lastIndex
            ? try disk.log.entries(from: meta.appliedIndex + 1, through: contents.lastIndex, costMax: .max) : []
        var settings = Raft.Settings()
        settings.electionTicks = max(2, core.settings.electionMilliseconds / core.settings.heartbeatMilliseconds)
        var generator = SystemRandomNumberGenerator()
        return Raft(
            id: core.identity.memberID, settings: settings, hardState: contents.hardState,
            log: Log(
                baseIndex: contents.baseIndex, baseTerm: contents.baseTerm, runs: contents.runs,
                lastIndex: contents.lastIndex, tail: tail),
            configuration: core.decodeConfiguration(meta.configuration), applied: meta.appliedIndex,
            seed: generator.next())
    }

    // MARK: - Transport

    private static func makeTransport(
        _ core: MemberCore, _ group: any EventLoopGroup, _ logger: Logger,
        _ onSnapshotProgress: @escaping @Sendable (Int, Int) -> Void
    ) -> Transport {
        let events = TransportEvents(
            received: { [core] in core.consensus.post(.messages($0)) },
            unreachable: { [core] in core.consensus.post(.raft(.unreachable($0))) },
            undelivered: { [core] in core.consensus.post(.undelivered($0)) },
            removed: { [core] in core.onEnd(.removed) }, forgotten: { [core] in core.noteForgotten() },
            snapshotProgress: onSnapshotProgress,
            snapshotReceived: { [core] mark, path, sender in
                let meta = try inspectImage(at: path)
                guard meta.clusterID == core.identity.clusterID, meta.appliedIndex == mark.index,
                    meta.appliedTerm == mark.term
                else { throw StorageError.damaged(path: path, reason: "it is not the snapshot that was announced") }
                core.addReceivedSnapshot(mark, path: path)
                core.consensus.post(.raft(.snapshotReceived(mark, from: sender)))
            })
        return Transport(
            directory: PeerDirectory(clusterID: core.identity.clusterID, selfID: core.identity.memberID),
            group: group, store: core.snapshotStore, events: events, logger: logger)
    }
}
