internal import EtcdProto
internal import MVCC
internal import SwiftProtobuf

/// An operation as gRPC says it.
protocol GRPCOperation: Operation {
    static func decode(_ message: [UInt8]) throws(APIError) -> Self
    static func encode(_ answer: Answer) throws(APIError) -> [UInt8]
}

/// One whose messages the generated code reads and writes.
protocol GeneratedOperation: GRPCOperation {
    associatedtype Request: SwiftProtobuf.Message
    associatedtype Response: SwiftProtobuf.Message
    init(_ request: Request) throws(APIError)
    static func response(_ answer: Answer) -> Response
}

extension GeneratedOperation {
    static func decode(_ message: [UInt8]) throws(APIError) -> Self { try Self(try Request(grpc: message)) }
    static func encode(_ answer: Answer) throws(APIError) -> [UInt8] { try response(answer).grpcBytes() }
}

extension SwiftProtobuf.Message {
    init(grpc message: [UInt8]) throws(APIError) {
        do {
            try self.init(serializedBytes: message)
        } catch {
            throw APIError(.internal, "grpc: error unmarshalling request: \(error)")
        }
    }

    func grpcBytes() throws(APIError) -> [UInt8] {
        do { return try serializedBytes() } catch {
            throw APIError(.internal, "the answer cannot be encoded: \(error)")
        }
    }
}

extension Etcdserverpb_ResponseHeader {
    init(_ header: ResponseHeader) {
        self.init()
        clusterID = header.clusterID
        memberID = header.memberID
        revision = header.revision
        raftTerm = header.term
    }

    init(revision: Int64) {
        self.init()
        self.revision = revision
    }
}

// MARK: - Headers

/// An answer with etcd's header.
protocol HeadedMessage: SwiftProtobuf.Message {
    var header: Etcdserverpb_ResponseHeader { get set }
}

extension HeadedMessage {
    init(_ header: ResponseHeader) {
        self.init()
        self.header = Etcdserverpb_ResponseHeader(header)
    }
}

extension GeneratedOperation where Answer == Answered<Void>, Response: HeadedMessage {
    static func response(_ answer: Answered<Void>) -> Response { Response(answer.header) }
}

extension Etcdserverpb_AlarmResponse: HeadedMessage {}
extension Etcdserverpb_AuthDisableResponse: HeadedMessage {}
extension Etcdserverpb_AuthEnableResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleAddResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleDeleteResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleGetResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleGrantPermissionResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleListResponse: HeadedMessage {}
extension Etcdserverpb_AuthRoleRevokePermissionResponse: HeadedMessage {}
extension Etcdserverpb_AuthStatusResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserAddResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserChangePasswordResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserDeleteResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserGetResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserGrantRoleResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserListResponse: HeadedMessage {}
extension Etcdserverpb_AuthUserRevokeRoleResponse: HeadedMessage {}
extension Etcdserverpb_AuthenticateResponse: HeadedMessage {}
extension Etcdserverpb_CompactionResponse: HeadedMessage {}
extension Etcdserverpb_DowngradeResponse: HeadedMessage {}
extension Etcdserverpb_HashKVResponse: HeadedMessage {}
extension Etcdserverpb_HashResponse: HeadedMessage {}
extension Etcdserverpb_LeaseLeasesResponse: HeadedMessage {}
extension Etcdserverpb_LeaseRevokeResponse: HeadedMessage {}
extension Etcdserverpb_LeaseTimeToLiveResponse: HeadedMessage {}
extension Etcdserverpb_MemberAddResponse: HeadedMessage {}
extension Etcdserverpb_MemberListResponse: MembersMessage {}
extension Etcdserverpb_MemberPromoteResponse: MembersMessage {}
extension Etcdserverpb_MemberRemoveResponse: MembersMessage {}
extension Etcdserverpb_MemberUpdateResponse: MembersMessage {}
extension Etcdserverpb_MoveLeaderResponse: HeadedMessage {}
extension Etcdserverpb_StatusResponse: HeadedMessage {}
extension V3electionpb_CampaignResponse: HeadedMessage {}
extension V3electionpb_LeaderResponse: HeadedMessage {}
extension V3electionpb_ProclaimResponse: HeadedMessage {}
extension V3electionpb_ResignResponse: HeadedMessage {}
extension V3lockpb_LockResponse: HeadedMessage {}
extension V3lockpb_UnlockResponse: HeadedMessage {}
extension Etcdserverpb_WatchResponse: HeadedMessage {}
extension Etcdserverpb_LeaseKeepAliveResponse: HeadedMessage {}
