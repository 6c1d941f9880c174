internal import HTTPServer
internal import JSON
internal import NIOHTTP1

/// What is answered beside etcd's API, for tools: OpenAPI 3.1, served at `/openapi.json`. `PlainRoutes` answers nothing else.
enum OpenAPI {
    static let path: Substring = "/openapi.json"

    struct Operation {
        var method: String
        var path: String
        var summary: String
        var query: [String] = []
        /// Names of schemas; nil is no body.
        var request: String?
        var response = "Changed"
        var created = false
        /// What of the body is no JSON.
        var media: Media?
    }

    enum Media: String {
        case bytes = "application/octet-stream"
        case text = "text/plain"
    }

    private static let listing = ["serializable", "watch", "revision"]

    static let operations: [Operation] = plain + members + fabric

    private static let plain: [Operation] = [
        Operation(method: "get", path: "/", summary: "How to begin.", media: .text),
        Operation(
            method: "get", path: "/version", summary: "Versions of etcd's API and of weft.", response: "Versions"),
        Operation(
            method: "get", path: "/health", summary: "If this member can serve; anybody may ask.",
            query: ["serializable", "exclude"], response: "Health"),
        Operation(
            method: "get", path: "/livez", summary: "Kubernetes' probe.", query: ["exclude", "verbose"], media: .text),
        Operation(method: "get", path: "/livez/{check}", summary: "One of its checks.", media: .text),
        Operation(
            method: "get", path: "/readyz", summary: "Kubernetes' probe.", query: ["exclude", "verbose"], media: .text),
        Operation(method: "get", path: "/readyz/{check}", summary: "One of its checks.", media: .text),
        Operation(method: "get", path: "/metrics", summary: "Figures for Prometheus.", media: .text),
        Operation(method: "get", path: "/openapi.json", summary: "This description.", response: "Nothing"),
        Operation(
            method: "get", path: "/v1/kv/{key}",
            summary: "A key's value as it is; with prefix, a list; with watch, changes.",
            query: ["prefix", "keys", "limit", "after", "revision", "serializable", "watch"], media: .bytes),
        Operation(method: "head", path: "/v1/kv/{key}", summary: "The same without the value.", media: .bytes),
        Operation(
            method: "put", path: "/v1/kv/{key}", summary: "Store a value as it is.", created: true, media: .bytes),
        Operation(
            method: "delete", path: "/v1/kv/{key}", summary: "Delete a key, or all with a prefix.", query: ["prefix"]),
        Operation(method: "get", path: "/v1/snapshot", summary: "A backup.", media: .bytes),
    ]

    private static let members: [Operation] = [
        Operation(method: "get", path: "/v1/members", summary: "The members.", response: "Members"),
        Operation(
            method: "post", path: "/v1/members", summary: "Add a member; it begins without a vote.",
            request: "MemberSpec", response: "Members", created: true),
        Operation(
            method: "patch", path: "/v1/members/{id}", summary: "Change a member's domain or priority.",
            request: "MemberChange", response: "Members"),
        Operation(
            method: "post", path: "/v1/members/{id}/replace", summary: "Give its vote to another, in one step.",
            request: "Replacement", response: "Members"),
        Operation(method: "get", path: "/v1/upgrade", summary: "What members run.", response: "Releases"),
        Operation(
            method: "post", path: "/v1/upgrade/finish",
            summary: "Raise the fabric's version: the last step of an upgrade.",
            response: "Releases"),
    ]

    private static let fabric: [Operation] = [
        Operation(
            method: "get", path: "/v1/fabric/domains", summary: "List the domains; with watch, their changes.",
            query: listing, response: "Domains"),
        Operation(
            method: "get", path: "/v1/fabric/domains/{name}", summary: "A domain.", query: listing, response: "Domain"),
        Operation(
            method: "put", path: "/v1/fabric/domains/{name}", summary: "Make a domain, or change its labels and kind.",
            request: "DomainSpec", response: "Domain", created: true),
        Operation(
            method: "delete", path: "/v1/fabric/domains/{name}", summary: "Forget a domain without nodes and members."),
        Operation(
            method: "post", path: "/v1/fabric/domains/{name}/activate", summary: "Take a domain into use again.",
            request: "Reason", response: "Domain"),
        Operation(
            method: "post", path: "/v1/fabric/domains/{name}/deactivate",
            summary: "Take a domain out of use: its replicas are stale, its attachments end.", request: "Deactivation",
            response: "Domain"),
        Operation(
            method: "get", path: "/v1/fabric/domains/{name}/preflight",
            summary: "What would happen if the domain vanished now.", response: "Preflight"),
        Operation(
            method: "get", path: "/v1/fabric/nodes", summary: "List the nodes; with watch, their changes.",
            query: listing + ["domain"], response: "Nodes"),
        Operation(method: "get", path: "/v1/fabric/nodes/{name}", summary: "A node.", query: listing, response: "Node"),
        Operation(
            method: "put", path: "/v1/fabric/nodes/{name}",
            summary: "Register a node, or change what it offers; it is online for ttlSeconds.", request: "NodeSpec",
            response: "Node", created: true),
        Operation(method: "delete", path: "/v1/fabric/nodes/{name}", summary: "Forget a node that no volume needs."),
        Operation(
            method: "post", path: "/v1/fabric/nodes/{name}/heartbeat",
            summary: "The node is online for ttlSeconds more; 409 when it has to be registered again.",
            response: "Heartbeat"),
        Operation(
            method: "post", path: "/v1/fabric/nodes/{name}/cordon", summary: "Place no new replicas on it.",
            response: "Node"),
        Operation(
            method: "post", path: "/v1/fabric/nodes/{name}/uncordon", summary: "Place replicas on it again.",
            response: "Node"),
        Operation(
            method: "post", path: "/v1/fabric/nodes/{name}/enter-maintenance", summary: "Take its replicas out of use.",
            response: "Node"),
        Operation(
            method: "post", path: "/v1/fabric/nodes/{name}/exit-maintenance",
            summary: "Take them into use again, once resynced.", response: "Node"),
        Operation(
            method: "get", path: "/v1/fabric/volumes", summary: "List the volumes; with watch, their changes.",
            query: listing + ["domain", "node", "state", "limit", "after"], response: "Volumes"),
        Operation(
            method: "post", path: "/v1/fabric/volumes", summary: "Make a volume; the fabric places its replicas.",
            request: "VolumeSpec", response: "Volume", created: true),
        Operation(
            method: "get", path: "/v1/fabric/volumes/{name}", summary: "A volume, by name or id.", query: listing,
            response: "Volume"),
        Operation(
            method: "patch", path: "/v1/fabric/volumes/{name}", summary: "Change size, replication or labels.",
            request: "VolumeChange", response: "Volume"),
        Operation(
            method: "put", path: "/v1/fabric/volumes/{name}", summary: "The same as PATCH.", request: "VolumeChange",
            response: "Volume"),
        Operation(
            method: "delete", path: "/v1/fabric/volumes/{name}", summary: "Delete a volume that is not attached."),
        Operation(
            method: "get", path: "/v1/fabric/volumes/{name}/explain",
            summary: "How its replicas came where they are, and where a further one would go.", response: "Explanation"),
        Operation(
            method: "post", path: "/v1/fabric/volumes/{name}/attach",
            summary: "Attach it to one node; its token is higher than all before.", request: "Attach",
            response: "Volume"),
        Operation(
            method: "post", path: "/v1/fabric/volumes/{name}/detach", summary: "Detach it, if this token holds it.",
            request: "Detach", response: "Volume"),
        Operation(
            method: "put", path: "/v1/fabric/volumes/{name}/replicas/{node}",
            summary: "A node says that a replica it was told to resync has everything, or that one missed something.",
            request: "Report", response: "Volume"),
        Operation(
            method: "get", path: "/v1/fabric/schedule-policies",
            summary: "List the schedule policies; with watch, their changes.",
            query: listing, response: "Policies"),
        Operation(
            method: "get", path: "/v1/fabric/schedule-policies/{name}", summary: "A schedule policy.", query: listing,
            response: "Policy"),
        Operation(
            method: "put", path: "/v1/fabric/schedule-policies/{name}",
            summary: "Make or replace a policy: one of interval, daily, weekly and monthly.", request: "PolicySpec",
            response: "Policy", created: true),
        Operation(
            method: "delete", path: "/v1/fabric/schedule-policies/{name}", summary: "Forget a schedule policy."),
        Operation(
            method: "get", path: "/v1/fabric/schedule-policies/{name}/preview", summary: "What comes due next.",
            query: ["count", "after"], response: "Preview"),
        Operation(
            method: "get", path: "/v1/fabric/applications",
            summary: "List the applications; with watch, their changes.", query: listing, response: "Applications"),
        Operation(
            method: "get", path: "/v1/fabric/applications/{name}", summary: "An application.", query: listing,
            response: "Application"),
        Operation(
            method: "put", path: "/v1/fabric/applications/{name}",
            summary: "Make or replace an application: prefixes of keys, names of volumes.",
            request: "ApplicationSpec", response: "Application", created: true),
        Operation(
            method: "delete", path: "/v1/fabric/applications/{name}",
            summary: "Forget an application; its keys and volumes stay."),
        Operation(
            method: "get", path: "/v1/fabric/pairs",
            summary: "List the fabrics that this one is paired with; with watch, their changes.", query: listing,
            response: "Pairs"),
        Operation(
            method: "get", path: "/v1/fabric/pairs/{name}", summary: "A pair, and how it is.", query: listing,
            response: "Pair"),
        Operation(
            method: "put", path: "/v1/fabric/pairs/{name}",
            summary: "Pair this fabric with the one that made the token.",
            request: "PairWish", response: "Pair", created: true),
        Operation(
            method: "delete", path: "/v1/fabric/pairs/{name}",
            summary: "Believe the other fabric no more, and forget it; the other keeps its half."),
        Operation(
            method: "post", path: "/v1/fabric/pairs/{name}/suspend",
            summary: "Ask nothing of the other fabric, and answer it nothing.", response: "Pair"),
        Operation(
            method: "post", path: "/v1/fabric/pairs/{name}/resume", summary: "Go on with it.", response: "Pair"),
        Operation(
            method: "post", path: "/v1/fabric/pairs/{name}/verify", summary: "Reach the other fabric now.",
            response: "Pair"),
        Operation(
            method: "post", path: "/v1/fabric/pair-tokens",
            summary: "Make a token by which another fabric pairs itself with this one.", request: "PairTokenWish",
            response: "PairToken", created: true),
        Operation(
            method: "post", path: "/v1/pairing/accept", summary: "Another fabric shows a token for pairing.",
            request: "PairOffer", response: "PairGreeting"),
        Operation(
            method: "post", path: "/v1/pairing/contact", summary: "A paired fabric says that it is there.",
            request: "PairGreeting", response: "PairGreeting"),
        Operation(
            method: "get", path: "/v1/fabric/events", summary: "What happened, oldest first; with watch, what happens.",
            query: ["after", "limit", "watch", "revision"], response: "Events"),
        Operation(
            method: "get", path: "/v1/fabric/status", summary: "Members by domain, quorum, nodes, volumes, warnings.",
            response: "Status"),
        Operation(
            method: "get", path: "/v1/fabric/durability",
            summary: "In how many domains a write is on disk before it is acknowledged.", response: "Durability"),
        Operation(
            method: "put", path: "/v1/fabric/durability", summary: "Change that.", request: "Durability",
            response: "Durability"),
        Operation(
            method: "get", path: "/v1/fabric/lease-reads",
            summary: "If the leader answers linearizable reads by its lease, without asking the others.",
            response: "LeaseReads"),
        Operation(
            method: "put", path: "/v1/fabric/lease-reads",
            summary: "Change that; safe only where no machine's clock stands still while it runs on.",
            request: "LeaseReads", response: "LeaseReads"),
        Operation(
            method: "get", path: "/v1/ca", summary: "The fabric's own CAs; anybody may ask.", response: "Authorities"),
        Operation(
            method: "get", path: "/v1/ca/certificates", summary: "What the CA signed and is in use.",
            response: "Certificates"),
        Operation(
            method: "post", path: "/v1/ca/certificates", summary: "Have the CA sign for a client.",
            request: "CertificateWish", response: "Signed"),
        Operation(
            method: "delete", path: "/v1/ca/certificates/{id}", summary: "Take a client's certificate back.",
            response: "Nothing"),
        Operation(
            method: "post", path: "/v1/ca/renew",
            summary: "Have the CA sign again for the client that shows its certificate.",
            request: "Renewal", response: "Signed"),
        Operation(
            method: "post", path: "/v1/ca/login",
            summary: "With a user's token: a certificate of eight hours for the user.",
            request: "Renewal", response: "Signed"),
        Operation(
            method: "post", path: "/v1/ca/machine",
            summary: "By a member's own socket: a certificate of a few minutes for root of that machine.",
            request: "Renewal", response: "Signed"),
        Operation(
            method: "post", path: "/v1/ca/init",
            summary: "Make a CA for a fabric that has none; its members go over to TLS then.",
            response: "Nothing"),
        Operation(
            method: "post", path: "/v1/ca/rotate",
            summary:
                "Go over to a new CA: begin, then finish once nobody needs the old one; abandon one that nobody has.",
            request: "Rotation", response: "Nothing"),
        Operation(
            method: "post", path: "/v1/ca/enrol", summary: "Have the CA sign for a client with a join token.",
            request: "Enrolment", response: "Signed"),
        Operation(
            method: "post", path: "/v1/ca/join",
            summary: "Become a member with a join token; `weft join` does this and more.",
            request: "Joining", response: "Joined"),
        Operation(
            method: "get", path: "/v1/tokens", summary: "Join tokens, without their secrets.", response: "JoinTokens"),
        Operation(
            method: "post", path: "/v1/tokens", summary: "Make a join token.", request: "JoinTokenWish",
            response: "NewJoinToken", created: true),
        Operation(
            method: "delete", path: "/v1/tokens/{id}", summary: "Have a join token let nobody in any more.",
            response: "Nothing"),
        Operation(
            method: "get", path: "/v1/clusterdomains",
            summary: "Names of the data domains, as the OpenStorage SDK has it.", response: "ClusterDomains"),
        Operation(
            method: "get", path: "/v1/clusterdomains/inspect/{name}", summary: "If a domain is active.",
            response: "ClusterDomain"),
        Operation(
            method: "post", path: "/v1/clusterdomains/activate/{name}", summary: "Activate a domain.",
            response: "Nothing"),
        Operation(
            method: "post", path: "/v1/clusterdomains/deactivate/{name}", summary: "Deactivate a domain.",
            response: "Nothing"),
    ]

    /// Fields by schema: `name:type`, a type in brackets is a list of it, one with a capital is another schema; `!` is required.
    static let schemas: [(name: String, fields: String)] = [
        ("Versions", "etcdserver:string etcdcluster:string storage:string weft:string unixMilliseconds:integer"),
        ("Health", "health:string reason:string"),
        (
            "MemberEntry",
            "id:string name:string role:string domain:string priority:string peerURLs:[string] clientURLs:[string]"
        ), ("Members", "member:MemberEntry members:[MemberEntry]"),
        ("MemberSpec", "peerURLs!:[string] role:string replaces:string domain:string"),
        ("MemberChange", "domain:string priority:integer"), ("Replacement", "by!:string"),
        ("Release", "id:string name:string release:string newestVersion:integer"),
        ("Releases", "version:integer newestVersion:integer members:[Release]"),
        ("Labels", ""), ("Nothing", ""), ("Error", "error:string code:integer message:string"),
        ("Changed", "revision:integer"),
        ("Authority", "id:string until:time certificate:string"),
        ("Authorities", "fabric:string authorities:[Authority]"),
        ("Certificate", "id:string name:string role:string until:time authority:string"),
        ("Certificates", "members:[Certificate] clients:[Certificate]"),
        ("CertificateWish", "request!:string name!:string role:string ttlSeconds:integer"),
        ("Renewal", "request!:string"),
        ("Rotation", "step:string force:boolean"),
        ("Enrolment", "token!:string request!:string name!:string"),
        ("Signed", "id:string until:time certificate:string authorities:string"),
        (
            "Joining",
            "token!:string request!:string name!:string peerURLs!:[string] hosts:[string] domain:string member:string"
        ), ("JoinedMember", "id:string name:string peerURLs:[string]"),
        (
            "Joined",
            "id:string until:time certificate:string authorities:string fabric:string authority:string members:[JoinedMember]"
        ), ("JoinToken", "id:string role:string domain:string until:time uses:integer usesLeft:integer"),
        ("JoinTokens", "tokens:[JoinToken]"),
        ("JoinTokenWish", "role:string domain:string replaces:string ttlSeconds:integer uses:integer"),
        ("NewJoinToken", "token:string about:JoinToken"),
        ("DomainSpec", "kind:string labels:Labels"), ("Reason", "by:string reason:string"),
        ("Deactivation", "by:string reason:string force:boolean"),
        ("Trace", "at:time by:string reason:string"), ("Counts", "current:integer stale:integer resyncing:integer"),
        (
            "Domain",
            "name:string kind:string state:string sync:string epoch:integer labels:Labels lastChange:Trace nodes:integer onlineNodes:integer capacityBytes:integer allocatedBytes:integer replicas:Counts createdAt:time revision:integer"
        ), ("Domains", "revision:integer items:[Domain]"),
        (
            "Preflight",
            "domain:string quorumRemains:boolean quorumMargin:integer leaderGoesTo:string volumesDown:integer volumesDegraded:integer volumesAttached:integer firstVolumesDown:[string] warnings:[string]"
        ), ("Pool", "name!:string capacityBytes!:integer allocatedBytes:integer labels:Labels"),
        (
            "NodeSpec",
            "domain!:string capacityBytes:integer pools:[Pool] labels:Labels zone:string rack:string addresses:[string] ttlSeconds:integer"
        ),
        (
            "Node",
            "name:string domain:string state:string cordoned:boolean labels:Labels pools:[Pool] capacityBytes:integer allocatedBytes:integer addresses:[string] volumes:integer resyncing:integer ttlSeconds:integer leaseID:string since:time createdAt:time revision:integer"
        ), ("Nodes", "revision:integer items:[Node]"), ("Heartbeat", "ttlSeconds:integer"),
        ("VolumeSpec", "name!:string sizeBytes!:integer replication:integer labels:Labels"),
        ("VolumeChange", "sizeBytes:integer replication:integer labels:Labels"),
        (
            "Replica",
            "node:string domain:string pool:string state:string available:boolean generation:integer since:time"
        ),
        ("Attachment", "node:string token:integer at:time"),
        (
            "Volume",
            "id:string name:string sizeBytes:integer replication:integer state:string labels:Labels replicas:[Replica] attachment:Attachment fencingToken:integer createdAt:time revision:integer"
        ), ("Volumes", "revision:integer next:integer items:[Volume]"), ("Attach", "node!:string force:boolean"),
        ("Detach", "token:integer"), ("Report", "state!:string generation!:integer"),
        (
            "Verdict",
            "node:string domain:string chosen:boolean sameDomain:integer sameZone:integer sameRack:integer freeBytes:integer objection:string"
        ),
        ("Explanation", "volume:Volume events:[Event] next:[Verdict] anew:[array]"),
        (
            "Event",
            "number:integer at:time by:string reason:string kind:string name:string what:string revision:integer"
        ),
        ("Interval", "minutes!:integer anchor:time"), ("Daily", "time!:string"), ("Weekly", "day!:string time!:string"),
        ("Monthly", "date!:integer time!:string shortMonths:string"),
        (
            "PolicySpec",
            "interval:Interval daily:Daily weekly:Weekly monthly:Monthly timeZone:string retain:integer overlap:string catchUpSeconds:integer jitterSeconds:integer pauseOnFailure:boolean"
        ),
        (
            "Policy",
            "name:string interval:Interval daily:Daily weekly:Weekly monthly:Monthly timeZone:string retain:integer overlap:string catchUpSeconds:integer jitterSeconds:integer pauseOnFailure:boolean createdAt:time revision:integer"
        ), ("Policies", "revision:integer items:[Policy]"), ("Due", "at:time local:string"),
        ("Preview", "policy:string timeZone:string items:[Due]"),
        ("ApplicationSpec", "prefixes:[string] volumes:[string] rpoSeconds:integer"),
        (
            "Application",
            "name:string prefixes:[string] volumes:[string] rpoSeconds:integer epoch:integer createdAt:time revision:integer"
        ), ("Applications", "revision:integer items:[Application]"),
        (
            "Pair",
            "name:string fabric:string state:string reason:string endpoints:[string] reach:[string] lastContactAt:time clockSkewMillis:integer release:string version:integer remoteRevision:integer createdAt:time revision:integer"
        ), ("Pairs", "revision:integer items:[Pair]"), ("PairWish", "token!:string endpoints:[string] as:string"),
        ("PairTokenWish", "ttlSeconds:integer"), ("PairToken", "token:string id:string until:time"),
        (
            "PairGreeting",
            "fabric!:string authorities!:string bridges:string endpoints:[string] unixMilliseconds:integer release:string version:integer revision:integer believed:[string]"
        ),
        (
            "PairOffer",
            "token!:string name:string fabric!:string authorities!:string bridges:string endpoints:[string] unixMilliseconds:integer release:string version:integer revision:integer believed:[string]"
        ),
        ("Events", "revision:integer next:integer items:[Event]"), ("Durability", "domains!:integer"),
        ("LeaseReads", "on!:boolean"),
        ("Quorum", "holds:boolean margin:integer commitDomains:integer leaseReads:boolean"),
        (
            "Member",
            "id:string name:string domain:string role:string heardOf:boolean lagEntries:integer roundTripMicroseconds:integer"
        ),
        (
            "Status",
            "revision:integer nodes:object volumes:object quorum:Quorum members:[Member] domains:[Domain] warnings:[string]"
        ),
        ("ClusterDomains", "cluster_domain_names:[string]"),
        ("ClusterDomain", "cluster_domain_name:string is_active:boolean"),
    ]

    static func respond() -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.pair("openapi", "3.1.0")
            json.name("info")
            json.object { json in
                json.pair("title", "weft")
                json.pair("version", Version.weft)
            }
            json.name("paths")
            json.object { json in
                var paths: [String] = []
                for operation in operations where !paths.contains(operation.path) { paths.append(operation.path) }
                for path in paths {
                    json.name(path)
                    json.object { json in
                        for operation in operations where operation.path == path { write(operation, &json) }
                    }
                }
            }
            json.name("components")
            json.object { json in
                json.name("schemas")
                json.object { json in for schema in schemas { write(schema.name, schema.fields, &json) } }
            }
        }
        return .json(.ok, json)
    }

    private static func write(_ operation: Operation, _ json: inout JSONWriter) {
        json.name(operation.method)
        json.object { json in
            json.pair("summary", operation.summary)
            let inPath = operation.path.split(separator: "{").dropFirst().map { String($0.prefix { $0 != "}" }) }
            json.name("parameters")
            json.array(inPath.map { ("path", $0) } + operation.query.map { ("query", $0) }) { json, parameter in
                json.object { json in
                    json.pair("in", parameter.0)
                    json.pair("name", parameter.1)
                    json.name("required")
                    json.bool(parameter.0 == "path")
                    json.name("schema")
                    json.object { $0.pair("type", "string") }
                }
            }
            if operation.method == "put", let media = operation.media {
                json.name("requestBody")
                json.object { $0.content(of: media) }
            } else if let request = operation.request {
                json.name("requestBody")
                json.object { $0.content(request) }
            }
            json.name("responses")
            json.object { json in
                for status in operation.created ? ["200", "201"] : ["200"] {
                    json.name(status)
                    json.object { json in
                        json.pair("description", "done")
                        if let media = operation.media {
                            json.content(of: media)
                        } else {
                            json.content(operation.response)
                        }
                    }
                }
                json.name("default")
                json.object { json in
                    json.pair("description", "why not")
                    json.content("Error")
                }
            }
        }
    }

    private static func write(_ name: String, _ fields: String, _ json: inout JSONWriter) {
        let parts = fields.split(separator: " ").map { $0.split(separator: ":").map(String.init) }
        json.name(name)
        json.object { json in
            json.pair("type", "object")
            let required = parts.map { $0[0] }.filter { $0.hasSuffix("!") }.map { String($0.dropLast()) }
            json.field("required", required) { $0.string($1) }
            if name == "Labels" {
                json.name("additionalProperties")
                json.object { $0.pair("type", "string") }
            }
            json.name("properties")
            json.object { json in
                for part in parts {
                    json.name(part[0].hasSuffix("!") ? String(part[0].dropLast()) : part[0])
                    json.type(part[1])
                }
            }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func pair(_ name: StaticString, _ value: String) {
        self.name(name)
        string(value)
    }

    fileprivate mutating func content(_ schema: String) {
        name("content")
        object { json in
            json.name("application/json")
            json.object { json in
                json.name("schema")
                json.type(schema)
            }
        }
    }

    fileprivate mutating func content(of media: OpenAPI.Media) {
        name("content")
        object { json in
            json.name(media.rawValue)
            json.object { _ in }
        }
    }

    fileprivate mutating func type(_ text: String) {
        object { json in
            switch text {
            case _ where text.hasPrefix("["):
                json.pair("type", "array")
                json.name("items")
                json.type(String(text.dropFirst().dropLast()))
            case "time":
                json.pair("type", "string")
                json.pair("format", "date-time")
            case _ where text.first?.isUppercase == true: json.pair("$ref", "#/components/schemas/\(text)")
            default: json.pair("type", text)
            }
        }
    }
}
