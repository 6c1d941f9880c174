"""What the checks against etcd's ways share."""
import json
import time

from harness import b64
from wire import Ended

QUICK = ["--heartbeat-interval", "50", "--election-timeout", "500"]


def wait_for(holds, seconds=20):
    end = time.time() + seconds
    while not holds():
        if time.time() > end:
            return False
        time.sleep(0.02)
    return True


def refusal(wire, path, message=b"", headers=(), timeout=10):
    """gRPC's code and text of a unary call; (0, "") when it succeeds."""
    try:
        wire.call(path, message, headers, timeout)
        return 0, ""
    except Ended as ended:
        return ended.code, ended.text


def json_refusal(member, path, body):
    """HTTP status, code and text of a request to the gateway."""
    status, data, _ = member.connection().request("POST", path, json.dumps(body).encode())
    answer = json.loads(data)
    return (status, answer.get("code"), answer.get("message")) if status >= 400 else (status, 0, "")


def revision(member):
    return int(member.connection().call("/v3/kv/range", {"key": b64("x")})["header"]["revision"])
