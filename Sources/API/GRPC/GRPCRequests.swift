internal import EtcdProto
internal import MVCC
internal import Replication
internal import SwiftProtobuf

/// The messages of gRPC's requests, for those who want to see what becomes of odd ones.
package enum GRPCRequests {
    /// Reads `bytes` as each kind of request that is turned into something else. Answers how many kinds it can be.
    package static func decode(_ bytes: [UInt8]) -> Int {
        var kinds = 0
        if let range = try? Etcdserverpb_RangeRequest(serializedBytes: bytes), (try? RangeRequest(range)) != nil {
            kinds += 1
        }
        if let put = try? Etcdserverpb_PutRequest(serializedBytes: bytes) {
            _ = PutRequest(put)
            kinds += 1
        }
        if let txn = try? Etcdserverpb_TxnRequest(serializedBytes: bytes), (try? TxnRequest(txn)) != nil { kinds += 1 }
        if let watch = try? Etcdserverpb_WatchCreateRequest(serializedBytes: bytes) {
            _ = WatchRequest(watch)
            kinds += 1
        }
        return kinds
    }
}
