#!/usr/bin/env python3
"""TLS at the client port: certificates, versions, renewal without a restart, and those who should not get in.

    tls.py WEFT [--only NAME]
"""
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import clients
from harness import Fabric, attempt, b64, free_port, give_to_service

checks = []


def check(function):
    checks.append(function)
    return function


def sign_between(directory, ca, key, name, extensions, begin, end):
    """NAME.pem of NAME.csr, good from one day until another, both counted from now, by the CA of these files. What x509 signs begins now."""
    def write(file, text):
        with open(os.path.join(directory, file), "w") as out:
            out.write(text)

    write(f"{name}.index", "")
    write(f"{name}.ext", extensions)
    write(f"{name}.conf", f"[ca]\ndefault_ca=own\n[own]\ndatabase={name}.index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
          "[any]\ncommonName=optional\n")
    times = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86_400)) for days in (begin, end)]
    subprocess.run(["openssl", "ca", "-batch", "-config", f"{name}.conf", "-cert", ca, "-keyfile", key, "-in", f"{name}.csr", "-extfile", f"{name}.ext",
                    "-notext", "-startdate", times[0], "-enddate", times[1], "-out", f"{name}.pem"], cwd=directory, check=True, capture_output=True, timeout=60)
    give_to_service(directory)


class Authority:
    """A CA with a directory for what it signs; a context manager that removes it."""

    def __init__(self, name="ca", directory=None):
        self.name = name
        self.directory = directory or tempfile.mkdtemp(prefix="weft-tls-")
        os.chmod(self.directory, 0o755)
        self.openssl("req", "-x509", *self.new_key(name), "-out", f"{name}.pem", "-days", "30", "-subj", f"/CN={name}")
        self.write(f"{name}.index", "")
        self.write(f"{name}.conf", f"[ca]\ndefault_ca=own\n[own]\ndatabase={self.path(name + '.index')}\n"
                   "default_md=sha256\ndefault_crl_days=30\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def new_key(name):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True, timeout=60)

    def leaf(self, name, names="DNS:localhost,IP:127.0.0.1"):
        """NAME.pem and NAME.key, in place of those there were."""
        self.openssl("req", *self.new_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self.write(f"{name}.ext", f"subjectAltName={names}")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key",
                     "-CAcreateserial", "-out", f"{name}.pem", "-days", "20", "-extfile", f"{name}.ext")
        give_to_service(self.directory)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def leaf_between(self, name, begin, end, names="DNS:localhost,IP:127.0.0.1"):
        """The same, good from one day until another, both counted from now."""
        self.leaf(name, names)
        sign_between(self.directory, self.path(f"{self.name}.pem"), self.path(f"{self.name}.key"), name, f"subjectAltName={names}", begin, end)

    def revoke(self, *names):
        """The path of a list with them."""
        own = ["-config", f"{self.name}.conf", "-cert", f"{self.name}.pem", "-keyfile", f"{self.name}.key"]
        for name in names:
            self.openssl("ca", *own, "-revoke", f"{name}.pem")
        self.openssl("ca", *own, "-gencrl", "-out", f"{self.name}.crl")
        give_to_service(self.directory)
        return self.path(f"{self.name}.crl")

    def context(self, name=None):
        context = ssl.create_default_context(cafile=self.path(f"{self.name}.pem"))
        if name:
            context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return context


class Secure:
    """One member with a secure port beside its plain one; a context manager."""

    def __init__(self, weft, authority, *flags):
        self.port = free_port()
        self.fabric = Fabric(weft, 1, ["--cert-file", authority.path("server.pem"), "--key-file", authority.path("server.key"), *flags])
        self.member = self.fabric.members[0]
        plain = self.member.arguments

        def arguments():
            words = plain()
            words[words.index("--listen-client-urls") + 1] = f"https://127.0.0.1:{self.port},{self.member.client_url}"
            return words

        self.member.arguments = arguments
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self):
        self.fabric.__enter__()
        return self

    def __exit__(self, *failure):
        self.fabric.__exit__(*failure)

    def ask(self, context, path="/v3/kv/range", body=None):
        """The answer's status and JSON; an OSError when there is none."""
        link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=15, context=context)
        try:
            link.request("POST", path, json.dumps(body or {"key": b64("k")}))
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        except http.client.HTTPException as error:
            raise OSError(f"{error}")
        finally:
            link.close()

    def refuses(self, context):
        try:
            answer = self.ask(context)
        except OSError:
            return True
        raise AssertionError(f"it answered {answer}")

    def serial(self, context):
        with socket.create_connection(("127.0.0.1", self.port), 10) as link:
            with context.wrap_socket(link, server_hostname="127.0.0.1") as secure:
                return secure.getpeercert()["serialNumber"]


def run(*words, status=0, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, f"{' '.join(words)}: {done.returncode}, not {status}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@check
def clients_of_all_kinds_come_by_tls(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority) as secure:
            ca = authority.path("ca.pem")
            status, _ = secure.ask(authority.context(), "/v3/kv/put", {"key": b64("k"), "value": b64("v")})
            report.check("the gateway answers", status == 200)
            for version in ("--http1.1", "--http2"):
                said = run("curl", "-sS", version, "--cacert", ca, "-w", " %{http_version}", f"{secure.url}/v1/kv/k")
                report.check(f"curl {version} reads it", said == ("v 1.1" if version == "--http1.1" else "v 2"), said)
            at = ["--endpoints", secure.url, "--cacert", ca]
            report.check("weft reads it", run(weft, "get", "k", *at) == "v\n")
            large = "x" * 1_000_000
            run(weft, "put", "large", *at, text=large)
            report.check("a large value comes and goes whole", run(weft, "get", "large", *at) == large + "\n")
            ctl = [clients.etcdctl("3.5.1"), "--endpoints", secure.url, "--cacert", ca]
            report.check("etcdctl writes and reads", run(*ctl, "put", "k", "w") == "OK\n" and run(*ctl, "get", "k") == "k\nw\n")
            report.check("so it does at the plain port", run(weft, "get", "k", "--endpoints", secure.member.client_url) == "w\n")
            said = run(weft, "get", "k", "--endpoints", secure.url, status=4)
            report.check("without the CA nobody is believed, and the command says why", "certificate" in said, said)
            said = run(weft, "get", "k", "--endpoints", f"http://127.0.0.1:{secure.port}", "--timeout", "5", status=4)
            report.check("clear text is no TLS", "closed" in said or "reset" in said, said)
            run(weft, "bench", "put", "--seconds", "1", "--clients", "16", *at)


@check
def a_member_that_serves_by_tls_only_starts(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        authority.leaf("client")
        flags = ["--cert-file", authority.path("server.pem"), "--key-file", authority.path("server.key")]
        for more in ([], ["--trusted-ca-file", authority.path("ca.pem"), "--tls-max-version", "TLS1.2"],
                     ["--trusted-ca-file", authority.path("ca.pem")]):
            with Fabric(weft, 0) as fabric:
                member = fabric.add("m1")
                fabric.founders.append(member)
                member.start(*flags, *more, "--listen-client-urls", f"https://127.0.0.1:{member.client_port}")
                at = ["--endpoints", f"https://127.0.0.1:{member.client_port}", "--cacert", authority.path("ca.pem"),
                      "--cert", authority.path("client.pem"), "--key", authority.path("client.key")]
                member.wait_started("serves clients on https://")
                attempt(30, lambda: subprocess.run([weft, "put", "k", "v", *at], capture_output=True, timeout=30).returncode == 0)
                report.check(f"with {' '.join(more[::2]) or 'a certificate'}", member.process.poll() is None)


@check
def settings_that_contradict_themselves_are_named(report, weft):
    with Authority() as authority, Fabric(weft, 0) as fabric:
        authority.leaf("server")
        member = fabric.add("m1")
        cert = ["--cert-file", authority.path("server.pem"), "--key-file", authority.path("server.key")]
        https = ["--listen-client-urls", f"https://127.0.0.1:{member.client_port}"]
        for what, flags, word in [
                ("a certificate without its key", [*https, *cert[:2]], "--key-file"),
                ("a CA of clients for certificates that the fabric makes", [*https, "--trusted-ca-file", authority.path("ca.pem")], "--cert-file"),
                ("names for certificates that nobody makes", ["--tls-san", "x"], "--tls-san"),
                ("client-cert-auth without a CA", [*cert, *https, "--client-cert-auth", "true"], "--trusted-ca-file"),
                ("a list of revoked certificates without a CA", [*cert, *https, "--client-crl-file", "x"], "--trusted-ca-file"),
                ("cipher suites of TLS 1.3", [*cert, *https, "--tls-min-version", "TLS1.3", "--cipher-suites", "x"], "TLS 1.3"),
                ("an unknown cipher suite", [*cert, *https, "--cipher-suites", "ROT13"], "ROT13"),
                ("a CA of clients where all is clear", ["--trusted-ca-file", authority.path("ca.pem")], "no https:// address"),
                ("an unknown version", [*cert, *https, "--tls-min-version", "SSL3"], "SSL3"),
                ("a key that does not fit", [cert[0], cert[1], "--key-file", authority.path("ca.key"), *https], "ca.key"),
                ("a member's certificate without its key", ["--listen-peer-urls", "https://127.0.0.1:1", *[f"--peer-{c[2:]}" if c.startswith("--") else c for c in cert[:2]]],
                 "--peer-key-file"),
                ("a CA of members for certificates that the fabric makes",
                 ["--listen-peer-urls", "https://127.0.0.1:1", "--peer-trusted-ca-file", authority.path("ca.pem")], "--peer-cert-file"),
                ("a CA of members where all is clear", ["--peer-trusted-ca-file", authority.path("ca.pem")], "no https:// address"),
                ("two names for members", ["--peer-trusted-ca-file", authority.path("ca.pem"), "--peer-cert-allowed-cn", "x",
                                           "--peer-cert-allowed-hostname", "y"], "exclude each other"),
                ("members' certificates without a CA", ["--peer-client-cert-auth", "true"], "--peer-trusted-ca-file")]:
            said = run(weft, "serve", "--data-dir", member.data, *flags, status=2)
            report.check(what, word in said and not os.path.exists(member.data), said)
        said = run(weft, "get", "k", "--endpoints", "https://127.0.0.1:1", "--cert", authority.path("server.pem"), status=2)
        report.check("a certificate without its key", "--key" in said and "--key-file" not in said, said)


@check
def a_machine_joins_by_tls(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        late = None
        with Secure(weft, authority) as secure:
            late = secure.fabric.add("m2")
            late.spawn(["join", secure.url, *late.arguments()])
            late.process.wait(timeout=30)
            report.check("a CA that is not known is no fabric to join", late.process.returncode != 0, late.process.returncode)
            late.spawn(["join", secure.url, "--cacert", authority.path("ca.pem"), *late.arguments()])
            late.wait_healthy()
            report.check("it is a voter in the end", attempt(20, lambda: not late.status().get("isLearner")) is not None, late.status())


@check
def only_who_shows_the_right_certificate_gets_in(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        for name in ("good", "gone", "elsewhere"):
            authority.leaf(name, "DNS:elsewhere.example" if name == "elsewhere" else "DNS:node.example")
        authority.leaf_between("past", -40, -1, "DNS:node.example")
        authority.leaf_between("early", 2, 20, "DNS:node.example")
        foreign = Authority("foreign", authority.directory)
        foreign.leaf("stranger", "DNS:node.example")
        crl = authority.revoke("gone")
        with Secure(weft, authority, "--client-cert-auth", "true", "--trusted-ca-file", authority.path("ca.pem"),
                    "--client-crl-file", crl, "--client-cert-allowed-hostname", "node.example") as secure:
            report.check("a good one", secure.ask(authority.context("good"))[0] == 200)
            for what, name in [("no certificate", None), ("a revoked one", "gone"), ("another CA's", "stranger"),
                               ("one past its time", "past"), ("one before its time", "early"), ("one for another name", "elsewhere")]:
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    context = authority.context(name)
                    context.maximum_version = version
                    report.check(f"{what} is refused ({version.name})", secure.refuses(context))
            authority.revoke("good")
            report.check("a certificate is taken back without a restart", secure.refuses(authority.context("good")))
            log = secure.member.log()
            report.check("the log says why, and of whom", "127.0.0.1" in log
                         and all(word in log for word in ("revoked", "expired", "not yet valid", "is not for node.example")), log[-1500:])
            report.check("the member is well", secure.member.healthy())


@check
def a_certificate_is_renewed_without_a_restart(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority) as secure:
            context = authority.context()
            before = secure.serial(context)
            old = http.client.HTTPSConnection("127.0.0.1", secure.port, timeout=15, context=context)
            old.request("GET", "/version")
            old.getresponse().read()
            authority.leaf("server")
            after = secure.serial(context)
            report.check("a new connection sees the new one", after != before, f"{before} {after}")
            old.request("GET", "/version")
            report.check("an old connection goes on", old.getresponse().status == 200)
            authority.write("server.pem", "nonsense")
            report.check("one that cannot be read leaves the old one in use", secure.serial(context) == after)
            report.check("and the log says so", "cannot be used" in secure.member.log(), secure.member.log()[-800:])


@check
def versions_are_as_the_settings_say(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        old, newest = authority.context(), authority.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with Secure(weft, authority) as secure:
            report.check("TLS 1.2 and 1.3 by default", secure.ask(old)[0] == 200 and secure.ask(newest)[0] == 200)
            ancient = authority.context()
            ancient.minimum_version = ancient.maximum_version = ssl.TLSVersion.TLSv1_1
            ancient.set_ciphers("ALL:@SECLEVEL=0")
            report.check("nothing older", secure.refuses(ancient))
        with Secure(weft, authority, "--tls-min-version", "TLS1.3") as secure:
            report.check("TLS 1.3 alone", secure.refuses(old) and secure.ask(newest)[0] == 200)


@check
def who_does_not_shake_hands_keeps_nobody_out(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority) as secure:
            links = []
            for _ in range(600):
                try:
                    links.append(socket.create_connection(("127.0.0.1", secure.port), 5))
                except OSError:
                    break
            begin = time.time()
            report.check("others are served meanwhile", secure.ask(authority.context())[0] == 200)
            for link in links:
                link.settimeout(30)

            def is_closed(link):
                try:
                    return link.recv(1) == b""
                except OSError:
                    return True

            report.check("each is closed", all(is_closed(link) for link in links))
            report.check("within the ten seconds that a handshake has, and some", time.time() - begin < 40, time.time() - begin)
            for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70_000, os.urandom(5000)):
                with socket.create_connection(("127.0.0.1", secure.port), 5) as link:
                    link.settimeout(15)
                    try:
                        link.sendall(garbage)
                        while link.recv(4096):
                            pass
                    except OSError:
                        pass
            report.check("bytes that are no TLS end their connection only", secure.ask(authority.context())[0] == 200
                         and secure.member.healthy())


@check
def pages_come_by_tls_too(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority) as secure:
            ca = ["--cacert", authority.path("ca.pem"), "-sS", "-o", "/dev/null", "-w", "%{http_code}"]
            own = run("curl", *ca, "-H", f"Origin: https://127.0.0.1:{secure.port}", f"{secure.url}/version")
            report.check("its own pages may ask", own == "200", own)
            for origin in (f"http://127.0.0.1:{secure.port}", "https://evil.example"):
                said = run("curl", *ca, "-H", f"Origin: {origin}", f"{secure.url}/version")
                report.check(f"those of {origin} may not", said == "403", said)


if __name__ == "__main__":
    from wire import main
    main(checks, "tls.py")
