"""The client port's limits: what one client may cost the others. Costs are compared with one another, not with a clock.

    doors.py WEFT [--only NAME]
"""
import http.client
import json
import os
import resource
import socket
import struct
import threading
import time

from harness import Fabric, b64
from wire import (KV, PING, WATCH, Ended, Wire, cpu, delete_request, frame, grows_mildly, load, main, one, operation,
                  parse,
                  pb, put_request, range_request, settled_cpu, txn_request, watch_create)

checks = []


def check(function):
    checks.append(function)
    return function


def cost(member, work, answers=(0, 3, 8, 11)):
    """CPU seconds of the daemon for `work`; a request that it refuses may cost, too."""
    before = settled_cpu(member)
    try:
        work()
    except Ended as ended:
        assert ended.code in answers, ended
    return settled_cpu(member) - before


def costs_by_turns(member, small, large, rounds=3):
    """The least that each of two works cost in CPU seconds: the daemon also has work of its own, and that comes when it comes."""
    costs = [(cost(member, small), cost(member, large)) for _ in range(rounds)]
    return min(small for small, _ in costs), min(large for _, large in costs)


class Probe:
    """Small requests of another client, again and again: the longest that one waited."""

    def __init__(self, port, path="/livez", count=4):
        self.longest, self.answers, self.is_over = 0.0, 0, False
        self.threads = [threading.Thread(target=self._run, args=(port, path), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, port, path):
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not self.is_over:
            begin = time.time()
            try:
                link.request("GET", path)
                link.getresponse().read()
                self.answers += 1
            except (OSError, http.client.HTTPException):
                link.close()
            self.longest = max(self.longest, time.time() - begin)
            time.sleep(0.01)

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(35)
        return self.longest


# C7

def nested_puts_and_deletes(bytes_max):
    """A txn of about so many bytes, within 128 operations at each level: half of it puts, half deletes elsewhere."""
    count = bytes_max // 44
    puts = [operation("put", put_request(b"p/%08d" % n)) for n in range(count)]
    deletes = [operation("delete", delete_request(b"d/%08d" % n)) for n in range(count)]
    while len(puts) > 32:
        puts = [operation("txn", txn_request((), puts[n:n + 32])) for n in range(0, len(puts), 32)]
        deletes = [operation("txn", txn_request((), deletes[n:n + 32])) for n in range(0, len(deletes), 32)]
    return txn_request((), deletes + puts)


@check
def puts_and_deletes_of_a_txn_are_not_compared_each_with_each(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        small, large = costs_by_turns(member, *[
            lambda txn=nested_puts_and_deletes(size): wire.call(KV + "Txn", txn, timeout=25)
            for size in (500_000, 1_000_000)])
        report.check("the cost of a txn of puts and deletes does not grow with its square", grows_mildly(small, large),
                     f"{small:.2f} and {large:.2f} CPU seconds")
        report.check("the member is well", member.healthy())


@check
def a_txn_over_the_limits_is_refused_before_it_is_looked_at(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        # Refused as too large either way: their costs differ only in what is done before that.
        plain = cost(member, lambda: wire.call(KV + "Put", put_request(b"k", b"v" * 1_840_000), timeout=25))
        begin = time.time()
        try:
            end = wire.call(KV + "Txn", nested_puts_and_deletes(2_000_000), timeout=10)
        except (Ended, TimeoutError) as error:
            end = error
        report.check("a txn of 1.8 MB is refused as too large, in time",
                     isinstance(end, Ended) and end.code in (3, 8), repr(end)[:100])
        report.check("and does not keep others waiting", member.connection(10).request("GET", "/livez")[0] == 200)
        print(f"      (a put of this size costs {plain:.3f} CPU seconds, the txn took {time.time() - begin:.1f} s)")


# C9

def hello(link):
    link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))


def crowd(port, count, sources):
    """So many idle connections that have said hello; which of them the daemon takes is its own."""
    links, refused = [], 0
    for n in range(count):
        try:
            link = socket.create_connection(("127.0.0.1", port), 5, (sources[n % len(sources)], 0))
            hello(link)
            links.append(link)
        except OSError:
            refused += 1
            if refused > 50:
                break
    return links


def watching_newcomers(wire):
    """An open stream that is told what each newcomer writes."""
    stream = wire.open(WATCH)
    stream.send(watch_create(b"new"))
    stream.next()
    return stream


def stays(report, stream):
    try:
        event = one(parse(stream.next(5)), 11)
    except (TimeoutError, Ended) as error:
        event = error
    report.check("an older connection with an open stream stays", isinstance(event, bytes), event)


def newcomer(port, source):
    """Whether a client at another address can write and read."""
    for _ in range(3):
        try:
            wire = Wire(port, source, timeout=5)
            wire.call(KV + "Put", put_request(b"new", source.encode()), timeout=8)
            found = parse(one(wire.call(KV + "Range", range_request(b"new"), timeout=8), 2))
            wire.close()
            return "answered" if one(found, 5) == source.encode() else f"{found}"
        except (OSError, Ended, TimeoutError) as error:
            last = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    return last


def many_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    return min(count, hard) - 200


@check
def idle_connections_of_one_client_do_not_lock_others_out(report, weft):
    many = min(many_descriptors(12_000), 10_100)
    with Fabric(weft, 1) as fabric:
        port = fabric.members[0].client_port
        watching = Wire(port, "127.0.0.7")
        stream = watching_newcomers(watching)
        links = crowd(port, many, ["127.0.0.2"])
        try:
            found = newcomer(port, "127.0.0.3")
            report.check(f"with {len(links)} idle connections of one address another is answered",
                         found == "answered", found)
            found = newcomer(port, "127.0.0.1")
            report.check("so is the machine itself", found == "answered", found)
            stays(report, stream)
        finally:
            for link in links:
                link.close()


@check
def a_crowd_of_addresses_makes_room_for_newcomers(report, weft):
    many = min(many_descriptors(12_000), 10_100)
    with Fabric(weft, 1) as fabric:
        port = fabric.members[0].client_port
        watching, pinging = Wire(port, "127.0.0.7"), Wire(port, "127.0.0.8")
        stream = watching_newcomers(watching)
        links = crowd(port, many, [f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(1000)])
        try:
            for source in ("127.0.99.3", "127.0.99.4", "127.0.0.1"):
                found = newcomer(port, source)
                report.check(f"with {len(links)} idle connections of 1000 addresses {source} is answered",
                             found == "answered", found)
            stays(report, stream)
        finally:
            for link in links:
                link.close()


def stop_and_limit_descriptors(member):
    """Its next start has 300, fewer than the crowds of these checks."""
    member.stop()
    member.prefix = ["prlimit", "--nofile=300:300"]


@check
def idle_connections_do_not_use_up_descriptors(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        stop_and_limit_descriptors(member)
        member.restart()
        member.wait_healthy()
        port = member.client_port
        links = crowd(port, 600, ["127.0.0.2", "127.0.0.4", "127.0.0.5", "127.0.0.6"])
        try:
            found = newcomer(port, "127.0.0.3")
            report.check("with more idle connections than descriptors another client is answered",
                         found == "answered", found)
            before = cpu(member)
            time.sleep(2)
            report.check("the daemon does not spin", cpu(member) - before < 0.5, cpu(member) - before)
            report.check("it runs", member.process.poll() is None, member.process.poll())
        finally:
            for link in links:
                link.close()
        time.sleep(0.5)
        report.check("and is well when they are gone", member.healthy())


@check
def a_crowd_at_the_start_does_not_end_the_member(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        stop_and_limit_descriptors(member)
        links, is_over = [], threading.Event()

        def knock(number):
            while not is_over.is_set():
                try:
                    links.append(socket.create_connection(("127.0.0.1", member.client_port), 1, (f"127.0.0.{number}", 0)))
                except OSError:
                    time.sleep(0.001)

        crowd = [threading.Thread(target=knock, args=(number,)) for number in (2, 4, 5, 6)]
        for thread in crowd:
            thread.start()
        try:
            member.restart()
            time.sleep(1)
        finally:
            is_over.set()
            for thread in crowd:
                thread.join()
            for link in links:
                link.close()
        member.wait_healthy()
        report.check("it runs, and answers", member.process.poll() is None, member.process.poll())


@check
def pings_of_an_idle_client_are_no_reason_to_close(report, weft):
    with Fabric(weft, 1) as fabric:
        wire = Wire(fabric.members[0].client_port)
        wire.request("GET", "/version")
        for n in range(200):
            wire.write(frame(PING, 0, 0, struct.pack(">Q", n)))
            wire.pump(0.01)
        try:
            wire.until(lambda: wire.pongs == 200, 5)
        except (TimeoutError, Ended):
            pass
        report.check("200 pings are answered, with no GOAWAY", wire.pongs == 200 and wire.goaway is None,
                     (wire.pongs, wire.goaway))
        report.check("and the next request, too", wire.request("GET", "/version")[0] == 200)


# C10

def json_range(member, prefix, serializable=True, timeout=60):
    body = {"key": b64(prefix), "range_end": b64(prefix[:-1] + bytes([prefix[-1] + 1])), "serializable": serializable}
    status, data, _ = member.connection(timeout).request("POST", "/v3/kv/range", json.dumps(body).encode())
    return status, len(data)


@check
def json_of_large_values_costs_what_their_bytes_cost(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for prefix, count in (b"a/", 40), (b"b/", 80):
            for n in range(count):
                wire.call(KV + "Put", put_request(prefix + b"%d" % n, b"v" * 1_400_000))
        results = []
        small, large = costs_by_turns(member, *[
            lambda prefix=prefix: results.append(json_range(member, prefix)) for prefix in (b"a/", b"b/")])
        report.check("a range of twice the large values costs about twice as much as JSON",
                     grows_mildly(small, large, 0.5),
                     f"{small:.2f} and {large:.2f} CPU seconds for {results}")


@check
def a_large_json_answer_keeps_nobody_waiting(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        load(member, 12_000, 6000, b"b/")
        probe = Probe(member.client_port)
        begin = time.time()
        status, count = json_range(member, b"b/")
        took = time.time() - begin
        longest = probe.end()
        report.check("while an answer of 100 MB is made others wait for a small part of that time",
                     longest < max(1.5, took / 4),
                     f"{status}, {count} bytes in {took:.1f} s; the longest wait was {longest:.1f} s")


@check
def one_large_value_as_json_costs_what_its_bytes_cost(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        connection = member.connection()
        # Four times: where an allocator changes its ways between the two, the cost may double once more.
        times = 4
        sizes = 350_000, 1_400_000

        def check_costs(what, works):
            small, large = costs_by_turns(member, *works)
            report.check(what, grows_mildly(small, large, times=times), f"{small:.3f} and {large:.3f} CPU seconds")

        for size in sizes:
            wire.call(KV + "Put", put_request(b"k%d" % size, os.urandom(size)))
        check_costs("20 ranges of a value four times as large cost about four times as much", [
            lambda body={"key": b64(f"k{size}")}: [connection.call("/v3/kv/range", body) for _ in range(20)]
            for size in sizes])
        check_costs("so do puts", [
            lambda body={"key": b64("p"), "value": b64(os.urandom(size))}: [
                connection.call("/v3/kv/put", body) for _ in range(5)]
            for size in sizes])
        # A string of escapes takes the parser's slow way.
        for what, texts in [
                ("so does a string of escapes", [b'{"key":"' + b"\\u0061" * n + b'"}' for n in (50_000, 200_000)]),
                ("so does a long list that nobody asked for",
                 [b'{"x":[' + b"1," * n + b'1],"key":"YQ=="}' for n in (150_000, 600_000)]),
                ("so do many unknown fields",
                 [b"{" + b",".join(b'"f%d":1' % i for i in range(n)) + b',"key":"YQ=="}' for n in (25_000, 100_000)])]:
            check_costs(what, [lambda text=text: connection.request("POST", "/v3/kv/range", text) for text in texts])


# C11

@check
def a_get_does_not_parse_what_it_serves(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        connection = member.connection()
        values = {"json": b"[" + b"1," * 690_000 + b"1]", "text": b"1," * 690_000}
        for name, value in values.items():
            assert connection.request("PUT", f"/v1/kv/{name}", value)[0] == 201
            connection.request("GET", f"/v1/kv/{name}")
        text, parsed = costs_by_turns(member, *[
            lambda name=name: [connection.request("GET", f"/v1/kv/{name}") for _ in range(10)]
            for name in ("text", "json")])
        report.check("a GET of 1.4 MB of JSON costs about what one of text costs",
                     parsed < max(10 * text, 0.25), f"{parsed:.3f} and {text:.3f} CPU seconds")
        connection.request("PUT", "/v1/kv/small", b'{"a":1}')
        report.check("small JSON is called JSON",
                     connection.request("GET", "/v1/kv/small")[2]["content-type"] == "application/json")


# C12

@check
def watches_of_large_keys_silence_nobody(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        watching, writing = Wire(member.client_port), Wire(member.client_port)
        stream = watching.open(WATCH)
        stream.send(watch_create(b"small"))
        stream.next()
        is_over, longest = threading.Event(), [0.0]

        def listen():
            while not is_over.is_set():
                begin = time.time()
                try:
                    writing.call(KV + "Put", put_request(b"small", b"v"), timeout=25)
                    stream.next(25)
                except (TimeoutError, Ended):
                    pass
                longest[0] = max(longest[0], time.time() - begin)
                time.sleep(0.02)
        listener = threading.Thread(target=listen)
        listener.start()

        def silence(path, message):
            """The longest that the other waits while 352 requests are taken up together: all are sent but for a last byte."""
            wires, answered = [Wire(member.client_port) for _ in range(8)], 0
            for wire in wires:
                for n in range(44):
                    whole = message(b"%d" % n + b"k" * 1_400_000)
                    wire.open(path).raw(b"\0" + struct.pack(">I", len(whole)) + whole[:-1])
            time.sleep(0.5)
            longest[0] = 0.0
            for wire in wires:
                wire.write(b"".join(frame(0, 0, number, whole[-1:]) for number in wire.streams))
            for large in [large for wire in wires for large in wire.streams.values()]:
                try:
                    large.next(25)
                    answered += 1
                except (Ended, TimeoutError):
                    pass
            for wire in wires:
                wire.close()
            time.sleep(0.5)
            return longest[0], answered
        # To read bytes costs what it costs.
        ranges, watches = silence(KV + "Range", range_request), silence(WATCH, watch_create)
        is_over.set()
        listener.join(30)
        report.check("352 watches of keys of 1.4 MB keep another client waiting not much longer than ranges of them",
                     watches[0] < max(1.5, 6 * ranges[0]) and watches[1] > 0,
                     f"the longest waits, and how many were answered: {watches}, {ranges}")


# C13

def compare_all(prefix, count):
    end = prefix[:-1] + bytes([prefix[-1] + 1])
    # VERSION > 0 of every key of the range.
    return [pb((1, 1), (2, 0), (3, prefix), (4, 0), (64, end)) for _ in range(count)]


@check
def compares_of_a_writing_txn_look_at_few_rows(report, weft):
    with Fabric(weft, 3) as fabric:
        leader = fabric.leader()
        load(leader, 60_000, 10, b"row/")
        load(leader, 100, 10, b"few/")
        member = leader
        wire, other = Wire(member.client_port), Wire(member.client_port)
        end = b"row0"
        put = operation("put", put_request(b"done", b"v"))
        ranges = [operation("range", range_request(b"row/", end, count_only=True, limit=1))] * 127
        values = [operation("range", range_request(b"row/", end, limit=60_000))] * 2
        nested = operation("txn", txn_request(compare_all(b"row/", 60), [put]))
        for name, message in [("compares", txn_request(compare_all(b"row/", 128), [put])),
                              ("nested compares", txn_request((), [nested])),
                              ("ranges", txn_request((), [*ranges, put])),
                              ("ranges of values", txn_request((), [*values * 20, put]))]:
            stream = wire.open(KV + "Txn")
            begin = time.time()
            stream.send(message, end=True)
            time.sleep(0.02)
            try:
                other.call(KV + "Put", put_request(b"meanwhile", b"v"), timeout=25)
            except Ended as ended:
                report.check(f"a put beside {name} over millions of rows is taken", False,
                             f"{ended}: {time.time() - begin:.1f} s")
                return
            waited = time.time() - begin
            answer = stream.ended(25)
            count = one(wire.call(KV + "Range", range_request(b"done")), 4)
            if name != "ranges":  # Counting may cost nothing.
                report.check(f"a writing txn whose {name} look at millions of rows is refused",
                             answer[0] not in (0, None) and count == 0,
                             f"{answer}, {count}; it took {time.time() - begin:.2f} s")
            print(f"      ({name}: {len(message)} bytes, a put beside it waited {waited:.2f} s)")
            wire.call(KV + "DeleteRange", delete_request(b"done"))
        answer = wire.call(KV + "Txn", txn_request(compare_all(b"few/", 5), [put]))
        report.check("one that looks at 500 rows is carried out", one(answer, 2) == 1 and
                     one(wire.call(KV + "Range", range_request(b"done")), 4) == 1, answer)
        answer = wire.call(KV + "Txn", txn_request((), [operation("delete", delete_request(b"row/", end))]), timeout=25)
        left = one(wire.call(KV + "Range", range_request(b"row/", end, count_only=True)), 4)
        report.check("a deletion of 60,000 keys is never refused", left == 0, left)


if __name__ == "__main__":
    main(checks, "doors.py")
