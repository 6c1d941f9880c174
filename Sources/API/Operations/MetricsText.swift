#if canImport(Glibc)
    internal import Glibc
#endif
internal import Fabric
internal import Raft
internal import Replication
internal import Server

/// The member's figures as Prometheus text, under etcd's names where the meaning is etcd's.
struct MetricsText: Operation {
    static var right: Right<Self> { .known }

    func run(at desk: Desk) async throws(APIError) -> String { Self.text(of: desk.member) }

    private static func text(of member: RunningMember) -> String {
        var text = Text()
        let status = member.status
        let metrics = member.metrics
        text.gauge(
            "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.",
            status.leader == nil ? 0 : 1)
        text.gauge(
            "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            status.role == .leader ? 1 : 0)
        text.gauge(
            "etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.",
            status.configuration.isVoter(member.id) ? 0 : 1)
        text.counter(
            "etcd_server_leader_changes_seen_total", "The number of leader changes seen.", metrics.leaderChanges)
        text.gauge(
            "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.",
            Double(status.commit))
        text.gauge(
            "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.",
            Double(member.appliedIndex))
        text.gauge(
            "etcd_server_proposals_pending", "The current number of pending proposals to commit.",
            Double(status.pending))
        text.counter(
            "etcd_server_proposals_failed_total", "The total number of failed proposals seen.",
            metrics.proposalsFailed)
        text.counter(
            "etcd_server_slow_read_indexes_total",
            "The total number of pending read indexes not in sync with leader's or timed out.", metrics.slowReads)
        text.counter("etcd_mvcc_range_total", "Total number of ranges seen by this member.", metrics.ranges)
        text.counter("etcd_mvcc_put_total", "Total number of puts seen by this member.", metrics.puts)
        text.counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.", metrics.deletes)
        text.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member.", metrics.txns)
        text.counter("etcd_network_snapshot_send_success", "Snapshots sent to peers.", metrics.snapshotsSent)
        text.counter("weft_snapshots_received_total", "Snapshots installed here.", metrics.snapshotsReceived)
        text.counter("weft_peer_messages_sent_total", "Raft messages sent to peers.", metrics.peerMessagesSent)
        text.counter(
            "weft_peer_messages_received_total", "Raft messages received from peers.",
            metrics.peerMessagesReceived)
        text.histogram(
            "etcd_disk_wal_fsync_duration_seconds",
            "The latency distributions of log writes, their fsync included.", metrics.walSync.reading())
        text.histogram(
            "etcd_disk_backend_commit_duration_seconds",
            "The latency distributions of writing changes from memory to kv.db.", metrics.backendCommit.reading())
        text.gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", Double(member.revision))
        text.gauge(
            "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.",
            Double(member.compactRevision))
        let sizes = member.databaseSizes
        text.gauge(
            "etcd_mvcc_db_total_size_in_bytes", "Total size of the database file in bytes.", Double(sizes.total))
        text.gauge(
            "etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of the database file that are in use.",
            Double(sizes.inUse))
        peers(&text, member, status)
        certificates(&text, member)
        fabric(&text, member)
        process(&text)
        return text.content
    }

    private static func peers(_ text: inout Text, _ member: RunningMember, _ status: RaftStatus) {
        text.gauge("weft_raft_last_index", "The last index of the log.", Double(status.lastIndex))
        for peer in status.peers {
            let domain = status.configuration[peer.id]?.domain ?? ""
            let labels = "{peer=\"\(String(peer.id, radix: 16))\",domain=\"\(domain)\"}"
            text.line("weft_peer_match_index" + labels, Double(peer.match))
            text.line("weft_peer_lag_entries" + labels, Double(status.lastIndex - min(peer.match, status.lastIndex)))
            text.line("weft_peer_round_trip_seconds" + labels, Double(peer.roundTripNanoseconds) / 1e9)
        }
        text.gauge(
            "weft_quorum_margin", "Voters that are heard of, beyond a quorum; negative is no quorum.",
            Double(member.outlook().margin))
    }

    private static func fabric(_ text: inout Text, _ member: RunningMember) {
        let fabric = member.appliedFabric
        guard !fabric.isEmpty else { return }
        let volumes = fabric.volumeSummary()
        for (state, count) in [("Up", volumes.up), ("Degraded", volumes.degraded), ("Down", volumes.down)] {
            text.line("weft_volumes{state=\"\(state)\"}", Double(count))
        }
        let summaries = fabric.summaries()
        for domain in fabric.domains {
            let labels = "{domain=\"\(domain.name)\"}"
            let summary = summaries[domain.name, default: .init()]
            text.line("weft_domain_active" + labels, domain.isActive ? 1 : 0)
            text.line("weft_domain_nodes_online" + labels, Double(summary.onlineNodes))
            text.line("weft_domain_replicas_stale" + labels, Double(summary.stale))
            text.line("weft_domain_replicas_resyncing" + labels, Double(summary.resyncing))
        }
        for pair in fabric.pairs {
            let labels = "{pair=\"\(pair.name)\"}"
            text.line("weft_pair_ready" + labels, pair.contact == .ready && !pair.isSuspended ? 1 : 0)
            text.line("weft_pair_last_contact_seconds" + labels, Double(pair.news.at) / 1000)
            text.line("weft_pair_clock_skew_seconds" + labels, Double(pair.news.skew) / 1000)
        }
    }

    private static func certificates(_ text: inout Text, _ member: RunningMember) {
        if let end = member.certificateEnd {
            text.gauge(
                "weft_member_certificate_expiry_timestamp_seconds",
                "When this member's certificate ends, in seconds since 1970.", Double(end))
        }
        if let end = member.authorityEnd {
            text.gauge(
                "weft_ca_expiry_timestamp_seconds", "When the fabric's newest CA ends, in seconds since 1970.",
                Double(end))
        }
    }

    private static func process(_ text: inout Text) {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        text.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", seconds)
        text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", Double(residentBytes()))
        text.describe("weft_build_info", "The release that runs.", "gauge")
        text.line("weft_build_info{version=\"\(Version.weft)\"}", 1)
    }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    private struct Text {
        var content = ""

        mutating func describe(_ name: String, _ help: String, _ type: String) {
            content += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }

        mutating func line(_ name: String, _ value: Double) {
            content +=
                value == value.rounded() && abs(value) < 1e15 ? "\(name) \(Int64(value))\n" : "\(name) \(value)\n"
        }

        mutating func gauge(_ name: String, _ help: String, _ value: Double) {
            describe(name, help, "gauge")
            line(name, value)
        }

        mutating func counter(_ name: String, _ help: String, _ counter: Counter) {
            self.counter(name, help, Double(counter.value))
        }

        mutating func counter(_ name: String, _ help: String, _ value: Double) {
            describe(name, help, "counter")
            line(name, value)
        }

        mutating func histogram(_ name: String, _ help: String, _ reading: DurationHistogram.Reading) {
            describe(name, help, "histogram")
            for bucket in reading.buckets { line("\(name)_bucket{le=\"\(bucket.bound)\"}", Double(bucket.count)) }
            line("\(name)_bucket{le=\"+Inf\"}", Double(reading.count))
            line("\(name)_sum", reading.sumSeconds)
            line("\(name)_count", Double(reading.count))
        }
    }
}
