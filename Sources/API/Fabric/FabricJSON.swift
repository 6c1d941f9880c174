internal import Fabric
internal import JSON
internal import Schedules

/// The fabric's records as JSON: camel case, numbers as numbers, times as RFC 3339, states as operators know them.
extension JSONWriter {
    private mutating func pair(_ name: StaticString, _ value: String) {
        self.name(name)
        string(value)
    }

    private mutating func pair(_ name: StaticString, _ value: some BinaryInteger) {
        self.name(name)
        number(value)
    }

    private mutating func pair(_ name: StaticString, _ value: Bool) {
        self.name(name)
        bool(value)
    }

    private mutating func labels(_ labels: Labels) {
        name("labels")
        object { json in
            for (name, value) in labels.entries {
                json.name(name)
                json.string(value)
            }
        }
    }

    mutating func mark(_ mark: RecordMark) {
        pair("createdAt", timestamp(mark.createdAt))
        pair("revision", mark.modRevision)
    }

    private mutating func trace(_ trace: Trace) {
        pair("at", timestamp(trace.at))
        pair("by", trace.by)
        pair("reason", trace.reason)
    }

    mutating func domain(_ domain: Domain, _ summary: FabricState.DomainSummary?) {
        object { json in
            json.pair("name", domain.name)
            json.pair("kind", "\(domain.kind)")
            json.pair("state", domain.isActive ? "Active" : "Inactive")
            json.pair("epoch", domain.epoch)
            json.labels(domain.labels)
            json.name("lastChange")
            json.object { $0.trace(domain.lastChange) }
            if let summary {
                json.pair("sync", domain.kind == .witness ? "Unknown" : summary.sync.text)
                json.pair("nodes", summary.nodes)
                json.pair("onlineNodes", summary.onlineNodes)
                json.pair("capacityBytes", summary.capacityBytes)
                json.pair("allocatedBytes", summary.allocatedBytes)
                json.name("replicas")
                json.object { json in
                    json.pair("current", summary.current)
                    json.pair("stale", summary.stale)
                    json.pair("resyncing", summary.resyncing)
                }
            }
            json.mark(domain.mark)
        }
    }

    mutating func node(_ node: Node, _ fabric: FabricState) {
        let usage = fabric.usage(of: node.name)
        object { json in
            json.pair("name", node.name)
            json.pair("domain", node.domain)
            json.pair("state", node.state)
            json.pair("cordoned", node.isCordoned)
            json.labels(node.labels)
            json.name("pools")
            json.array(node.pools) { json, pool in
                json.object { json in
                    json.pair("name", pool.name)
                    json.pair("capacityBytes", pool.capacityBytes)
                    json.pair("allocatedBytes", usage.allocatedBytes(in: pool.name))
                    json.labels(pool.labels)
                }
            }
            json.pair("capacityBytes", node.capacityBytes)
            json.pair("allocatedBytes", fabric.allocatedBytes(on: node))
            json.name("addresses")
            json.array(node.addresses) { $0.string($1) }
            json.pair("volumes", usage.volumeCount)
            json.pair("resyncing", usage.resyncing)
            json.pair("ttlSeconds", node.ttl)
            if node.isOnline { json.pair("leaseID", String(node.lease)) }
            json.pair("since", timestamp(node.changedAt))
            json.mark(node.mark)
        }
    }

    mutating func volume(_ volume: Volume, _ fabric: FabricState) {
        object { json in
            json.pair("id", volume.idText)
            json.pair("name", volume.name)
            json.pair("sizeBytes", volume.sizeBytes)
            json.pair("replication", volume.replication)
            json.pair("state", volume.state.text)
            json.labels(volume.labels)
            json.name("replicas")
            json.array(volume.replicas) { json, replica in
                json.object { json in
                    json.pair("node", replica.node)
                    json.pair("domain", fabric.node(replica.node)?.domain ?? "")
                    json.pair("pool", replica.pool)
                    json.pair("state", replica.state.text)
                    json.pair("available", fabric.isAvailable(replica.node))
                    json.pair("generation", replica.generation)
                    json.pair("since", timestamp(replica.since))
                }
            }
            if let attachment = volume.attachment {
                json.name("attachment")
                json.object { json in
                    json.pair("node", attachment.node)
                    json.pair("token", attachment.token)
                    json.pair("at", timestamp(attachment.at))
                }
            }
            json.pair("fencingToken", volume.lastToken)
            json.mark(volume.mark)
        }
    }

    mutating func event(_ event: AuditEvent) {
        object { json in
            json.pair("number", event.number)
            json.trace(event.trace)
            json.pair("kind", event.kind.name)
            json.pair("name", event.name)
            json.pair("what", event.what)
            json.pair("revision", event.mark.modRevision)
        }
    }

    mutating func verdict(_ verdict: FabricState.Verdict) {
        object { json in
            json.pair("node", verdict.node)
            json.pair("domain", verdict.domain)
            json.pair("chosen", verdict.isChosen)
            json.pair("sameDomain", verdict.neighbours.domain)
            json.pair("sameZone", verdict.neighbours.zone)
            json.pair("sameRack", verdict.neighbours.rack)
            json.pair("freeBytes", verdict.freeBytes)
            if let objection = verdict.objection { json.pair("objection", objection) }
        }
    }

    mutating func summary(_ fabric: FabricState) {
        let volumes = fabric.volumeSummary()
        let nodes = Array(fabric.nodes)
        pair("revision", fabric.revision)
        name("nodes")
        object { json in
            json.pair("total", nodes.count)
            json.pair("online", nodes.count { $0.isOnline && !$0.isInMaintenance })
            json.pair("offline", nodes.count { !$0.isOnline })
            json.pair("inMaintenance", nodes.count { $0.isOnline && $0.isInMaintenance })
            json.pair("cordoned", nodes.count { $0.isCordoned })
            json.pair("capacityBytes", nodes.reduce(into: Int64(0)) { $0.add($1.capacityBytes) })
            json.pair("allocatedBytes", nodes.reduce(into: Int64(0)) { $0.add(fabric.allocatedBytes(on: $1)) })
        }
        name("volumes")
        object { json in
            json.pair("total", fabric.volumeCount)
            json.pair("up", volumes.up)
            json.pair("degraded", volumes.degraded)
            json.pair("down", volumes.down)
            json.pair("resyncing", volumes.resyncing)
        }
    }
}

extension FabricState.Sync {
    var text: String {
        switch self {
        case .inSync: "InSync"
        case .syncInProgress: "SyncInProgress"
        case .notInSync: "NotInSync"
        case .unknown: "Unknown"
        }
    }
}

extension Volume.State {
    var text: String {
        switch self {
        case .up: "Up"
        case .degraded: "Degraded"
        case .down: "Down"
        }
    }
}

extension VolumeReplica.State {
    var text: String {
        switch self {
        case .current: "Current"
        case .stale: "Stale"
        case .resyncing: "Resyncing"
        }
    }

    init?(_ text: String) {
        guard let state = Self.allCases.first(where: { $0.text == text }) else { return nil }
        self = state
    }
}

extension Node {
    var state: String { !isOnline ? "Offline" : isInMaintenance ? "InMaintenance" : "Online" }
}

/// Milliseconds since 1970 in the form of RFC 3339, in UTC.
func timestamp(_ milliseconds: Int64) -> String {
    // Years 0 to 9999: the form knows no others, and what is stored may come from anywhere.
    let milliseconds = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
    let dayMilliseconds: Int64 = 86_400_000
    let inDay = (milliseconds % dayMilliseconds + dayMilliseconds) % dayMilliseconds
    let date = CivilDate(days: Int((milliseconds - inDay) / dayMilliseconds))
    func padded(_ value: some BinaryInteger, _ digits: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    let seconds = inDay / 1000
    return
        "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2))"
        + ":\(padded(seconds % 60, 2)).\(padded(inDay % 1000, 3))Z"
}
