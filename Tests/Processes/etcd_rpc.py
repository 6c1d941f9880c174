"""etcd's gRPC API for tests that look at single messages: grpcio, and message types made from the table below.

The types of the package etcd3 are from before watch ids, fragments, progress requests, locks and elections. Enumerations
are plain numbers here. What a test does not use is left out.
"""
import re

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# As in etcd's rpc.proto, kv.proto, v3lock.proto and v3election.proto, a message a line.
MESSAGES = """
ResponseHeader          uint64 cluster_id=1, uint64 member_id=2, int64 revision=3, uint64 raft_term=4
KeyValue                bytes key=1, int64 create_revision=2, int64 mod_revision=3, int64 version=4, bytes value=5, int64 lease=6
Event                   int32 type=1, KeyValue kv=2, KeyValue prev_kv=3
RangeRequest            bytes key=1, bytes range_end=2, int64 limit=3, int64 revision=4, bool serializable=7
RangeResponse           ResponseHeader header=1, repeated KeyValue kvs=2, bool more=3, int64 count=4
PutRequest              bytes key=1, bytes value=2, int64 lease=3, bool prev_kv=4
PutResponse             ResponseHeader header=1, KeyValue prev_kv=2
DeleteRangeRequest      bytes key=1, bytes range_end=2, bool prev_kv=3
DeleteRangeResponse     ResponseHeader header=1, int64 deleted=2, repeated KeyValue prev_kvs=3
RequestOp               RangeRequest request_range=1, PutRequest request_put=2, DeleteRangeRequest request_delete_range=3
ResponseOp              RangeResponse response_range=1, PutResponse response_put=2, DeleteRangeResponse response_delete_range=3
Compare                 int32 result=1, int32 target=2, bytes key=3, int64 version=4, int64 create_revision=5, int64 mod_revision=6
TxnRequest              repeated Compare compare=1, repeated RequestOp success=2, repeated RequestOp failure=3
TxnResponse             ResponseHeader header=1, bool succeeded=2, repeated ResponseOp responses=3
CompactionRequest       int64 revision=1, bool physical=2
CompactionResponse      ResponseHeader header=1
WatchCreateRequest      bytes key=1, bytes range_end=2, int64 start_revision=3, bool progress_notify=4, repeated int32 filters=5, \
                        bool prev_kv=6, int64 watch_id=7, bool fragment=8
WatchCancelRequest      int64 watch_id=1
WatchProgressRequest
WatchRequest            WatchCreateRequest create_request=1, WatchCancelRequest cancel_request=2, \
                        WatchProgressRequest progress_request=3
WatchResponse           ResponseHeader header=1, int64 watch_id=2, bool created=3, bool canceled=4, int64 compact_revision=5, \
                        string cancel_reason=6, bool fragment=7, repeated Event events=11
LeaseGrantRequest       int64 TTL=1, int64 ID=2
LeaseGrantResponse      ResponseHeader header=1, int64 ID=2, int64 TTL=3, string error=4
LeaseRevokeRequest      int64 ID=1
LeaseRevokeResponse     ResponseHeader header=1
LeaseKeepAliveRequest   int64 ID=1
LeaseKeepAliveResponse  ResponseHeader header=1, int64 ID=2, int64 TTL=3
StatusRequest
StatusResponse          ResponseHeader header=1, string version=2, int64 dbSize=3, uint64 leader=4, uint64 raftIndex=5, uint64 raftTerm=6
LockRequest             bytes name=1, int64 lease=2
LockResponse            ResponseHeader header=1, bytes key=2
UnlockRequest           bytes key=1
UnlockResponse          ResponseHeader header=1
"""
PUT, DELETE = 0, 1
NOPUT, NODELETE = 0, 1
EQUAL, CREATE = 0, 1

_SCALARS = {name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
            for name in ("bytes", "string", "bool", "int32", "int64", "uint64")}


def _messages():
    file = descriptor_pb2.FileDescriptorProto(name="etcd_rpc.proto", package="etcd_rpc", syntax="proto3")
    for line in MESSAGES.strip().replace("\\\n", "").split("\n"):
        name, _, fields = line.partition(" ")
        message = file.message_type.add(name=name)
        for repeated, kind, field, number in re.findall(r"(repeated )?(\w+) (\w+)=(\d+)", fields):
            one = message.field.add(name=field, number=int(number))
            one.label = one.LABEL_REPEATED if repeated else one.LABEL_OPTIONAL
            if kind in _SCALARS:
                one.type = _SCALARS[kind]
            else:
                one.type, one.type_name = one.TYPE_MESSAGE, f".etcd_rpc.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"etcd_rpc.{message.name}"))
            for message in file.message_type}


globals().update(_messages())

_SERVICES = {"etcdserverpb.KV": ("Range", "Put", "DeleteRange", "Txn"), "etcdserverpb.Maintenance": ("Status",),
             "etcdserverpb.Lease": ("LeaseGrant", "LeaseRevoke"), "v3lockpb.Lock": ("Lock", "Unlock")}
_METHODS = {method: (f"/{service}/{method}", globals()[f"{method}Request"], globals()[f"{method}Response"])
            for service, methods in _SERVICES.items() for method in methods}
_METHODS["Compact"] = ("/etcdserverpb.KV/Compact", CompactionRequest, CompactionResponse)


class Connection:
    """One HTTP/2 connection of its own to one endpoint. Every unary method is there under its name: `Put(key=…, value=…)`,
    and waits for its answer; `start` does not."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.channel = grpc.insecure_channel(endpoint.split("://")[-1].rstrip("/"), options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 400), ("grpc.enable_retries", 0)])
        self.calls = {}
        for name, (path, _, response) in _METHODS.items():
            self.calls[name] = self.channel.unary_unary(path, lambda m: m.SerializeToString(), response.FromString)
        self.watch = self.channel.stream_stream("/etcdserverpb.Watch/Watch", lambda m: m.SerializeToString(),
                                                WatchResponse.FromString)
        self.keep = self.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive", lambda m: m.SerializeToString(),
                                               LeaseKeepAliveResponse.FromString)

    def __getattr__(self, name):
        if name not in _METHODS:
            raise AttributeError(name)

        def call(timeout=8, **fields):
            return self.calls[name](_METHODS[name][1](**fields), timeout)
        return call

    def start(self, method, /, timeout=None, **fields):
        return self.calls[method].future(_METHODS[method][1](**fields), timeout)

    def keep_alive(self, lease, timeout=2):
        """The time to live after one renewal, 0 when the lease is gone."""
        for answer in self.keep(iter([LeaseKeepAliveRequest(ID=lease)]), timeout):
            return answer.TTL
        return 0

    def close(self):
        self.channel.close()


def put(key, value, **fields):
    return RequestOp(request_put=PutRequest(key=key, value=value, **fields))


def delete(key, **fields):
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, **fields))


def end_of(prefix):
    """The key after all keys with this prefix, whose last byte is not 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
