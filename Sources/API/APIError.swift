internal import Access
internal import MVCC
internal import NIOHTTP1
internal import Raft
internal import Replication
internal import Server

/// An error as clients of etcd know it: a gRPC code, and a text that they compare.
struct APIError: Error, Equatable, Sendable {
    /// <https://grpc.io/docs/guides/status-codes/>
    enum Code: Int, Sendable {
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case outOfRange = 11
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16

        /// Go's.
        fileprivate var name: String {
            let name = "\(self)"
            return self == .cancelled ? "Canceled" : name.prefix(1).uppercased() + name.dropFirst()
        }
    }

    var code: Code
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The client is gone, or took back what it asked.
    static let cancelled = APIError(.cancelled, "context canceled")

    /// The one place where a member's errors become etcd's.
    init(_ error: ServerError) {
        switch error {
        case .refused(let refusal): self.init(refusal)
        case .change(let refusal): self.init(refusal)
        case .timeout: self.init(.unavailable, "etcdserver: request timed out")
        case .noLeader: self.init(.unavailable, "etcdserver: no leader")
        case .tooManyRequests: self.init(.resourceExhausted, "etcdserver: too many requests")
        case .requestTooLarge: self.init(.invalidArgument, "etcdserver: request is too large")
        case .noSpace: self.init(.resourceExhausted, "etcdserver: mvcc: database space exceeded")
        case .witness:
            self.init(.unavailable, "weft: this member is a witness and holds no keys; ask another member")
        case .catchingUp:
            self.init(
                .unavailable,
                "weft: this member was started again and waits for a leader; ask another member, or ask again")
        case .stopping: self.init(.unavailable, "etcdserver: server stopped")
        case .transferTimeout:
            self.init(.unavailable, "etcdserver: request timed out, leader transfer took too long")
        case .badTransferTarget: self.init(.failedPrecondition, "etcdserver: bad leader transferee")
        case .disk:
            self.init(.unavailable, "weft: this member cannot read its disk, and its log says why; ask another member")
        case .damaged:
            self.init(
                .unavailable,
                "weft: this member found what was asked for damaged, and its log says more; ask another member")
        }
    }

    init(_ end: WatchEnd) {
        switch end {
        case .stopping: self.init(ServerError.stopping)
        case .noLeader: self.init(ServerError.noLeader)
        case .witness: self.init(ServerError.witness)
        }
    }

    init(_ refusal: MVCCError) {
        switch refusal {
        case .keyNotFound: self.init(.invalidArgument, "etcdserver: key not found")
        case .leaseNotFound: self.init(.notFound, "etcdserver: requested lease not found")
        case .leaseExists: self.init(.failedPrecondition, "etcdserver: lease already exists")
        case .leaseTooLong: self.init(.outOfRange, "etcdserver: too large lease TTL")
        case .compacted: self.init(.outOfRange, "etcdserver: mvcc: required revision has been compacted")
        case .futureRevision: self.init(.outOfRange, "etcdserver: mvcc: required revision is a future revision")
        case .emptyKey: self.init(.invalidArgument, "etcdserver: key is not provided")
        case .valueProvided: self.init(.invalidArgument, "etcdserver: value is provided")
        case .leaseProvided: self.init(.invalidArgument, "etcdserver: lease is provided")
        case .tooManyOperations: self.init(.invalidArgument, "etcdserver: too many operations in txn request")
        case .tooManyRows:
            self.init(
                .resourceExhausted,
                "weft: a txn that writes may compare and read 100,000 keys in all; read them before, and compare single keys"
            )
        case .duplicateKey: self.init(.invalidArgument, "etcdserver: duplicate key given in txn request")
        case .answerTooLarge:
            self.init(
                .resourceExhausted, "weft: the answer would be over 256 MiB; ask for less with limit or keys_only")
        case .noMemory:
            self.init(
                .resourceExhausted,
                "weft: answers take all the memory that they may (--memory-budget); ask for less at once, or later")
        case .answerTooLargeButDone:
            self.init(.resourceExhausted, "weft: the request was carried out, but its answer would be over 256 MiB")
        case .fabric(let refusal): self.init(.failedPrecondition, "\(refusal)")
        case .access(let refusal): self.init(refusal)
        case .noSpace: self.init(.resourceExhausted, "etcdserver: mvcc: database space exceeded")
        case .corrupt: self.init(.dataLoss, "etcdserver: corrupt cluster")
        case .unreadable:
            self.init(.invalidArgument, "weft: the command is not well formed")
        case .needsVersion(let version):
            self.init(
                .failedPrecondition,
                "weft: this needs version \(version) of the fabric: run `weft upgrade finish` once all members run this release"
            )
        case .leaseInTheWay(let id):
            self.init(
                .failedPrecondition,
                "weft: lease \(id) has an id that the next version gives to nodes; revoke it, or wait until it ends")
        case .membersLag(let ids):
            let names = ids.map { String($0, radix: 16) }.joined(separator: ", ")
            self.init(
                .failedPrecondition,
                "weft: these members run an earlier release, or have not said what they run: \(names); upgrade or remove them first"
            )
        }
    }

    private init(_ refusal: ChangeRefusal) {
        switch refusal {
        case .memberExists: self.init(.failedPrecondition, "etcdserver: member ID already exist")
        case .peerURLExists: self.init(.failedPrecondition, "etcdserver: Peer URLs already exists")
        case .memberNotFound: self.init(.notFound, "etcdserver: member not found")
        case .notLearner: self.init(.failedPrecondition, "etcdserver: can only promote a learner member")
        case .learnerNotCaughtUp:
            self.init(
                .failedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader")
        case .lastVoter, .unhealthy:
            self.init(
                .failedPrecondition, "etcdserver: re-configuration failed due to not enough started members")
        case .memberBehind:
            self.init(
                .failedPrecondition,
                "weft: another member has not caught up, and what it lacks is on no witness; start it, or remove it first"
            )
        case .notReady: self.init(.unavailable, "etcdserver: another change of the membership is under way")
        case .notLeader: self.init(.failedPrecondition, "etcdserver: not leader")
        }
    }

    init(_ refusal: AccessRefusal) {
        switch refusal {
        case .emptyUserName, .emptyRoleName, .invalid, .noPermission, .oldRevision, .wrongPassword, .passwordWithZero:
            self.init(.invalidArgument, refusal.message)
        case .denied: self.init(.permissionDenied, refusal.message)
        case .invalidToken, .noCertificate, .badJoinToken: self.init(.unauthenticated, refusal.message)
        case .noPasswordUser, .passwordTooLong: self.init(.unknown, refusal.message)
        case .noJoinToken, .noEnrolment, .noAuthority: self.init(.notFound, refusal.message)
        case .tooManyAttempts, .tooManyTokens, .tooManyEnrolments:
            self.init(.resourceExhausted, refusal.message)
        case .noBcrypt, .cannotIssue, .notEnabled, .noRootUser, .noRootRole, .userExists, .noUser, .roleExists, .noRole,
            .roleNotGranted, .permissionNotGranted, .authorityExists, .otherAuthority, .lastAuthority,
            .noAuthorityAtAll, .noAuthorityHere, .cannotSign, .revokedKey, .anotherKey, .rotationUnderWay, .noRotation,
            .authorityInUse,
            .tooEarly:
            self.init(.failedPrecondition, refusal.message)
        }
    }

    /// The answer for a path that OpenAPI does not list.
    static func nothing(at path: some StringProtocol) -> APIError {
        APIError(.notFound, "there is nothing at \(path); see \(OpenAPI.path)")
    }

    /// As Go's gRPC prints it: why a watch was not created is told so.
    var grpcText: String { "rpc error: code = \(code.name) desc = \(message)" }

    var status: HTTPResponseStatus {
        switch code {
        case .invalidArgument, .failedPrecondition, .outOfRange: .badRequest
        case .deadlineExceeded: .gatewayTimeout
        case .permissionDenied: .forbidden
        case .unauthenticated: .unauthorized
        case .notFound: .notFound
        case .alreadyExists: .conflict
        case .resourceExhausted: .tooManyRequests
        case .unimplemented: .notImplemented
        case .unavailable: .serviceUnavailable
        case .cancelled: .init(statusCode: 499, reasonPhrase: "Client Closed Request")
        case .unknown, .internal, .dataLoss: .internalServerError
        }
    }
}
