/// After the loss of most members.
extension FabricState {
    /// More than can have been given out since by those who are lost.
    private static let leap: Int64 = 1_000_000

    /// Goes on from these records, which may lack the newest, or all: the revision, and with it epochs, tokens, generations and
    /// numbers, rise beyond what others may have seen, and attachments end, for nobody knows who holds what. Answers how many
    /// records it changed.
    mutating func recover(_ trace: Trace) -> Int {
        meta.revision += Self.leap
        for var domain in Array(domainTable.rows()) {
            domain.epoch += Self.leap
            domain.lastChange = trace
            put(domain, trace)
        }
        for var volume in Array(volumeTable.rows()) {
            volume.release(at: changeRevision)
            for place in volume.replicas.indices { volume.replicas[place].generation = changeRevision }
            put(volume, trace)
        }
        suspendPairs(trace)
        meta.lastVolume += Self.leap
        meta.lastLease += Self.leap
        note(.meta, "fabric", "recovered: epochs and tokens leap, attachments end", trace)
        return domainTable.count + volumeTable.count
    }
}
