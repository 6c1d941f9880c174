"""Browsers, odd HTTP and contradictory JSON at the client port.

    web.py WEFT [--only NAME]
"""
import json
import os
import socket
import stat
import time

from harness import Fabric, b64
from wire import (HEADERS, KV, Wire, frame, literal, main, one, put_request, range_request)

checks = []


def check(function):
    checks.append(function)
    return function


def exchange(port, data, seconds=3):
    """What comes back for raw bytes until the connection is closed, or nothing comes for that long."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as link:
        answer = b""
        try:
            link.sendall(data)
            while piece := link.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


def status_of(answer):
    """The status of the first answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def ask(member, method, path, body=b"", headers=None, host=None):
    """Status, body and headers of a request with these headers and no others; a list has pairs."""
    pairs = [("Host", host or f"127.0.0.1:{member.client_port}"), *(headers or {}).items()]
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in pairs)
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = exchange(member.client_port, head.encode() + body)
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    return status_of(answer), body, {pair[0].lower(): pair[1] for pair in fields if len(pair) == 2}


def has(member, key):
    return one(Wire(member.client_port).call(KV + "Range", range_request(key.encode())), 4) > 0


WRITES = [("the gateway's put", "POST", "/v3/kv/put", lambda key: json.dumps({"key": b64(key), "value": b64("v")})),
          ("the gateway's txn", "POST", "/v3/kv/txn", lambda key: json.dumps(
              {"success": [{"request_put": {"key": b64(key), "value": b64("v")}}]})),
          ("a plain put", "PUT", "/v1/kv/{}", lambda key: "v")]
CROSS = [("an Origin", {"Origin": "http://evil.example"}),
         ("an Origin of null", {"Origin": "null"}),
         ("an Origin of another port", {"Origin": "http://127.0.0.1:1"}),
         ("an Origin of another scheme", {"Origin": "https://127.0.0.1:{port}"}),
         ("Sec-Fetch-Site: cross-site", {"Sec-Fetch-Site": "cross-site"}),
         ("Sec-Fetch-Site: same-site", {"Sec-Fetch-Site": "same-site"}),
         ("Sec-Fetch-Site in other letters", {"sec-fetch-site": "Cross-Site"}),
         ("an Origin and a forged claim to be the same",
          {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"})]


@check
def a_page_of_another_site_cannot_write(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        for what, method, path, body in WRITES:
            for number, (how, headers) in enumerate(CROSS):
                key = f"web-{path.count('/')}-{path[-3:].strip('{}')}-{number}"
                headers = {name: value.format(port=member.client_port) for name, value in headers.items()}
                status, answer, _ = ask(member, method, path.format(key), body(key).encode(),
                                        {"Content-Type": "text/plain", **headers})
                report.check(f"{what} with {how} is refused and does nothing", status == 403 and not has(member, key),
                             (status, answer[:80]))


@check
def a_page_of_another_site_cannot_do_anything_else(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        member.connection().request("PUT", "/v1/kv/kept", b"v")
        cross = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
        for method, path, body in [
                ("DELETE", "/v1/kv/kept", b""), ("POST", "/v3/kv/deleterange",
                                                 json.dumps({"key": b64("kept")}).encode()),
                ("POST", "/v3/kv/range", json.dumps({"key": b64("kept")}).encode()), ("GET", "/v1/kv/kept", b""),
                ("GET", "/v1/kv/?prefix", b""), ("GET", "/v1/snapshot", b""), ("POST", "/v3/maintenance/snapshot", b""),
                ("POST", "/v3/lease/grant", b'{"TTL":60}'), ("POST", "/v3/maintenance/defragment", b"{}"),
                ("POST", "/v3/watch", json.dumps({"create_request": {"key": b64("kept")}}).encode()),
                ("POST", "/v3/cluster/member/add", b'{"peerURLs":["http://127.0.0.1:1"]}'),
                ("PUT", "/v1/fabric/nodes/n1", b'{"domain":"d","capacityBytes":1000}'),
                ("POST", "/v1/fabric/volumes", b'{"name":"v","sizeBytes":1}')]:
            status, answer, _ = ask(member, method, path, body, cross)
            report.check(f"a page of another site is refused {method} {path}", status == 403, (status, answer[:80]))
        report.check("nothing was deleted", has(member, "kept"))
        wire = Wire(member.client_port)
        status, body, _ = wire.request("POST", "/v3/kv/put", json.dumps({"key": b64("h2"), "value": ""}).encode(),
                                       [("origin", "http://evil.example")], authority=f"127.0.0.1:{member.client_port}")
        report.check("nor can it write over HTTP/2", status == 403 and not has(member, "h2"), (status, body[:80]))
        stream = wire.open(KV + "Put", [("origin", "http://evil.example")])
        stream.send(put_request(b"grpc", b"v"), end=True)
        end = stream.ended()
        report.check("nor over gRPC", not has(member, "grpc"), (end, stream.head))


@check
def a_name_that_was_bound_to_this_address_is_refused(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        name = f"rebind.example:{member.client_port}"
        for how, headers in [("Origin", {"Origin": f"http://{name}"}),
                             ("Sec-Fetch-Site", {"Sec-Fetch-Site": "same-origin"}),
                             ("both", {"Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"})]:
            status, answer, _ = ask(member, "PUT", "/v1/kv/bound", b"v", headers, name)
            report.check(f"a foreign Host beside {how} may not write", 400 <= status < 500 and not has(member, "bound"),
                         (status, answer[:80]))
            status, answer, _ = ask(member, "GET", "/v1/kv/?prefix", b"", headers, name)
            report.check(f"nor read, beside {how}", 400 <= status < 500, (status, answer[:80]))
        status, _, _ = ask(member, "GET", "/version", b"", {}, name)
        report.check("who is no browser may use any name", status == 200, status)


@check
def own_pages_and_programs_may_do_everything(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        own = f"http://127.0.0.1:{member.client_port}"
        for how, headers, host in [
                ("a page of this member's", {"Origin": own, "Sec-Fetch-Site": "same-origin"}, None),
                ("a typed address", {"Sec-Fetch-Site": "none"}, None), ("a program", {}, None),
                ("a page at localhost", {"Origin": f"http://localhost:{member.client_port}",
                                         "Sec-Fetch-Site": "same-origin"},
                 f"localhost:{member.client_port}")]:
            status, answer, _ = ask(member, "PUT", "/v1/kv/own", b"v", headers, host)
            report.check(f"{how} may write", status in (200, 201), (status, answer[:80]))


@check
def a_host_whitelist_is_honoured(report, weft):
    with Fabric(weft, 1, ["--host-whitelist", "good.example,127.0.0.1"]) as fabric:
        member = fabric.members[0]
        for host, wanted in [("good.example", True), (f"good.example:{member.client_port}", True), ("127.0.0.1", True),
                             ("GOOD.example", True), ("evil.example", False), ("good.example.evil.example", False),
                             (f"evil.example:{member.client_port}", False)]:
            status, body, _ = ask(member, "GET", "/v1/kv/?prefix", b"", {}, host)
            report.check(f"Host {host} is {'answered' if wanted else 'refused'}",
                         status == 200 if wanted else 400 <= status < 500, (status, body[:80]))
        status, body, _ = Wire(member.client_port).request("GET", "/v1/kv/?prefix", authority="evil.example")
        report.check("an :authority of HTTP/2, too", 400 <= status < 500, (status, body[:80]))
        end = Wire(member.client_port).open(KV + "Range", authority="evil.example")
        end.send(range_request(b"k"), end=True)
        report.check("gRPC clients of that name are let in", end.ended()[0] == 0, end.status())


@check
def the_default_host_whitelist_may_be_written_out(report, weft):
    with Fabric(weft, 1, ["--host-whitelist", "*"]) as fabric:
        status, body, _ = ask(fabric.members[0], "GET", "/version", b"", {}, "any.example")
        report.check("--host-whitelist '*' answers every Host", status == 200, (status, body[:80]))


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@check
def origins_are_allowed_by_cors(report, weft):
    app = "http://app.example"
    with Fabric(weft, 1, ["--cors", f"{app},https://other.example"]) as fabric:
        member = fabric.members[0]
        put = json.dumps({"key": b64("cors"), "value": b64("v")}).encode()
        for origin, wanted in [(app, True), ("https://other.example", True), ("http://evil.example", False),
                               ("http://app.example.evil.example", False), ("https://app.example", False)]:
            status, body, headers = ask(member, "OPTIONS", "/v3/kv/put", b"", {"Origin": origin, **PREFLIGHT})
            allowed = headers.get("access-control-allow-origin")
            report.check(f"a preflight of {origin} is {'allowed' if wanted else 'not allowed'}",
                         (status in (200, 204) and allowed == origin and
                          "POST" in headers.get("access-control-allow-methods", "") and
                          "content-type" in headers.get("access-control-allow-headers", "").lower()) if wanted
                         else allowed is None, (status, headers))
            status, body, headers = ask(member, "POST", "/v3/kv/put", put,
                                        {"Origin": origin, "Sec-Fetch-Site": "cross-site"})
            allowed = headers.get("access-control-allow-origin")
            report.check(f"its put is {'taken and may be read' if wanted else 'refused'}",
                         (status, allowed) == (200, origin) if wanted else status == 403 and allowed is None,
                         (status, headers))
            status, body, headers = ask(member, "GET", "/v1/kv/cors", b"",
                                        {"Origin": origin, "Sec-Fetch-Site": "cross-site"})
            allowed = headers.get("access-control-allow-origin")
            report.check(f"its GET, too", (status, allowed) == (200, origin) if wanted else allowed is None,
                         (status, headers))


@check
def cors_of_everything_is_everything(report, weft):
    with Fabric(weft, 1, ["--cors", "*"]) as fabric:
        member = fabric.members[0]
        status, _, headers = ask(member, "OPTIONS", "/v3/kv/put", b"", {"Origin": "http://any.example", **PREFLIGHT})
        report.check("--cors '*' allows every origin", status in (200, 204) and headers.get(
            "access-control-allow-origin") in ("*", "http://any.example"), (status, headers))
        put = json.dumps({"key": b64("any"), "value": b64("v")}).encode()
        status, _, headers = ask(member, "POST", "/v3/kv/put", put,
                                 {"Origin": "http://any.example", "Sec-Fetch-Site": "cross-site"})
        report.check("and takes its puts", status == 200 and has(member, "any"), (status, headers))


@check
def no_origin_is_allowed_by_default(report, weft):
    with Fabric(weft, 1) as fabric:
        for method, path in [("OPTIONS", "/v3/kv/put"), ("OPTIONS", "/v1/kv/x"),
                             ("OPTIONS", "/version"), ("GET", "/version")]:
            status, _, headers = ask(fabric.members[0], method, path, b"",
                                     {"Origin": "http://app.example", **PREFLIGHT})
            report.check(f"{method} {path} of a page has no permission and no server error",
                         status < 500 and not any(name.startswith("access-control-allow-origin") for name in headers),
                         (status, headers))


# C15

@check
def the_next_head_on_a_connection_has_ten_seconds(report, weft):
    with Fabric(weft, 1) as fabric:
        port = fabric.members[0].client_port
        first = f"GET /version HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        links = {}
        for name, after in [("that stops in the head", b"GET /version HTTP/1.1\r\nHost:"),
                            ("that stops in the first line", b"GE"),
                            ("that comes byte by byte", b"GET /version HTTP/1.1\r\nA: ")]:
            link = socket.create_connection(("127.0.0.1", port), timeout=5)
            link.sendall(first)
            assert link.recv(65536).startswith(b"HTTP/1.1 200")
            link.sendall(after)
            links[name] = link
        wire = Wire(port)
        assert wire.request("GET", "/version")[0] == 200
        wire.write(frame(HEADERS, 0, wire.next_stream, literal(":method", "GET")))
        begin, closed = time.time(), {}
        while time.time() - begin < 24 and len(closed) < len(links) + 1:
            for name, link in links.items():
                if name in closed:
                    continue
                link.settimeout(0.1)
                try:
                    if "byte" in name:
                        link.sendall(b"x")
                    answer = link.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    answer = b""
                closed[name] = (round(time.time() - begin, 1), answer[:40])
            if not wire.is_closed:
                wire.pump(0.1)
            if (wire.is_closed or wire.goaway is not None) and "HTTP/2" not in closed:
                closed["HTTP/2"] = (round(time.time() - begin, 1), wire.goaway)
        for name in links:
            report.check(f"a second head {name} is given up after ten seconds",
                         name in closed and closed[name][0] < 20, closed)
        report.check("a header block of HTTP/2 that does not end, too", "HTTP/2" in closed, closed)


@check
def odd_heads_are_refused(report, weft):
    with Fabric(weft, 1) as fabric:
        port = fabric.members[0].client_port
        for name, head, wanted in [
                ("no Host", b"GET /version HTTP/1.1\r\n\r\n", 400),
                ("two Hosts", b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
                ("the same Host twice", b"GET /version HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
                ("a Host with a space", b"GET /version HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
                ("a Host with a path", b"GET /version HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
                ("a Host with two ports", b"GET /version HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
                ("Transfer-Encoding with HTTP/1.0",
                 b"POST /v3/kv/range HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
                ("another Transfer-Encoding than chunked",
                 b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
                ("chunked twice",
                 b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
                ("two lengths",
                 b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400),
                ("a length with a sign", b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}", 400),
                ("a space before the colon", b"GET /version HTTP/1.1\r\nHost : a\r\n\r\n", 400),
                ("a folded header", b"GET /version HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
                ("HTTP/1.0 without Host, as old tools do", b"GET /version HTTP/1.0\r\n\r\n", 200)]:
            answer = exchange(port, head, 2)
            found = status_of(answer)
            report.check(f"{name}: {wanted}", found == wanted or isinstance(wanted, tuple) and found in wanted,
                         answer[:100])
            if wanted == 400:
                report.check(f"{name}: the connection is closed",
                             b"connection: close" in answer and answer.count(b"HTTP/1.1 200") == 0, answer[:200])


@check
def methods_have_one_spelling(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for path in ["//etcdserverpb.KV/Put", "/etcdserverpb.KV/Put/", "/etcdserverpb.KV//Put",
                     "///etcdserverpb.KV/Put", "/etcdserverpb.KV/Put?x",
                     "/etcdserverpb.KV/./Put", "/etcdserverpb.kv/put", "/etcdserverpb%2eKV/Put",
                     "//etcdserverpb.Maintenance/Status",
                     "/etcdserverpb.Maintenance/Status/", "//grpc.health.v1.Health/Check",
                     "/etcdserverpb.Lease/LeaseGrant/"]:
            stream = wire.open(path)
            stream.send(put_request(b"k", b"v"), end=True)
            end = stream.ended()
            report.check(f"there is no method {path}", end[0] == 12, end)
        for path in ["//v3/kv/put", "/v3//kv/put", "/v3/kv/put/", "/v3/kv/./put"]:
            status, body, _ = ask(member, "POST", path, json.dumps({"key": b64("j"), "value": ""}).encode())
            report.check(f"nor a path {path}", status == 404, (status, body[:80]))
        report.check("nothing was written", not has(member, "k") and not has(member, "j"))


@check
def stray_connections_do_not_fill_the_log(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        strays = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n",
                  b"\0" * 64,
                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHo",
                  b""]
        for stray in strays:
            before = member.log().count("\n")
            for n in range(30):
                with socket.create_connection(("127.0.0.1", member.client_port), timeout=5) as link:
                    # A close with unread bytes there resets it.
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    if stray:
                        link.sendall(stray)
                    # Some are gone before the member accepts them.
                    time.sleep(0.005 * (n % 2))
            time.sleep(0.3)
            lines = member.log().count("\n") - before
            report.check(f"30 stray connections that send {stray[:20]!r} make few lines", lines <= 3,
                         f"{lines} lines: {member.log()[-300:]}")
        report.check("the member is well", member.healthy())


@check
def files_are_its_owners_alone(report, weft):
    before = os.umask(0o022)
    try:
        with Fabric(weft, 1, ["--checkpoint-interval", "200", "--snapshot-count", "100"]) as fabric:
            member = fabric.members[0]
            for n in range(400):
                member.connection().call("/v3/kv/put", {"key": b64(f"{n}"), "value": b64("v")}) if n % 40 == 0 else None
            member.connection().request("GET", "/v1/snapshot")
            time.sleep(0.6)
            member.stop()
            member.restart()
            member.wait_healthy()
            open_ones = {}
            for folder, _, names in os.walk(member.data):
                for path in [folder] + [os.path.join(folder, name) for name in names]:
                    mode = stat.S_IMODE(os.lstat(path).st_mode)
                    if mode & 0o077:
                        open_ones[os.path.relpath(path, member.data)] = oct(mode)
            report.check("files of the data directory are their owner's alone under any umask", not open_ones,
                         open_ones)
    finally:
        os.umask(before)


@check
def a_node_has_a_sensible_ttl(report, weft):
    with Fabric(weft, 1) as fabric:
        connection = fabric.members[0].connection()
        for ttl in [-1, -2**63, 2**63 - 1, 2**40, 1.5, "x"]:
            body = json.dumps({"domain": "d", "capacityBytes": 1000, "ttlSeconds": ttl}).encode()
            status, answer, _ = connection.request("PUT", "/v1/fabric/nodes/n1", body)
            report.check(f"a node with ttlSeconds {ttl!r} is refused", status == 400, (status, answer[:100]))
        good = json.dumps({"domain": "d", "capacityBytes": 1000, "ttlSeconds": 60}).encode()
        assert connection.request("PUT", "/v1/fabric/nodes/n2", good)[0] == 201
        status, answer, _ = connection.request("PATCH", "/v1/fabric/nodes/n2", b'{"ttlSeconds":-1}')
        report.check("nor can it be changed to -1", 400 <= status < 500, (status, answer[:100]))


# D10

K, V = f'"key":"{b64("json")}"', f'"value":"{b64("v")}"'
CONTRADICTIONS = [
    ("two requests in one operation", "/v3/kv/txn",
     '{"success":[{"request_put":{%s,%s},"request_range":{%s}}]}' % (K, V, K)),
    ("two requests, in both spellings", "/v3/kv/txn",
     '{"success":[{"request_put":{%s,%s},"requestRange":{%s}}]}' % (K, V, K)),
    ("two operands in a compare", "/v3/kv/txn",
     '{"compare":[{%s,"target":"VERSION","version":"0","mod_revision":"0"}],"success":[{"request_put":{%s,%s}}]}'
     % (K, K, V)),
    ("two kinds of watch request", "/v3/watch", '{"create_request":{%s},"cancel_request":{"watch_id":"1"}}' % K),
    ("a key twice", "/v3/kv/put", '{%s,%s,"key":"%s"}' % (K, V, b64("json2"))),
    ("the same key twice", "/v3/kv/put", "{%s,%s,%s}" % (K, V, K)),
    ("a value, and null for it", "/v3/kv/put", '{%s,%s,"value":null}' % (K, V)),
    ("a field in both spellings", "/v3/kv/put", '{%s,%s,"prev_kv":true,"prevKv":false}' % (K, V)),
    ("a field twice in a part", "/v3/kv/txn", '{"success":[{"request_put":{%s,%s,%s}}]}' % (K, V, V)),
    ("a list twice", "/v3/kv/txn", '{"success":[{"request_put":{%s,%s}}],"success":[]}' % (K, V)),
    ("an id twice", "/v3/lease/grant", '{"TTL":60,"TTL":61}'),
    ("an action twice", "/v3/maintenance/alarm", '{"action":"GET","action":"GET"}'),
]


@check
def contradictory_json_is_refused(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        for name, path, body in CONTRADICTIONS:
            status, answer, _ = ask(member, "POST", path, body.encode())
            report.check(f"{name}: 400", status == 400 and b'"code":3' in answer.replace(b" ", b""),
                         (status, answer[:100]))
        report.check("nothing of it was done", not has(member, "json") and not has(member, "json2"))
        for name, path, body in [
                ("an unknown field twice", "/v3/kv/range", "{%s,\"x\":1,\"x\":2}" % K),
                ("null beside another member", "/v3/kv/txn",
                 '{"success":[{"request_range":{%s},"request_put":null}]}' % K)]:
            status, answer, _ = ask(member, "POST", path, body.encode())
            report.check(f"{name}: 200", status == 200, (status, answer[:100]))


@check
def integers_have_all_spellings_of_json(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        for text in ["5", '"5"', "5.0", "5e0", '"5e0"', '"5.0"', "0.5e1", "50e-1", "5.000", "5E+0"]:
            status, answer, _ = ask(member, "POST", "/v3/kv/range", ("{%s,\"limit\":%s}" % (K, text)).encode())
            report.check(f"{text} is an integer", status == 200, (status, answer[:100]))
        status, answer, _ = ask(member, "POST", "/v3/lease/grant", b'{"TTL":6e1}')
        report.check("6e1 is 60", status == 200 and json.loads(answer).get("TTL") == "60", (status, answer[:200]))
        status, answer, _ = ask(member, "POST", "/v3/lease/grant", b'{"TTL":60,"ID":9007199254740993.0}')
        report.check("no digit is lost in a long one",
                     status == 200 and json.loads(answer).get("ID") == "9007199254740993",
                     (status, answer[:200]))
        for text in ["5.5", "5e-1", '"5.5"', '" 5"', '"5 "', '""', "1e19", "9223372036854775808", "1e400", '"0x5"',
                     "true", "[]", '"five"']:
            status, answer, _ = ask(member, "POST", "/v3/kv/range", ("{%s,\"limit\":%s}" % (K, text)).encode())
            report.check(f"{text} is none", status == 400, (status, answer[:100]))
        begin = time.time()
        status, answer, _ = ask(member, "POST", "/v3/kv/range", ("{%s,\"limit\":1e999999999}" % K).encode())
        report.check("an endless exponent costs nothing", status == 400 and time.time() - begin < 2,
                     (status, answer[:100]))


if __name__ == "__main__":
    main(checks, "web.py")
