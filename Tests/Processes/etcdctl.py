"""etcdctl as the cases of clients_etcdctl.py use it."""
import base64
import json
import os
import re
import secrets
import subprocess

import clients
from clients import Running

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


def matches(pattern, text):
    found = re.fullmatch(pattern, text)
    assert found, f"{text!r} is not of the form {pattern!r}"
    return found


class Etcdctl:
    """One version of the client, pointed at all endpoints unless told otherwise."""

    def __init__(self, version, endpoints):
        self.version, self.endpoints = version, endpoints
        self.binary = clients.etcdctl(version)
        self.newer = version != "3.4"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        self.environment["ETCDCTL_API"] = "3"

    def prefix(self, name):
        return f"etcdctl/{self.version}/{name}/{secrets.token_hex(4)}/"

    def words(self, words, at):
        return [self.binary, "--endpoints", ",".join(at or self.endpoints), *words]

    def all_output(self, *words, status=0, text=None, at=None, seconds=20):
        """What it writes to its two outputs; it must end with `status`."""
        run = subprocess.run(self.words(words, at), input=text if isinstance(text, bytes) else (text or "").encode(),
                             capture_output=True, env=self.environment, timeout=seconds)
        said, complained = run.stdout.decode(errors="backslashreplace"), run.stderr.decode(errors="backslashreplace")
        assert status in (None, run.returncode), \
            f"etcdctl {' '.join(map(str, words))}: ended with {run.returncode}, not {status}: {said}{complained}"
        return said, complained

    def __call__(self, *words, **options):
        return self.all_output(*words, **options)[0]

    def refused(self, why, *words, status=1, **options):
        """It fails, and the last line of its complaints has `why`."""
        complained = self.all_output(*words, status=status, **options)[1]
        assert why in (complained.strip().split("\n") or [""])[-1], f"etcdctl {' '.join(map(str, words))}: {complained}"

    def json(self, *words, **options):
        return json.loads(self(*words, "-w", "json", **options))

    def running(self, *words, text=None, at=None):
        return Running(self.words(words, at), self.environment, text)

    def put(self, key, value, *flags):
        """The revision it made."""
        return self.json("put", key, value, *flags)["header"]["revision"]

    def revision(self):
        return self.json("get", "no such key")["header"]["revision"]

    def grant(self, seconds):
        return matches(r"lease ([0-9a-f]{16}) granted with TTL\(\d+s\)\n", self("lease", "grant", str(seconds)))[1]

    def filled(self, name, *names):
        """A prefix with keys under it, each with its own name as the value, and the revision of the last."""
        prefix, revision = self.prefix(name), 0
        for n in names:
            revision = self.put(prefix + n, n)
        return prefix, revision


def bare(data):
    return base64.b64decode(data).decode()


def keys(answer):
    return [bare(pair["key"]) for pair in answer.get("kvs", [])]
