internal import Access
internal import JSON
internal import MVCC

// The Auth service in the gateway's JSON.

extension GatewayObject {
    fileprivate func name(_ field: String = "name") throws(APIError) -> [UInt8] { Array((try text(field) ?? "").utf8) }
}

extension Auth.Status: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ status: Report, _: ResponseHeader, to json: inout JSONWriter) {
        json.field("enabled", status.isEnabled)
        json.field("authRevision", status.revision)
    }
}

extension Auth.Authenticate: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name(), password: try request.name("password"))
    }

    static func write(_ token: String, _: ResponseHeader, to json: inout JSONWriter) { json.field("token", token) }
}

extension Auth.Enable: HeadedGatewayOperation {
    init(_: GatewayObject) {}
}

extension Auth.Disable: HeadedGatewayOperation {
    init(_: GatewayObject) {}
}

// MARK: - Users

extension Auth.AddUser: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        let hasNone = try request.object("options")?.bool("no_password") ?? false
        self.init(name: try request.name(), password: hasNone ? nil : try request.name("password"))
    }
}

extension Auth.GetUser: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name())
    }

    static func write(_ roles: [[UInt8]], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("roles", roles.texts) { $0.string($1) }
    }
}

extension Auth.ListUsers: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ users: [[UInt8]], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("users", users.texts) { $0.string($1) }
    }
}

extension Auth.DeleteUser: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name())
    }
}

extension Auth.ChangePassword: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(
            name: try request.name(), password: try request.name("password"),
            hash: try request.text("hashedPassword") ?? "")
    }
}

extension Auth.GrantRole: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(user: try request.name("user"), role: try request.name("role"))
    }
}

extension Auth.RevokeRole: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(user: try request.name(), role: try request.name("role"))
    }
}

// MARK: - Roles

extension Auth.AddRole: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name())
    }
}

extension Auth.GetRole: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name("role"))
    }

    static func write(_ permissions: [Permission], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("perm", permissions) { json, permission in
            json.object { json in
                switch permission.kind {
                case 0: break
                case 1, 2: json.field("permType", Permission.kinds[Int(permission.kind)])
                default:
                    json.name("permType")
                    json.number(permission.kind)
                }
                json.field("key", permission.key)
                json.field("range_end", permission.end)
            }
        }
    }
}

extension Auth.ListRoles: HeadedGatewayOperation {
    init(_: GatewayObject) {}

    static func write(_ roles: [[UInt8]], _: ResponseHeader, to json: inout JSONWriter) {
        json.field("roles", roles.texts) { $0.string($1) }
    }
}

extension Auth.DeleteRole: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(name: try request.name("role"))
    }
}

extension Auth.GrantPermission: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        let permission = try request.object("perm")
        self.init(role: try request.name(), permission: try permission.map(Permission.init))
    }
}

extension Permission {
    /// As etcd names them, by number.
    fileprivate static let kinds = ["READ", "WRITE", "READWRITE"]

    fileprivate init(_ request: GatewayObject) throws(APIError) {
        self.init(
            kind: try request.openChoice("permType", Self.kinds), key: try request.bytes("key"),
            end: try request.bytes("range_end"))
    }
}

extension Auth.RevokePermission: HeadedGatewayOperation {
    init(_ request: GatewayObject) throws(APIError) {
        self.init(role: try request.name("role"), key: try request.bytes("key"), end: try request.bytes("range_end"))
    }
}
