"""Fabrics with a CA of their own, for the tests beside this file."""
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile

from harness import Connection, Fabric, Member, as_service, attempt, free_port, give_to_service, reachable


class LocalConnection(http.client.HTTPConnection):
    """To a member's socket in the file system."""

    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(link, method, path, body=None):
    """The answer's status and JSON, or text where it is none."""
    try:
        link.request(method, path, None if body is None else json.dumps(body))
        answer = link.getresponse()
        text = answer.read().decode("utf-8", "replace")
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text
    finally:
        link.close()


class SecureMember(Member):
    """One at https:// ports, with the certificates that its fabric makes."""

    def __init__(self, fabric, name):
        super().__init__(fabric, name)
        self.peer_scheme = "https"
        self.socket = os.path.join(fabric.directory, name + ".socket")

    @property
    def client_url(self):
        return f"https://{self.host}:{self.client_port}"

    def arguments(self):
        return [*super().arguments(), "--client-socket", self.socket]

    def start_alone(self):
        self.spawn(["serve", *self.arguments(), "--initial-cluster", f"{self.name}={self.peer_url}"])

    @property
    def endpoint(self):
        return f"unix://{self.socket}"

    def local(self, method, path, body=None):
        """Asks as root of the machine."""
        return ask(LocalConnection(self.socket), method, path, body)

    def connection(self, timeout=12):
        """As root of the fabric, over the network."""
        return Connection(self.client_port, timeout, self.host, context(self.fabric.root))

    def healthy(self):
        try:
            return self.local("GET", "/health")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, context=None):
        """Asks over the network; without a context as nobody, who believes everybody."""
        context = context or ssl._create_unverified_context()
        return ask(http.client.HTTPSConnection(self.host, self.client_port, timeout=10, context=context), method, path, body)

    @property
    def id(self):
        return int(self.local("POST", "/v3/maintenance/status", {})[1]["header"]["member_id"])

    @property
    def fabric_id(self):
        return int(self.local("POST", "/v3/maintenance/status", {})[1]["header"]["cluster_id"])

    def tls(self, name):
        return os.path.join(self.data, "tls", name)


class OwnFabric(Fabric):
    """One founder; others join by token."""

    def __init__(self, weft, flags=(), count=1):
        super().__init__(weft, count, flags)

    def add(self, name):
        member = SecureMember(self, name)
        self.members.append(member)
        return member

    def __enter__(self):
        super().__enter__()
        if not self.members:
            return self
        first = self.members[0]
        try:
            attempt(10, lambda: first.local("GET", "/v1/ca")[1].get("authorities"))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def run(self, *words, check=True, environment=()):
        """The weft command as the service's user. Its output; nothing else may go wrong."""
        done = subprocess.run(as_service([reachable(os.path.abspath(self.weft)), *words], environment), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        assert not check or done.returncode == 0, f"weft {' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}"
        return done if not check else done.stdout.strip()

    def token(self, *words):
        return self.run("token", "create", *words, "--endpoints", self.members[0].endpoint)

    def join(self, name, *words, wait=True):
        """Adds a member of the role that `words` say."""
        member = self.add(name)
        member.join(self.members[0], "--token", self.token(*words))
        if wait:
            wanted = "witness" if "witness" in words else "voter"
            # A witness reads nothing, and so is never well for those who would.
            if wanted == "voter":
                member.wait_healthy()
            attempt(30, lambda: self.roles().get(name) == wanted, f"{name} does not become a {wanted}")
        return member

    def roles(self):
        return {m.get("name"): m["role"] for m in self.members[0].local("GET", "/v1/members")[1]["members"]}

    def client(self, name, role="weft:client", *words):
        """A directory with ca.pem, client.pem and client.key."""
        out = os.path.join(self.directory, name)
        self.run("ca", "issue", name, "--role", role, "--out", out, *words, "--endpoints", self.members[0].endpoint)
        return out

    @property
    def root(self):
        """A directory with root's certificate."""
        out = os.path.join(self.directory, "root-of-the-tests")
        return out if os.path.exists(out) else self.client("root-of-the-tests", "root")

    @property
    def certificate(self):
        """The same for the command, as its environment."""
        return {"WEFT_CACERT": self.root + "/ca.pem", "WEFT_CERT": self.root + "/client.pem", "WEFT_KEY": self.root + "/client.key"}

    def noted(self):
        """What the fabric knows of members' certificates, by name."""
        return {m.get("name"): m for m in self.members[0].local("GET", "/v1/ca/certificates")[1]["members"]}


def context(directory, own=True):
    """Believes the fabric's CA, and shows the certificate of a directory."""
    found = ssl.create_default_context(cafile=os.path.join(directory, "ca.pem"))
    if own:
        found.load_cert_chain(os.path.join(directory, "client.pem"), os.path.join(directory, "client.key"))
    return found


class Stranger:
    """A CA of somebody else, and what it signs; a context manager."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="weft-stranger-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def sign(self, name, uri, ca=None):
        """NAME.pem, with its key, for a URI; signed by the CA of a file with certificate and key, or by nobody but itself."""
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path(name + ".key")]
        words = ["openssl", "req", "-x509", *key, "-out", self.path(name + ".crt"), "-days", "3", "-subj", f"/CN={name}", "-addext",
                 f"subjectAltName=URI:{uri}", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        if ca:
            words += ["-CA", ca, "-CAkey", ca, "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(words, check=True, capture_output=True, timeout=30)
        with open(self.path(name + ".pem"), "w") as out:
            for part in (".crt", ".key"):
                with open(self.path(name + part)) as file:
                    out.write(file.read())
        return self.path(name + ".pem")


class Clock:
    """The wall clock of members that are started with it; the test sets it."""

    def __init__(self, fabric):
        library = os.path.join(fabric.directory, "clocks.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clocks.c")
        if not os.path.exists(library):
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True, timeout=60)
        self.path = os.path.join(fabric.directory, f"clock-{free_port()}")
        self.set(0)
        self.environment = {"LD_PRELOAD": library, "WEFT_CLOCK_JUMP": self.path}
        give_to_service(fabric.directory)

    def set(self, days):
        """Ahead by so many days. In place: members have the file mapped."""
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as file:
            file.write(int(days * 86_400_000).to_bytes(8, "little", signed=True))
