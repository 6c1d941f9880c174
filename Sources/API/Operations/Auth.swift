/// etcd's Auth service as it answers while there is no user and no role: weft has none yet.
enum Auth {
    struct Status: Operation {
        /// The auth revision.
        func run(at desk: Desk) async throws(APIError) -> Answered<UInt64> { desk.answered(1) }
    }

    struct ListUsers: Operation {
        func run(at desk: Desk) async throws(APIError) -> Answered<Void> { desk.answered(()) }
    }

    struct ListRoles: Operation {
        func run(at desk: Desk) async throws(APIError) -> Answered<Void> { desk.answered(()) }
    }

    struct Disable: Operation {
        func run(at desk: Desk) async throws(APIError) -> Answered<Void> { desk.answered(()) }
    }

    /// What needs a user or a role.
    enum Refused: String, CaseIterable {
        case enable = "AuthEnable"
        case authenticate = "Authenticate"
        case userAdd = "UserAdd"
        case userGet = "UserGet"
        case userDelete = "UserDelete"
        case userChangePassword = "UserChangePassword"
        case userGrantRole = "UserGrantRole"
        case userRevokeRole = "UserRevokeRole"
        case roleAdd = "RoleAdd"
        case roleGet = "RoleGet"
        case roleDelete = "RoleDelete"
        case roleGrantPermission = "RoleGrantPermission"
        case roleRevokePermission = "RoleRevokePermission"

        var error: APIError {
            switch self {
            case .enable: APIError(.failedPrecondition, "etcdserver: root user does not exist")
            case .authenticate: APIError(.failedPrecondition, "etcdserver: authentication is not enabled")
            case .userGet, .userDelete, .userChangePassword, .userGrantRole, .userRevokeRole:
                APIError(.failedPrecondition, "etcdserver: user name not found")
            case .roleGet, .roleDelete, .roleGrantPermission, .roleRevokePermission:
                APIError(.failedPrecondition, "etcdserver: role name not found")
            case .userAdd, .roleAdd: APIError(.unimplemented, "weft: users and roles are not there yet")
            }
        }
    }
}
