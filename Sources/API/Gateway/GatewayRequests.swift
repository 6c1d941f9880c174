/// The bodies of the gateway's requests, for those who want to see what becomes of odd ones.
package enum GatewayRequests {
    /// Reads `body` as each kind of request. Answers how many kinds it can be.
    package static func decode(_ body: [UInt8]) -> Int {
        guard let object = try? GatewayObject(body: body) else { return 0 }
        var kinds = 0
        if (try? object.rangeRequest()) != nil { kinds += 1 }
        if (try? object.putRequest()) != nil { kinds += 1 }
        if (try? object.deleteRangeRequest()) != nil { kinds += 1 }
        if (try? object.txnRequest()) != nil { kinds += 1 }
        return kinds
    }
}
