internal import Access
internal import EtcdProto
internal import MVCC
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

// The Auth service over gRPC.

extension Auth.Status: GeneratedOperation {
    init(_: Etcdserverpb_AuthStatusRequest) {}

    static func response(_ answer: Answered<Report>) -> Etcdserverpb_AuthStatusResponse {
        var response = Etcdserverpb_AuthStatusResponse(answer.header)
        response.enabled = answer.body.isEnabled
        response.authRevision = answer.body.revision
        return response
    }
}

extension Auth.Authenticate: GeneratedOperation {
    init(_ request: Etcdserverpb_AuthenticateRequest) {
        self.init(name: Array(request.name.utf8), password: Array(request.password.utf8))
    }

    static func response(_ answer: Answered<String>) -> Etcdserverpb_AuthenticateResponse {
        var response = Etcdserverpb_AuthenticateResponse(answer.header)
        response.token = answer.body
        return response
    }
}

extension Auth.Enable: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthEnableResponse
    init(_: Etcdserverpb_AuthEnableRequest) {}
}

extension Auth.Disable: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthDisableResponse
    init(_: Etcdserverpb_AuthDisableRequest) {}
}

// MARK: - Users

extension Auth.AddUser: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthUserAddResponse

    init(_ request: Etcdserverpb_AuthUserAddRequest) {
        self.init(
            name: Array(request.name.utf8), password: request.options.noPassword ? nil : Array(request.password.utf8))
    }
}

extension Auth.GetUser: GeneratedOperation {
    init(_ request: Etcdserverpb_AuthUserGetRequest) {
        self.init(name: Array(request.name.utf8))
    }

    static func response(_ answer: Answered<[[UInt8]]>) -> Etcdserverpb_AuthUserGetResponse {
        var response = Etcdserverpb_AuthUserGetResponse(answer.header)
        response.roles = answer.body.texts
        return response
    }
}

extension Auth.ListUsers: GeneratedOperation {
    init(_: Etcdserverpb_AuthUserListRequest) {}

    static func response(_ answer: Answered<[[UInt8]]>) -> Etcdserverpb_AuthUserListResponse {
        var response = Etcdserverpb_AuthUserListResponse(answer.header)
        response.users = answer.body.texts
        return response
    }
}

extension Auth.DeleteUser: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthUserDeleteResponse

    init(_ request: Etcdserverpb_AuthUserDeleteRequest) {
        self.init(name: Array(request.name.utf8))
    }
}

extension Auth.ChangePassword: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthUserChangePasswordResponse

    init(_ request: Etcdserverpb_AuthUserChangePasswordRequest) {
        self.init(
            name: Array(request.name.utf8), password: Array(request.password.utf8), hash: request.hashedPassword)
    }
}

extension Auth.GrantRole: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthUserGrantRoleResponse

    init(_ request: Etcdserverpb_AuthUserGrantRoleRequest) {
        self.init(user: Array(request.user.utf8), role: Array(request.role.utf8))
    }
}

extension Auth.RevokeRole: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthUserRevokeRoleResponse

    init(_ request: Etcdserverpb_AuthUserRevokeRoleRequest) {
        self.init(user: Array(request.name.utf8), role: Array(request.role.utf8))
    }
}

// MARK: - Roles

extension Auth.AddRole: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthRoleAddResponse

    init(_ request: Etcdserverpb_AuthRoleAddRequest) {
        self.init(name: Array(request.name.utf8))
    }
}

extension Auth.GetRole: GeneratedOperation {
    init(_ request: Etcdserverpb_AuthRoleGetRequest) {
        self.init(name: Array(request.role.utf8))
    }

    static func response(_ answer: Answered<[Permission]>) -> Etcdserverpb_AuthRoleGetResponse {
        var response = Etcdserverpb_AuthRoleGetResponse(answer.header)
        response.perm = answer.body.map { permission in
            var message = Authpb_Permission()
            message.permType =
                Authpb_Permission.TypeEnum(rawValue: Int(permission.kind)) ?? .UNRECOGNIZED(Int(permission.kind))
            message.key = Data(permission.key)
            message.rangeEnd = Data(permission.end)
            return message
        }
        return response
    }
}

extension Auth.ListRoles: GeneratedOperation {
    init(_: Etcdserverpb_AuthRoleListRequest) {}

    static func response(_ answer: Answered<[[UInt8]]>) -> Etcdserverpb_AuthRoleListResponse {
        var response = Etcdserverpb_AuthRoleListResponse(answer.header)
        response.roles = answer.body.texts
        return response
    }
}

extension Auth.DeleteRole: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthRoleDeleteResponse

    init(_ request: Etcdserverpb_AuthRoleDeleteRequest) {
        self.init(name: Array(request.role.utf8))
    }
}

extension Auth.GrantPermission: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthRoleGrantPermissionResponse

    init(_ request: Etcdserverpb_AuthRoleGrantPermissionRequest) {
        self.init(role: Array(request.name.utf8), permission: request.hasPerm ? Permission(request.perm) : nil)
    }
}

extension Permission {
    fileprivate init(_ message: Authpb_Permission) {
        self.init(
            kind: Int32(truncatingIfNeeded: message.permType.rawValue), key: Array(message.key),
            end: Array(message.rangeEnd))
    }
}

extension Auth.RevokePermission: GeneratedOperation {
    typealias Response = Etcdserverpb_AuthRoleRevokePermissionResponse

    init(_ request: Etcdserverpb_AuthRoleRevokePermissionRequest) {
        self.init(role: Array(request.role.utf8), key: Array(request.key), end: Array(request.rangeEnd))
    }
}

extension [[UInt8]] {
    /// Names as clients read them.
    var texts: [String] { map { String(decoding: $0, as: UTF8.self) } }
}
