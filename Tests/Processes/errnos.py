"""Any error of the kernel on one connection ends that connection and no more.

    errnos.py WEFT [--only NAME]

Needs root for the routes, and strace, which answers system calls of the daemon with errors.
"""
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import namespaces
from harness import Connection, Fabric, Report, Unanswered, attempt, b64
from namespaces import IsolatedFabric
from networks import put, run, said, within

# EBADF and EFAULT are mistakes of the caller; all others may come from a network, a firewall or a short machine.
ERRNOS = ["EINVAL", "ENOBUFS", "ENOMEM", "EIO", "ENOTCONN", "EPERM", "EHOSTUNREACH", "ETIMEDOUT"]
TWO_NAMES = {"read": "read,recvfrom,recvmsg,readv", "write": "write,writev,sendto,sendmsg"}


class Injection:
    """While it is open, system calls of a process fail: those on one socket, or all of that name."""

    def __init__(self, pid, calls, errno, inode=None, when="1+", directory="/tmp"):
        self.path = os.path.join(directory, f"strace.{pid}")
        words = ["strace", "-f", "-qq", "-o", self.path, "-p", str(pid), "-e", f"trace={calls}", "-e",
                 f"inject={calls}:error={errno}:when={when}"]
        if inode:
            words += ["-P", f"socket:[{inode}]"]
        open(self.path, "w").close()
        self.pid, self.words = pid, words

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        end = time.time() + 10
        while not self.traced():
            assert self.process.poll() is None, f"strace: {self.process.stderr.read()}"
            assert time.time() < end, "strace does not get hold of the daemon"
            time.sleep(0.01)
        return self

    def traced(self):
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{thread}/status") as file:
                    if re.search(r"^TracerPid:\t0$", file.read(), re.M):
                        return False
        except OSError:
            pass
        return True

    def hits(self):
        with open(self.path, errors="replace") as file:
            return file.read().count("(INJECTED)")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def inode_of(local_port, remote_port):
    """The socket at this end of an established connection on loopback."""
    with open("/proc/net/tcp") as file:
        for line in list(file)[1:]:
            words = line.split()
            ports = [int(words[n].split(":")[1], 16) for n in (1, 2)]
            if ports == [local_port, remote_port] and words[3] == "01":
                return words[9]
    return None


def dialled_inode(member, peer):
    """The socket of the member's connection to the peer's port, which it opened itself."""
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in list(file)[1:]]
    found = {words[9] for words in lines if int(words[2].split(":")[1], 16) == peer.peer_port and words[3] == "01"}
    for descriptor in os.listdir(f"/proc/{pid_of(member)}/fd"):
        try:
            target = os.readlink(f"/proc/{pid_of(member)}/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in found:
            return target[8:-1]
    return None


def pid_of(member):
    """The daemon's own process: what is started may be a wrapper that has it as a child."""
    pid = member.process.pid
    while os.path.basename(os.readlink(f"/proc/{pid}/exe")) != os.path.basename(member.fabric.weft):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            pid = int(file.read().split()[0])
    return pid


class Trials:
    """Tries each errno. A daemon that ends is noted and started again."""

    def __init__(self, member, errnos=ERRNOS):
        self.member, self.errnos, self.wrong = member, errnos, []

    def each(self, trial):
        for errno in self.errnos:
            try:
                trial(errno)
                assert within(8, self.member.healthy), "it answers nobody any more"
                assert self.member.process.poll() is None
            except (AssertionError, OSError, Unanswered) as error:
                time.sleep(0.2)
                code = self.member.process.poll()
                self.wrong.append(f"{errno}: " + (f"the daemon ended with {code}" if code is not None else str(error)))
                self.member.kill()
                self.member.restart()
                self.member.wait_healthy()
        assert not self.wrong, "; ".join(self.wrong)


def _accepted_call(weft, calls, ask, errnos=ERRNOS, http2=False):
    """A client's connection that is open meets an error; other clients are answered."""
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]

        def trial(errno):
            connection = member.connection(5)
            assert connection.request("GET", "/version")[0] == 200
            inode = inode_of(member.client_port, connection.http.sock.getsockname()[1])
            with Injection(pid_of(member), calls, errno, inode, directory=fabric.directory) as injection:
                ask(connection)
                assert within(5, injection.hits), f"the daemon made no such call: {calls}"
                assert member.connection(5).request("GET", "/version")[0] == 200, "another client is not answered"
            connection.close()

        Trials(member, errnos).each(trial)


def _quietly(request):
    try:
        request()
    except Unanswered:
        pass


def error_at_read_of_an_accepted_connection_ends_only_that(report, weft):
    _accepted_call(weft, TWO_NAMES["read"], lambda c: _quietly(lambda: c.request("GET", "/version")))


def error_at_read_of_an_accepted_peers_connection_ends_only_that(report, weft):
    """The peer port's connections, before anybody has introduced himself."""
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]

        def trial(errno):
            with socket.create_connection(("127.0.0.1", member.peer_port), timeout=5) as s:
                inode = within_value(5, lambda: inode_of(member.peer_port, s.getsockname()[1]) not in (None, "0")
                                     and inode_of(member.peer_port, s.getsockname()[1]))
                with Injection(pid_of(member), TWO_NAMES["read"], errno, inode, directory=fabric.directory) as traced:
                    s.sendall(b"\xff")
                    assert within(5, traced.hits), "the daemon does not read"

        Trials(member).each(trial)


def error_at_write_of_an_accepted_connection_ends_only_that(report, weft):
    _accepted_call(weft, TWO_NAMES["write"], lambda c: _quietly(lambda: c.request("GET", "/version")))


def error_at_the_end_of_an_accepted_connection_ends_only_that(report, weft):
    """close and shutdown fail, as they do for a connection that the other end has reset."""
    _accepted_call(weft, "close,shutdown", lambda c: c.close(), [e for e in ERRNOS if e != "EINVAL"] + ["ENOSPC"])


def error_at_epoll_of_an_accepted_connection_ends_only_that(report, weft):
    _accepted_call(weft, "epoll_ctl", lambda c: c.close(), ["ENOMEM", "ENOSPC", "EPERM", "ENOENT"])


def _accepting_call(weft, calls, errnos=ERRNOS, must_happen=True):
    """Calls that a daemon makes while it takes a connection fail for a while; afterwards it takes connections."""
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        seen = []

        def trial(errno):
            for port in (member.client_port, member.peer_port):
                with Injection(pid_of(member), calls, errno, None, "1..3", fabric.directory) as injection:
                    for _ in range(3):
                        _quietly(lambda: Connection(port, 0.4).request("GET", "/version"))
                    within(1, injection.hits)
                    seen.append(injection.hits())
            try:
                stranger = socket.create_connection(("127.0.0.1", member.peer_port), timeout=3)
            except OSError as error:
                raise AssertionError(f"its peer port is closed from now on ({error.strerror})")
            with stranger as s:
                s.settimeout(8)
                s.sendall(b"\xff" * 64)
                # It reads, and closes the connection of a stranger.
                try:
                    assert s.recv(100) == b""
                except ConnectionError:
                    pass
                except TimeoutError:
                    raise AssertionError("nobody takes connections at the peer port")

        Trials(member, errnos).each(trial)
        assert any(seen) or not must_happen, f"the daemon makes no such call: {calls}"


def error_at_accept_ends_no_listener(report, weft):
    """A firewall's EPERM, a network's error that waits on the new socket, a full table of files."""
    _accepting_call(weft, "accept,accept4", ERRNOS + ["EMFILE", "ENFILE", "ECONNABORTED", "EPROTO", "EAGAIN"])


def error_at_setsockopt_of_an_accepted_connection_ends_only_that(report, weft):
    _accepting_call(weft, "setsockopt")


def error_at_getsockopt_of_an_accepted_connection_ends_only_that(report, weft):
    _accepting_call(weft, "getsockopt,getpeername,getsockname", must_happen=False)


def error_at_epoll_of_a_new_connection_ends_only_that(report, weft):
    _accepting_call(weft, "epoll_ctl", ["ENOMEM", "ENOSPC", "EPERM"])


def connection_that_cannot_be_set_up_is_logged(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        for port in (member.client_port, member.peer_port):
            before = len(member.log())
            with Injection(pid_of(member), "setsockopt", "EPERM", directory=fabric.directory) as injection:
                _quietly(lambda: Connection(port, 2).request("GET", "/version"))
                assert injection.hits(), "the daemon sets no option"
                assert within(3, lambda: re.search(r"(warning|error).*connection", member.log()[before:])), (
                    f"port {port}: nothing is logged: {member.log()[before:]!r}")


# What the daemon dials.

def _dialled_call(weft, calls, errnos=ERRNOS):
    """The connection to one peer meets an error: it is opened again, and the other peer notices nothing."""
    with Fabric(weft, 3) as fabric:
        member, peer = fabric.leader(), fabric.follower()

        def trial(errno):
            inode = within_value(8, lambda: dialled_inode(member, peer))
            try:
                with Injection(pid_of(member), calls, errno, inode, directory=fabric.directory) as injection:
                    if "read" in calls:
                        # The connection becomes readable when the peer ends.
                        peer.kill()
                    assert within(8, injection.hits), f"the daemon makes no such call: {calls}"
                    time.sleep(0.2)
                    assert member.process.poll() is None
            finally:
                if peer.process is None:
                    peer.start()
                    peer.wait_healthy()
            attempt(10, lambda: put(member), "a put")
            within_value(10, lambda: dialled_inode(member, peer))

        Trials(member, errnos).each(trial)


def within_value(seconds, function):
    found = []
    assert within(seconds, lambda: found.append(function()) or found[-1]), "the peer is not dialled again"
    return found[-1]


def error_at_read_of_a_dialled_connection_ends_only_that(report, weft):
    _dialled_call(weft, TWO_NAMES["read"])


def error_at_write_of_a_dialled_connection_ends_only_that(report, weft):
    _dialled_call(weft, TWO_NAMES["write"])


def error_at_getsockopt_of_a_dialled_connection_ends_only_that(report, weft):
    """TCP_INFO is read once a second."""
    _dialled_call(weft, "getsockopt")


def _dialling_call(weft, calls, errnos=ERRNOS):
    """Calls made while a peer is dialled fail. The peer is a listener here that closes each connection, so that the
    member dials again and again."""
    with Fabric(weft, 3) as fabric:
        peer = fabric.follower()
        member = next(m for m in fabric.members if m is not peer)
        peer.kill()
        with socket.create_server(("127.0.0.1", peer.peer_port), backlog=16) as listener:
            ending = threading.Event()
            listener.settimeout(0.2)

            def close_all():
                while not ending.is_set():
                    try:
                        listener.accept()[0].close()
                    except OSError:
                        pass

            closer = threading.Thread(target=close_all)
            closer.start()
            try:
                def trial(errno):
                    with Injection(pid_of(member), calls, errno, None, "1..2", fabric.directory) as injection:
                        assert within(6, lambda: injection.hits() >= 2), f"the daemon makes no such call: {calls}"
                        time.sleep(0.2)
                    attempt(10, lambda: put(member), "a put")

                Trials(member, errnos).each(trial)
            finally:
                ending.set()
                closer.join()
        peer.start()
        peer.wait_healthy()


def error_while_options_of_a_dialled_connection_are_set_ends_only_that(report, weft):
    _dialling_call(weft, "setsockopt")


def error_while_a_dialled_connection_is_asked_for_its_state_ends_only_that(report, weft):
    _dialling_call(weft, "getsockopt,getpeername,getsockname")


def error_at_connect_ends_only_that(report, weft):
    _dialling_call(weft, "connect", ERRNOS + ["EADDRNOTAVAIL", "ENETUNREACH", "ECONNREFUSED"])


def error_at_socket_ends_only_that(report, weft):
    _dialling_call(weft, "socket", ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EPERM"])


def error_at_epoll_of_a_dialled_connection_ends_only_that(report, weft):
    _dialling_call(weft, "epoll_ctl", ["ENOMEM", "ENOSPC", "EPERM"])


# Without strace: the field's case.

def client_behind_a_blackhole_route_ends_only_its_connection(report, weft):
    """The operator fences a client off by a route; the kernel then ends its connection with EINVAL."""
    with IsolatedFabric(weft, 1) as fabric:
        member = fabric.members[0]
        client = f"{fabric.subnet}.253"
        subprocess.run(["ip", "addr", "add", f"{client}/24", "dev", f"wt{fabric.mark}"], check=True)
        subprocess.run([*member.prefix, "sysctl", "-qw", "net.ipv4.tcp_retries2=3"], check=True)
        with socket.create_connection((member.host, member.client_port), timeout=5, source_address=(client, 0)) as s:
            body = b'{"create_request":{"key":"%s"}}' % b64("k").encode()
            s.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = b""
            while b"created" not in answer:
                answer += (chunk := s.recv(4096))
                assert chunk, answer
            # The event is on its way when the route comes: what the kernel cannot send again ends with EINVAL.
            wire = f"wt{fabric.mark}0"
            subprocess.run(["ip", "link", "set", wire, "nomaster"], check=True)
            subprocess.run([*member.prefix, "curl", "-sS", "--noproxy", "*", "--max-time", "5", "-X", "PUT", "-d", "v",
                            f"{member.client_url}/v1/kv/k"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([*member.prefix, "ip", "route", "add", "blackhole", f"{client}/32"], check=True)
            subprocess.run(["ip", "link", "set", wire, "master", f"wt{fabric.mark}"], check=True)
            end = time.time() + 20
            while time.time() < end:
                assert member.process.poll() is None, f"it ended with {member.process.returncode}"
                if not _connections(member, client):
                    break
                time.sleep(0.2)
            else:
                raise AssertionError("the connection of the fenced client is still open after 20 s")
        time.sleep(0.5)
        assert member.process.poll() is None, f"it ended with {member.process.returncode}"
        assert member.healthy(), said(member)[-300:]


def _connections(member, client):
    run = subprocess.run([*member.prefix, "cat", "/proc/net/tcp"], capture_output=True, text=True)
    address = "".join(f"{int(part):02X}" for part in reversed(client.split(".")))
    return [line for line in run.stdout.splitlines()[1:] if line.split()[2].startswith(address)]


CHECKS = [
    error_at_read_of_an_accepted_connection_ends_only_that,
    error_at_read_of_an_accepted_peers_connection_ends_only_that,
    error_at_write_of_an_accepted_connection_ends_only_that,
    error_at_the_end_of_an_accepted_connection_ends_only_that,
    error_at_epoll_of_an_accepted_connection_ends_only_that, error_at_accept_ends_no_listener,
    error_at_setsockopt_of_an_accepted_connection_ends_only_that,
    error_at_getsockopt_of_an_accepted_connection_ends_only_that, error_at_epoll_of_a_new_connection_ends_only_that,
    connection_that_cannot_be_set_up_is_logged, error_at_read_of_a_dialled_connection_ends_only_that,
    error_at_write_of_a_dialled_connection_ends_only_that, error_at_getsockopt_of_a_dialled_connection_ends_only_that,
    error_while_options_of_a_dialled_connection_are_set_ends_only_that,
    error_while_a_dialled_connection_is_asked_for_its_state_ends_only_that, error_at_connect_ends_only_that,
    error_at_socket_ends_only_that, error_at_epoll_of_a_dialled_connection_ends_only_that,
]
ROUTES = [client_behind_a_blackhole_route_ends_only_its_connection]


def main():
    checks = list(CHECKS)
    if not shutil.which("strace"):
        print("skipped: errors of system calls (needs strace)")
        checks = []
    if namespaces.available():
        checks += ROUTES
    else:
        print("skipped: a blackhole route (needs root and network namespaces)")
    run(checks, Report())


if __name__ == "__main__":
    main()
