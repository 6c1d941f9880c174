"""weft as the shipped unit runs it: an unprivileged user without capabilities, three machines, READY that is true.

    service.py WEFT [--only NAME]

Needs root: it becomes the service's user, and makes network namespaces. Each service is laid out as
`scripts/install --destdir DIR` does it, and runs under what config/weft.service says.
"""
import json
import os
import pwd
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

import namespaces
from harness import Connection, Report, attempt, b64, free_port, unb64
from namespaces import IsolatedFabric

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Whom the service runs as when this machine has no user of the unit's name: an id that owns nothing.
SPARE_ID = 61_234


class Unit:
    """What a unit file says of its service."""

    def __init__(self, path):
        self.values = {}
        with open(path) as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals and not key.startswith("#"):
                    self.values.setdefault(key, []).append(value)

    def __getitem__(self, key):
        return self.values[key][-1]

    @property
    def user(self):
        try:
            entry = pwd.getpwnam(self["User"])
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            return SPARE_ID, SPARE_ID

    def wrapper(self):
        """The command that gives the next one the unit's user, group, capabilities and umask."""
        uid, gid = self.user
        words = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        bounding = self["CapabilityBoundingSet"].split()
        assert not bounding and not self["AmbientCapabilities"], "the unit gives capabilities: say here which"
        words += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        if self["NoNewPrivileges"] == "yes":
            words.append("--no-new-privs")
        return ["sh", "-c", f'umask {self["UMask"]}; exec "$@"', "sh", *words, "--"]


class Service:
    """One installed service under a directory of its own, started as systemd would."""

    def __init__(self, directory, name, weft, host="127.0.0.1", namespace=None):
        self.unit = Unit(f"{ROOT}/config/weft.service")
        self.directory, self.root, self.name, self.host = directory, os.path.join(directory, name), name, host
        self.namespace = ["ip", "netns", "exec", namespace] if namespace else []
        self.client_port, self.peer_port = free_port(), free_port()
        # Most of what is looked at here has nothing to do with TLS.
        self.scheme = "http"
        self.process = self.notify = None
        self.log_path = os.path.join(self.root, "journal")
        self.install(weft)

    def install(self, weft):
        """What `scripts/install --destdir` leaves, and the owner that it gives to the state directory."""
        for path in ("usr/local/bin", "etc/systemd/system", "etc/weft", "run", "var/lib"):
            os.makedirs(os.path.join(self.root, path))
        shutil.copy(weft, self.path("/usr/local/bin/weft"))
        os.chmod(self.path("/usr/local/bin/weft"), 0o755)
        shutil.copy(f"{ROOT}/config/weft.service", self.path("/etc/systemd/system/weft.service"))
        os.mkdir(self.path("/var/lib/weft"), 0o700)
        os.chown(self.path("/var/lib/weft"), *self.unit.user)

    def path(self, path):
        return self.root + path

    @property
    def peer_url(self):
        return f"{self.scheme}://{self.host}:{self.peer_port}"

    @property
    def client_url(self):
        return f"{self.scheme}://{self.host}:{self.client_port}"

    def configure(self, founders, found=False):
        """Writes the settings file from the shipped example, as its comments say to."""
        with open(f"{ROOT}/config/weft.example.yaml") as file:
            text = file.read()
        settings = {
            "name": self.name, "data-dir": self.path("/var/lib/weft/data"),
            "listen-client-urls": self.client_url, "advertise-client-urls": self.client_url,
            "listen-peer-urls": self.peer_url, "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": ",".join(f"{s.name}={s.peer_url}" for s in founders), "found": "true" if found else "",
        }
        for key, value in settings.items():
            text = re.sub(rf"(?m)^(# )?{key}:.*\n", "", text) + (f"{key}: {value}\n" if value else "")
        with open(self.path("/etc/weft/weft.yaml"), "w") as file:
            file.write(text)

    def start(self):
        words = shlex.split(self.unit["ExecStart"])
        words = [self.path(word) if word.startswith("/") else word for word in words]
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.path("/run/notify")
        if os.path.exists(address):
            os.unlink(address)
        self.notify.bind(address)
        os.chmod(address, 0o666)
        self.make_runtime_directory()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = min(int(self.unit["LimitNOFILE"]), hard if hard != resource.RLIM_INFINITY else 1 << 30)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.namespace + self.unit.wrapper() + words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NOTIFY_SOCKET": address,
                     "RUNTIME_DIRECTORY": self.runtime_directory},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))

    @property
    def runtime_directory(self):
        return self.path("/run/" + self.unit["RuntimeDirectory"])

    @property
    def client_socket(self):
        return self.runtime_directory + "/client"

    def make_runtime_directory(self):
        """systemd makes it anew with each start."""
        shutil.rmtree(self.runtime_directory, ignore_errors=True)
        os.mkdir(self.runtime_directory)
        os.chmod(self.runtime_directory, int(self.unit["RuntimeDirectoryMode"], 8))
        os.chown(self.runtime_directory, *self.unit.user)

    def wait_ready(self, seconds=25):
        """Until it tells systemd that it is ready."""
        self.notify.settimeout(0.2)
        end = time.time() + seconds
        while time.time() < end:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log()[-1500:]}"
            try:
                if self.notify.recv(4096).startswith(b"READY=1"):
                    return
            except TimeoutError:
                pass
        raise AssertionError(f"{self.name} did not say READY=1 in {seconds} s: {self.log()[-1500:]}")

    def curl(self, path, *more):
        """What curl prints: the status code in a last line of its own. The code is 000 when nothing answers."""
        run = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", "8", "-w", "\n%{http_code}", *more, self.client_url + path],
            capture_output=True, text=True, timeout=20)
        return run.stdout.rsplit("\n", 1)[-1], run.stdout + run.stderr

    def ask_locally(self, path, body=None, *more, as_user=()):
        """The status code and the answer of a request by the socket; the code is 000 when nobody may or nobody answers."""
        words = ["curl", "-sS", "--max-time", "8", "-w", "\n%{http_code}", "--unix-socket", self.client_socket, *more]
        words += ["-d", json.dumps(body)] if body is not None else []
        run = subprocess.run([*as_user, *words, "http://x" + path], capture_output=True, text=True, timeout=20)
        said, code = run.stdout.rsplit("\n", 1)
        return code, said + run.stderr

    def connection(self, timeout=8):
        return Connection(self.client_port, timeout, self.host)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def stop(self, seconds=30):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.notify:
            self.notify.close()


class Machine:
    """One service on loopback; a context manager."""

    def __init__(self, weft):
        self.directory = tempfile.mkdtemp(prefix="weft-test-")
        os.chmod(self.directory, 0o755)
        self.service = Service(self.directory, "m1", weft)
        self.service.configure([self.service])

    def __enter__(self):
        return self.service

    def __exit__(self, *_):
        self.service.end()
        shutil.rmtree(self.directory, ignore_errors=True)


def service_runs_without_any_privilege(report, weft):
    """First of all, that the tests below test something: the process has the unit's rights and no others."""
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        with open(f"/proc/{service.process.pid}/status") as file:
            status = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
        uid, gid = service.unit.user
        assert status["Uid"].split() == [str(uid)] * 4 and status["Gid"].split() == [str(gid)] * 4, status
        assert not status["Groups"].split() and status["NoNewPrivs"] == "1" and status["Umask"] == "0077", status
        for mask in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[mask], 16) == 0, f"{mask} is {status[mask]}"


def service_that_says_ready_answers_at_its_port(report, weft):
    """READY is said after an answer over the own port; from then on each request is answered."""
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        code, said = service.curl("/version")
        assert code == "200", f"it said READY, and then curl says: {said.strip()}"
        code, said = service.curl("/v1/kv/k", "-X", "PUT", "--data-binary", "v")
        assert code == "201", said
        code, said = service.curl("/v1/kv/k")
        assert said.startswith("v\n") and code == "200", said
        assert service.curl("/health")[0] == "200"


def service_takes_grpc_connections(report, weft):
    """HTTP/2 goes over the same accepted sockets."""
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        code, said = service.curl("/version", "--http2-prior-knowledge")
        assert code == "200", said.strip()


def own_machine_reaches_it_by_a_socket(report, weft):
    """Root and the service's group have all rights there, whatever users and passwords say; nobody else gets in."""
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        uid, gid = service.unit.user
        status = os.stat(service.client_socket)
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, uid, gid), status
        assert service.ask_locally("/v1/kv/a", None, "-X", "PUT", "--data-binary", "v")[0] == "201"
        for path, body in (("user/add", {"name": "root", "password": "forgotten"}),
                           ("user/grant", {"user": "root", "role": "root"}), ("enable", {})):
            assert service.ask_locally(f"/v3/auth/{path}", body)[0] == "200", path
        assert service.curl("/v1/kv/a")[0] == "400", "at the port there are no rights without a token"
        assert service.ask_locally("/v1/kv/a") == ("200", "v")
        assert service.ask_locally("/v3/cluster/member/list", {})[0] == "200"
        assert service.ask_locally("/v1/kv/a", None, "--http2-prior-knowledge") == ("200", "v")
        as_group = ["setpriv", "--reuid=61235", f"--regid={gid}", "--clear-groups"]
        as_stranger = ["setpriv", "--reuid=61235", "--regid=61235", "--clear-groups"]
        assert service.ask_locally("/v1/kv/a", as_user=as_group) == ("200", "v")
        assert service.ask_locally("/v1/kv/a", as_user=as_stranger)[0] == "000"
        code, said = service.ask_locally("/v1/kv/a", None, "-H", "authorization: made.up")
        assert code == "401", f"whoever shows a token is whom it names: {code} {said}"
        code, said = service.ask_locally("/v3/auth/authenticate", {"name": "root"})
        token = json.loads(said)["token"]
        assert service.curl("/v1/kv/a", "-H", f"authorization: {token}")[0] == "200", "a token for other members"
        assert service.ask_locally("/v3/auth/authenticate", {"name": "nobody"})[0] == "400"
        assert service.curl("/v3/auth/authenticate", "-d", '{"name": "root"}')[0] == "400", "only by the socket"
        endpoint = ["--endpoints", f"unix://{service.client_socket}"]
        for words in (["status"], ["check"], ["user", "list"], ["get", "a", "--user", "root"]):
            ran = subprocess.run([weft, *words, *endpoint], capture_output=True, text=True, timeout=30)
            assert ran.returncode == 0, (words, ran)
        # A lost password.
        assert service.ask_locally("/v3/auth/user/changepw", {"name": "root", "password": "found"})[0] == "200"
        code, said = service.curl("/v3/auth/authenticate", "-d", json.dumps({"name": "root", "password": "found"}))
        assert code == "200", said


def socket_of_a_killed_member_is_taken_over(report, weft):
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        other = subprocess.run(
            [weft, "serve", "--name", "m2", "--data-dir", os.path.join(service.directory, "m2"), "--client-socket",
             service.client_socket, "--listen-client-urls", f"http://127.0.0.1:{free_port()}", "--listen-peer-urls",
             f"http://127.0.0.1:{free_port()}"], capture_output=True, text=True, timeout=30)
        assert other.returncode == 1 and "another process serves there" in other.stderr, other
        assert service.ask_locally("/livez")[0] == "200"
        service.process.kill()
        service.process.wait()
        kept = os.path.join(service.directory, "kept")
        os.rename(service.client_socket, kept)
        service.make_runtime_directory = lambda: os.replace(kept, service.client_socket)
        service.start()
        service.wait_ready()
        assert service.ask_locally("/livez")[0] == "200", "the file was left by the process that was killed"
        assert service.stop() == 0 and not os.path.exists(service.client_socket)
        with open(service.client_socket, "w") as file:
            file.write("not a socket")
        service.make_runtime_directory = lambda: None
        service.start()
        service.wait_ready()
        assert "is no socket" in service.log(), "nobody asked for it, so the member does without: " + service.log()[-600:]
        with open(service.client_socket) as file:
            assert file.read() == "not a socket"


def command_finds_the_socket_by_itself(report, weft):
    """In a mount namespace whose /run has the service's directory."""
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        script = f'mount -t tmpfs none /run && ln -s {service.runtime_directory} /run/weft && exec "$@"'
        environment = {key: value for key, value in os.environ.items() if key != "WEFT_ENDPOINTS"}

        def run(*words):
            return subprocess.run(
                ["unshare", "-m", "sh", "-c", script, "sh", weft, *words], capture_output=True, text=True, timeout=30,
                env=environment)

        assert run("put", "a", "b").returncode == 0
        assert run("get", "a").stdout.strip().endswith("b"), run("get", "a")
        service.stop()
        failed = run("get", "a", "--endpoints", f"unix://{service.client_socket}")
        assert failed.returncode != 0 and service.client_socket in failed.stderr, failed


def service_stops_well_and_comes_back_with_its_data(report, weft):
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        assert service.curl("/v1/kv/k", "-X", "PUT", "--data-binary", "kept")[0] == "201", service.log()[-500:]
        assert service.stop() == 0, service.log()[-500:]
        service.start()
        service.wait_ready()
        assert service.curl("/v1/kv/k")[1].startswith("kept\n")


def service_keeps_its_files_to_itself(report, weft):
    with Machine(weft) as service:
        service.start()
        service.wait_ready()
        uid, _ = service.unit.user
        seen = 0
        for parent, folders, files in os.walk(service.path("/var/lib/weft")):
            for name in folders + files:
                about = os.lstat(os.path.join(parent, name))
                assert about.st_uid == uid and about.st_mode & 0o077 == 0, f"{name}: {about}"
                seen += 1
        assert seen > 3, "it has written nothing"


def directories_that_root_fills_are_the_services(report, weft):
    """In the worst minute root runs the command; the service must be able to go on with what it made."""
    with Machine(weft) as service:
        data, backup = service.path("/var/lib/weft/data"), os.path.join(service.directory, "backup.db")

        def as_root(*words):
            run = subprocess.run([weft, *words], capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, run.stdout + run.stderr

        def goes_on():
            for parent, folders, files in os.walk(service.path("/var/lib/weft")):
                for name in folders + files:
                    about = os.lstat(os.path.join(parent, name))
                    assert (about.st_uid, about.st_gid) == service.unit.user, f"{parent}/{name} is {about.st_uid}'s"
            service.start()
            service.wait_ready()
            assert service.curl("/v1/kv/k")[1].startswith("kept\n"), service.log()[-500:]
        service.start()
        service.wait_ready()
        assert service.curl("/v1/kv/k", "-X", "PUT", "--data-binary", "kept")[0] == "201", service.log()[-500:]
        as_root("snapshot", "save", backup, "--endpoints", service.client_url)
        assert service.stop() == 0, service.log()[-500:]
        as_root("recover", "--data-dir", data, "--yes")
        goes_on()
        assert service.stop() == 0, service.log()[-500:]
        for name in os.listdir(os.path.dirname(data)):
            shutil.rmtree(os.path.join(os.path.dirname(data), name))
        as_root("snapshot", "restore", backup, "--name", service.name, "--data-dir", data,
                "--initial-advertise-peer-urls", service.peer_url)
        goes_on()


class Site:
    """Services with a network namespace each; a context manager."""

    def __init__(self, weft, count=3):
        # The fabric gives the network alone: it has no founders, so it starts none of its members.
        self.network = IsolatedFabric(weft, 0)
        os.chmod(self.network.directory, 0o755)
        self.services = []
        for number in range(count):
            machine = self.network.add(f"m{number + 1}")
            self.services.append(
                Service(self.network.directory, f"m{number + 1}", weft, machine.host, machine.namespace))
        for service in self.services:
            service.configure(self.services)

    def __enter__(self):
        self.network.__enter__()
        try:
            for service in self.services:
                service.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self.services

    def __exit__(self, *_):
        for service in self.services:
            service.end()
        self.network.__exit__(None, None, None)


def three_services_form_a_fabric(report, weft):
    """A put at one is read at the others, and still when the machine of the leader is gone."""
    with Site(weft) as services:
        for service in services:
            service.wait_ready()
        put = {"key": b64("k"), "value": b64("v")}
        attempt(15, lambda: services[0].connection().call("/v3/kv/put", put))
        for service in services[1:]:
            found = attempt(10, lambda: service.connection().call("/v3/kv/range", {"key": b64("k")}))
            assert unb64(found["kvs"][0]["value"]) == b"v", found
            assert "in clear text" in service.log(), service.log()[:500]
        # A member is not known by its name before it has told the others.
        attempt(15, lambda: all(m.get("name") for m in services[0].connection().call("/v3/cluster/member/list", {})["members"]))
        said = subprocess.run([weft, "check", "--endpoints", services[0].client_url], capture_output=True, text=True, timeout=30)
        names = ", ".join(sorted(s.name for s in services))
        for who in ("members", "clients"):
            assert f"     {who} reach {names} in clear text" in said.stdout, said
        assert "warn weaknesses are known" in said.stdout and said.returncode == 0, said
        status = services[0].connection().call("/v3/maintenance/status", {})
        by_id = {s.connection().call("/v3/maintenance/status", {})["header"]["member_id"]: s for s in services}
        by_id[status["leader"]].end()
        left = [s for s in services if s.process.poll() is None]
        attempt(15, lambda: left[0].connection().call("/v3/kv/put", {"key": b64("k"), "value": b64("w")}))
        found = attempt(10, lambda: left[1].connection().call("/v3/kv/range", {"key": b64("k")}))
        assert unb64(found["kvs"][0]["value"]) == b"w", found


def service_joins_a_fabric_of_services(report, weft):
    """The README's way: the service's user joins once; afterwards the service runs as a member."""
    with Site(weft, 2) as services:
        first, late = services
        late.end()
        first.end()
        shutil.rmtree(first.path("/var/lib/weft/data"), ignore_errors=True)
        shutil.rmtree(late.path("/var/lib/weft/data"), ignore_errors=True)
        first.configure([first])
        late.configure([])
        first.start()
        first.wait_ready()
        attempt(10, lambda: first.connection().call("/v3/kv/put", {"key": b64("k"), "value": b64("v")}))
        join = late.namespace + late.unit.wrapper() + [
            late.path("/usr/local/bin/weft"), "join", first.client_url, "--name", late.name,
            "--data-dir", late.path("/var/lib/weft/data"),
            "--listen-client-urls", late.client_url, "--listen-peer-urls", late.peer_url]
        with open(late.log_path, "ab") as log:
            joiner = subprocess.Popen(join, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        try:
            attempt(20, lambda: late.connection().request("GET", "/health")[0] == 200)
        finally:
            joiner.send_signal(signal.SIGTERM)
            joiner.wait(20)
        late.start()
        late.wait_ready()
        found = attempt(10, lambda: late.connection().call("/v3/kv/range", {"key": b64("k")}))
        assert unb64(found["kvs"][0]["value"]) == b"v", found


def services_are_secure_as_shipped(report, weft):
    """The settings as they come, but for addresses: one founds, the other joins by token, as the service's user; nobody else gets in."""
    with Site(weft, 2) as services:
        first, late = services
        for service in services:
            service.end()
            shutil.rmtree(service.path("/var/lib/weft/data"), ignore_errors=True)
            service.scheme = "https"
        first.configure([], found=True)
        late.configure([])
        first.start()
        first.wait_ready()
        token = subprocess.run([weft, "token", "create", "--endpoints", f"unix://{first.client_socket}"], capture_output=True, text=True,
                               timeout=30).stdout.strip()
        assert first.ask_locally("/v1/kv/k", None, "-X", "PUT", "--data-binary", "v")[0] == "201"
        code, said = first.curl("/v1/kv/k", "-k")
        assert code == "401" and "answers known callers only" in said, said
        read, write = os.pipe()
        os.write(write, token.encode() + b"\n")
        os.close(write)
        with open(late.log_path, "ab") as log:
            joiner = subprocess.Popen(
                late.namespace + late.unit.wrapper() + [
                    late.path("/usr/local/bin/weft"), "join", first.client_url, "--token", "-", "--name", late.name,
                    "--data-dir", late.path("/var/lib/weft/data"), "--listen-client-urls", late.client_url,
                    "--listen-peer-urls", late.peer_url], stdin=read, stdout=log, stderr=log, cwd="/")
        os.close(read)
        try:
            attempt(20, lambda: "the join is done" in late.log())
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- {late.name}\n{late.log()[-3000:]}\n--- {first.name}\n{first.log()[-3000:]}") from None
        finally:
            joiner.send_signal(signal.SIGTERM)
            joiner.wait(20)
        late.start()
        late.wait_ready()
        assert late.ask_locally("/v1/kv/k") == ("200", "v"), late.log()[-1000:]
        assert "in clear text" not in first.log() + late.log()
        said = subprocess.run([weft, "check", "--endpoints", f"unix://{late.client_socket}"], capture_output=True, text=True, timeout=30)
        assert "ok   all 2 members answer" in said.stdout and "clear text" not in said.stdout, said
        out = os.path.join(first.directory, "client")
        made = subprocess.run([weft, "ca", "issue", "curl", "--out", out, "--endpoints", f"unix://{first.client_socket}"], capture_output=True,
                              text=True, timeout=30)
        assert made.returncode == 0, made
        files = ["--cacert", out + "/ca.pem", "--cert", out + "/client.pem", "--key", out + "/client.key"]
        assert late.curl("/v1/kv/k", *files)[1].startswith("v\n"), late.curl("/v1/kv/k", *files)


CHECKS = [service_runs_without_any_privilege, service_that_says_ready_answers_at_its_port,
          service_takes_grpc_connections, service_stops_well_and_comes_back_with_its_data,
          own_machine_reaches_it_by_a_socket, socket_of_a_killed_member_is_taken_over, command_finds_the_socket_by_itself,
          service_keeps_its_files_to_itself, directories_that_root_fills_are_the_services, three_services_form_a_fabric, service_joins_a_fabric_of_services,
          services_are_secure_as_shipped]


def main():
    weft = os.path.abspath(sys.argv[1])
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    report = Report()
    if not namespaces.available():
        print("skipped: the service (needs root and network namespaces)")
        report.finish()
    for check in CHECKS:
        if only in (None, check.__name__):
            report.run(check.__name__.replace("_", " "), check, report, weft)
    report.finish()


if __name__ == "__main__":
    main()
