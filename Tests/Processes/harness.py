"""Runs real weft daemons on loopback for the tests beside this file. Standard library only."""
import argparse
import atexit
import base64
import functools
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time


_ports = random.Random()
# One a port, bound to its name: no other test of this machine takes the port before this one ends.
_taken = []


def free_port():
    """A port to listen on, from below those the kernel gives to outgoing connections: one of them could take the port of a
    member that is down, even by connecting to it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first_outgoing = int(file.read().split()[0])
    while True:
        port = _ports.randrange(10_000, max(first_outgoing, 20_000))
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind(f"\0weft-test-port-{port}")
                s.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _taken.append(claim)
        return port


# The daemon never runs as root, not even under tests that do: they need it for networks, mounts and the like. This is nobody.
SERVICE_ID = 65534


def as_service(command, environment=(), needs_root=False):
    """The command as the service runs it: without root, and without a way to become root. 0.1.0 alone needs root."""
    variables = ["env", *(f"{name}={value}" for name, value in dict(environment).items())]
    if needs_root or os.geteuid() != 0:
        return [*variables, *command]
    return ["setpriv", "--reuid", str(SERVICE_ID), "--regid", str(SERVICE_ID), "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "--inh-caps=-all", *variables, *command]


def give_to_service(path):
    """Makes the service the owner of what a test, as root, put there."""
    if os.geteuid() != 0 or not os.path.exists(path):
        return
    for folder, _, names in os.walk(path):
        for each in [folder, *(os.path.join(folder, name) for name in names)]:
            os.chown(each, SERVICE_ID, SERVICE_ID, follow_symlinks=False)


@functools.cache
def reachable(weft):
    """The binary at a path that the service may execute: a clone can lie in a folder that is closed to it."""
    if subprocess.run(as_service(["test", "-x", weft])).returncode == 0:
        return weft
    directory = tempfile.mkdtemp(prefix="weft-binary-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.chmod(directory, 0o755)
    return shutil.copy(weft, directory)


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def unb64(text):
    return base64.b64decode(text)


class Unanswered(Exception):
    """No answer came: the request may or may not have taken effect."""


class Refused(Exception):
    """The daemon answered with an error."""

    def __init__(self, status, code, message):
        super().__init__(f"{status}: {message}")
        self.status, self.code, self.message = status, code, message


def attempt(seconds, function, what="it did not come about"):
    """What `function` gives once it gives something true; what a member refuses or leaves unanswered meanwhile does not count."""
    end = time.time() + seconds
    last = ""
    while time.time() < end:
        try:
            if found := function():
                return found
            last = ""
        except (Unanswered, Refused) as error:
            last = f": {error}"
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s{last}")


class Connection:
    """Requests to one member, over one connection while it holds."""

    def __init__(self, port, timeout=12, host="127.0.0.1", context=None):
        self.host, self.port, self.timeout, self.context, self.http = host, port, timeout, context, None

    def request(self, method, path, body=b"", headers=None):
        try:
            if self.http is None:
                secure = {"context": self.context} if self.context else {}
                make = http.client.HTTPSConnection if self.context else http.client.HTTPConnection
                self.http = make(self.host, self.port, timeout=self.timeout, **secure)
                self.http.connect()
                self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.http.request(method, path, body, headers or {})
            answer = self.http.getresponse()
            return answer.status, answer.read(), dict((k.lower(), v) for k, v in answer.getheaders())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(f"{type(error).__name__}: {error}")

    def call(self, path, body):
        status, data, _ = self.request("POST", path, json.dumps(body).encode())
        answer = json.loads(data)
        if status >= 400:
            raise Refused(status, answer.get("code"), answer.get("message"))
        return answer

    def close(self):
        if self.http:
            self.http.close()
            self.http = None


class Member:
    def __init__(self, fabric, name):
        self.fabric, self.name = fabric, name
        self.client_port, self.peer_port = free_port(), free_port()
        self.data = os.path.join(fabric.directory, name)
        self.log_path = os.path.join(fabric.directory, name + ".log")
        self.process = None
        self.prefix, self.host = [], "127.0.0.1"
        self.peer_scheme = "http"
        # Variables beside those of this process.
        self.environment = {}

    @property
    def client_url(self):
        return f"http://{self.host}:{self.client_port}"

    @property
    def peer_url(self):
        return f"{self.peer_scheme}://{self.host}:{self.peer_port}"

    def arguments(self):
        return ["--name", self.name, "--data-dir", self.data, "--listen-client-urls", self.client_url,
                "--advertise-client-urls", self.client_url, "--listen-peer-urls", self.peer_url,
                "--initial-advertise-peer-urls", self.peer_url] + self.fabric.flags

    def start(self, *extra):
        founders = ",".join(f"{m.name}={m.peer_url}" for m in self.fabric.founders)
        self.spawn(["serve", *self.arguments(), "--initial-cluster", founders, *extra])

    def restart(self):
        """Starts it again as what it is, founder or not."""
        self.spawn(["serve", *self.arguments()])

    def join(self, other, *extra):
        self.spawn(["join", other.client_url, *self.arguments(), *extra])

    def spawn(self, arguments):
        # Where this run's part of the log begins.
        self.log_start = len(self.log()) if os.path.exists(self.log_path) else 0
        give_to_service(self.data)
        command = as_service([reachable(os.path.abspath(self.fabric.weft)), *arguments], self.environment, self.fabric.needs_root)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.prefix + command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, timeout=30):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(timeout)
            finally:
                self.kill()

    def connection(self, timeout=12):
        return Connection(self.client_port, timeout, self.host)

    def healthy(self):
        try:
            return self.connection(2).request("GET", "/health")[0] == 200
        except Unanswered:
            return False

    def wait_healthy(self, seconds=30):
        end = time.time() + seconds
        while not self.healthy():
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            assert time.time() < end, f"{self.name} does not get well:\n{self.fabric.logs()}"
            time.sleep(0.05)

    def wait_started(self, text, seconds=60):
        """Until its log of this run says so."""
        end = time.time() + seconds
        while text not in self.log()[self.log_start:]:
            assert self.process.poll() is None, f"{self.name} ended:\n{self.log()[-3000:]}"
            assert time.time() < end, f"{self.name} does not say \"{text}\":\n{self.log()[-3000:]}"
            time.sleep(0.05)

    def status(self):
        return self.connection().call("/v3/maintenance/status", {})

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()


class Fabric:
    """Members of one fabric in a temporary directory; a context manager that ends them all."""

    def __init__(self, weft, count=3, flags=(), needs_root=False):
        self.weft, self.flags, self.needs_root = weft, list(flags), needs_root
        self.directory = tempfile.mkdtemp(prefix="weft-test-", dir=os.environ.get("WEFT_TEST_DIR"))
        give_to_service(self.directory)
        self.founders = []
        self.members = []
        for n in range(count):
            self.founders.append(self.add(f"m{n + 1}"))

    def add(self, name):
        member = Member(self, name)
        self.members.append(member)
        return member

    def __enter__(self):
        try:
            for member in self.founders:
                member.start()
            for member in self.founders:
                member.wait_healthy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, error, trace):
        for member in self.members:
            member.kill()
        if error is not None and os.environ.get("WEFT_KEEP"):
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def leader(self, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            for member in self.members:
                try:
                    status = member.status()
                except (Unanswered, Refused):
                    continue
                if status.get("leader") == status["header"]["member_id"]:
                    return member
            time.sleep(0.05)
        raise AssertionError(f"there is no leader:\n{self.logs()}")

    def logs(self):
        """The end of each member's log, and how it ended if it did."""
        return "\n".join(f"--- {m.name}, {m.process and m.process.poll()}\n{m.log()[-2000:]}" for m in self.members if os.path.exists(m.log_path))

    def follower(self):
        leader = self.leader()
        return next(m for m in self.members if m is not leader and m.process)


def run_checks(checks):
    """The main program of a suite of functions that each take the path of weft; `--only NAME` runs one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("--only")
    options = parser.parse_args()
    report = Report()
    for check in checks:
        if options.only in (None, check.__name__):
            report.run(check.__name__.replace("_", " "), check, os.path.abspath(options.weft))
    report.finish()


class Report:
    """Counts checks; prints each, and one line at the end that says how many passed and failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, holds, detail=""):
        if holds:
            self.passed += 1
            print(f"ok    {what}")
        else:
            self.failed += 1
            print(f"FAIL  {what}  {detail}")

    def run(self, what, function, *arguments):
        try:
            function(*arguments)
        except Exception as error:
            return self.check(what, False, f"{type(error).__name__}: {error}")
        self.check(what, True)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        raise SystemExit(1 if self.failed else 0)
