/// Volumes: made, changed, attached, reported on, deleted.
extension FabricState {
    mutating func create(
        _ spec: VolumeSpec, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Volume {
        try FabricLimits.checkName("volume", spec.name)
        if case .id = VolumeReference(spec.name) {
            throw .invalid("a name cannot look like an id: \"\(spec.name)\"")
        }
        try FabricLimits.checkSize(spec.sizeBytes)
        try FabricLimits.checkReplication(spec.replication)
        try FabricLimits.check(spec.labels)
        let known = volume(.name(spec.name))
        try expect(expected, known, spec.name)
        if let known {
            throw .conflict("there is a volume \"\(spec.name)\" already: \(known.idText)")
        }
        guard volumeTable.count < FabricLimits.volumesMax else {
            throw .noSpace("there are \(FabricLimits.volumesMax) volumes, and may not be more")
        }
        let nodes = place(spec.replication, sizeBytes: spec.sizeBytes, beside: [])
        guard !nodes.isEmpty else { throw .noSpace(lackOfSpace(spec.sizeBytes)) }
        meta.lastVolume += 1
        var volume = Volume(
            id: meta.lastVolume, name: spec.name, sizeBytes: spec.sizeBytes, replication: spec.replication,
            labels: spec.labels)
        // Nothing is written yet: all have everything.
        volume.replicas = nodes.map { site in
            VolumeReplica(
                node: site.node, pool: site.pool, state: .current, generation: changeRevision, since: trace.at)
        }
        volume.lastToken = changeRevision
        volume = put(volume, trace)
        note(.volume, volume.name, "created on \(nodes.map(\.node).joined(separator: ", "))", trace)
        return volume
    }

    private func existing(_ reference: VolumeReference, _ expected: Int64?) throws(FabricRefusal) -> Volume {
        guard let volume = volume(reference) else { throw .notFound(.volume, reference.text) }
        try expect(expected, volume, reference.text)
        return volume
    }

    mutating func update(
        _ reference: VolumeReference, _ change: VolumeChange, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Volume {
        let known = try existing(reference, expected)
        var volume = known
        if let size = change.sizeBytes, size != known.sizeBytes {
            try FabricLimits.checkSize(size)
            try expectRoom(for: size - known.sizeBytes, more: known)
            volume.sizeBytes = size
        }
        if let replication = change.replication {
            try FabricLimits.checkReplication(replication)
            volume.replication = replication
        }
        if let labels = change.labels {
            try FabricLimits.check(labels)
            volume.labels = labels
        }
        guard volume != known else { return known }
        volume = put(volume, trace)
        if volume.sizeBytes != known.sizeBytes {
            note(.volume, volume.name, "resized to \(volume.sizeBytes) bytes", trace)
        }
        if volume.replication != known.replication {
            note(.volume, volume.name, "replication \(volume.replication)", trace)
        }
        return volume
    }

    private func expectRoom(for bytes: Int64, more volume: Volume) throws(FabricRefusal) {
        guard bytes > 0 else { return }
        for replica in volume.replicas {
            guard let free = standings[replica.node]?.freeBytes(in: replica.pool) else { continue }
            guard free >= bytes else {
                throw .noSpace("node \"\(replica.node)\" has \(free) bytes free, \(bytes) more are needed")
            }
        }
    }

    mutating func deleteVolume(
        _ reference: VolumeReference, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> FabricResult {
        let volume = try existing(reference, expected)
        if let attachment = volume.attachment, isAvailable(attachment.node) {
            throw .conflict("volume \"\(volume.name)\" is attached to \"\(attachment.node)\": detach it first")
        }
        if let application = applicationNames[volume.name] {
            throw .conflict(
                "volume \"\(volume.name)\" belongs to application \"\(application)\": take it out of that first")
        }
        remove(volume)
        note(.volume, volume.name, "deleted", trace)
        return .removed
    }

    // MARK: - Attachment

    mutating func attach(
        _ reference: VolumeReference, to node: String, force: Bool, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Volume {
        var volume = try existing(reference, expected)
        guard nodeTable[node] != nil else { throw .notFound(.node, node) }
        guard isAvailable(node) else {
            throw .conflict("node \"\(node)\" is offline, in maintenance or in an inactive domain")
        }
        guard volume.state != .down else {
            throw .conflict("volume \"\(volume.name)\" is down: no replica that has everything is within reach")
        }
        if let holder = volume.attachment, holder.node != node, isAvailable(holder.node), !force {
            throw .conflict(
                "volume \"\(volume.name)\" is attached to \"\(holder.node)\": detach it there, or say force")
        }
        volume.lastToken = changeRevision
        volume.attachment = Attachment(node: node, token: volume.lastToken, at: trace.at)
        volume = put(volume, trace)
        note(.volume, volume.name, "attached to \(node), token \(volume.lastToken)", trace)
        return volume
    }

    mutating func detach(
        _ reference: VolumeReference, token: Int64, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Volume {
        var volume = try existing(reference, expected)
        guard let attachment = volume.attachment else { return volume }
        guard token == 0 || token == attachment.token else {
            throw .conflict("token \(token) is not the one that holds volume \"\(volume.name)\": \(attachment.token)")
        }
        volume.release(at: changeRevision)
        volume = put(volume, trace)
        note(.volume, volume.name, "detached from \(attachment.node)", trace)
        return volume
    }

    /// Whoever is attached there writes no more: whatever token it has.
    mutating func releaseAttachments(on nodes: [String], _ trace: Trace) {
        let held = volumeTable.rows().filter { volume in volume.attachment.map { nodes.contains($0.node) } ?? false }
        for var volume in held {
            volume.release(at: changeRevision)
            put(volume, trace)
        }
    }

    // MARK: - Reports

    /// What a node says of a replica: that it has everything now, or that it missed something.
    mutating func report(
        _ reference: VolumeReference, on node: String, _ state: VolumeReplica.State, generation: Int64,
        _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Volume {
        var volume = try existing(reference, expected)
        guard let place = volume.place(of: node) else {
            throw .conflict("volume \"\(volume.name)\" has no replica on \"\(node)\"")
        }
        let replica = volume.replicas[place]
        guard generation == replica.generation else {
            throw .conflict(
                "generation \(generation) is over: the replica of \"\(volume.name)\" on \"\(node)\" is at \(replica.generation)"
            )
        }
        guard state != replica.state else { return volume }
        switch state {
        case .current:
            guard replica.state == .resyncing else {
                throw .conflict(
                    "the replica of \"\(volume.name)\" on \"\(node)\" is \(replica.state), not being resynced")
            }
            guard isAvailable(node) else { throw .conflict("node \"\(node)\" is not available") }
            volume.replicas[place].state = .current
            volume.replicas[place].since = trace.at
            volume = settled(volume, trace)
        case .stale:
            let others = volume.replicas.contains { $0.node != node && $0.state == .current && isAvailable($0.node) }
            guard others || replica.state != .current else {
                throw .conflict("it is the only replica of \"\(volume.name)\" that has everything")
            }
            volume.replicas[place].become(.stale, at: changeRevision, trace)
        case .resyncing: throw .conflict("the fabric says when a replica is resynced")
        }
        volume = put(volume, trace)
        note(.volume, volume.name, "replica \(state) on \(node)", trace)
        return volume
    }
}

extension Volume {
    mutating func release(at revision: Int64) {
        attachment = nil
        lastToken = revision
    }
}
