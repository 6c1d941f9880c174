internal import JSON
internal import MVCC
internal import Raft
internal import Replication
internal import Server

// The services Cluster and Maintenance in the gateway's JSON.

// MARK: - Cluster

extension Cluster.List: HeadedGatewayOperation {
    /// Old clients do not know the field and get a linearizable list, as with etcd.
    init(_ request: GatewayObject) throws(APIError) {
        self.init(linearizable: try request.bool("linearizable"))
    }
}

extension Cluster.Add: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(
            peerURLs: try request.strings("peerURLs"), role: try request.bool("isLearner") ? .learner : .joining)
    }

    static func write(_ added: Cluster.Added, _: ResponseHeader, to json: inout JSONWriter) {
        json.name("member")
        json.member(added.member)
        json.field("members", added.members) { $0.member($1) }
    }
}

extension Cluster.Remove: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.unsigned("ID"))
    }
}

extension Cluster.Update: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.unsigned("ID"), peerURLs: try request.strings("peerURLs"))
    }
}

extension Cluster.Promote: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(id: try request.unsigned("ID"))
    }
}

extension HeadedGatewayOperation where Answer == Answered<[Membership.Entry]> {
    static func write(_ members: [Membership.Entry], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("members", members) { $0.member($1) }
    }
}

extension JSONWriter {
    fileprivate mutating func member(_ entry: Membership.Entry) {
        object { json in
            json.field("ID", entry.member.id)
            json.field("name", entry.attributes.name)
            json.field("peerURLs", entry.member.peerURLs) { $0.string($1) }
            json.field("clientURLs", entry.attributes.clientURLs) { $0.string($1) }
            json.field("isLearner", !entry.member.isVoting)
        }
    }
}

// MARK: - Maintenance

extension Maintenance.Status: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ status: Report, _: ResponseHeader, to json: inout JSONWriter) {
        json.field("version", Version.etcd)
        json.field("dbSize", status.databaseBytes)
        json.field("leader", status.leader)
        json.field("raftIndex", status.commit)
        json.field("raftTerm", status.term)
        json.field("raftAppliedIndex", status.applied)
        json.field("errors", status.errors) { $0.string($1) }
        json.field("dbSizeInUse", status.databaseBytesInUse)
        json.field("dbSizeQuota", status.quotaBytes)
        json.field("isLearner", status.isLearner)
        json.field("storageVersion", Version.etcdCluster)
    }
}

extension Maintenance.Alarms: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        let unknown = APIError(.invalidArgument, "weft: unknown alarm or action")
        self.init(
            action: Int(try request.choice("action", ["GET", "ACTIVATE", "DEACTIVATE"], otherwise: unknown)),
            memberID: try request.unsigned("memberID"),
            kind: Alarm.Kind(rawValue: try request.choice("alarm", Alarm.Kind.names, otherwise: unknown)))
    }

    static func write(_ alarms: [Alarm], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("alarms", alarms) { json, alarm in
            json.object { json in
                json.field("memberID", alarm.memberID)
                json.field("alarm", alarm.kind.name)
            }
        }
    }
}

extension Maintenance.Defragment: GatewayOperation {
    init(_: GatewayObject) {}
    static func write(_: Void, to json: inout JSONWriter) {}
}

extension Maintenance.Hash: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ hash: UInt32, _: ResponseHeader, to json: inout JSONWriter) { json.field("hash", hash) }
}

extension Maintenance.HashKV: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(revision: try request.integer("revision"))
    }

    static func write(_ hash: HistoryHash, _: ResponseHeader, to json: inout JSONWriter) {
        json.field("hash", hash.sum)
        json.field("compact_revision", hash.etcdCompactRevision)
        json.field("hash_revision", hash.revision)
    }
}

extension Maintenance.MoveLeader: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(target: try request.unsigned("targetID"))
    }
}

extension Maintenance.Downgrade: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        let unknown = APIError(.invalidArgument, "etcdserver: unknown downgrade action")
        self.init(
            action: Int(try request.choice("action", ["VALIDATE", "ENABLE", "CANCEL"], otherwise: unknown)),
            version: try request.text("version") ?? "")
    }
}
