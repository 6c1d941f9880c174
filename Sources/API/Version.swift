/// What this build answers for.
package enum Version {
    package static let weft = "0.2.0-dev"
    /// The etcd whose API this is.
    package static let etcd = "3.6.14"
    package static let etcdCluster = "3.6.0"
}
