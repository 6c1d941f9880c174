#!/usr/bin/env python3
"""Damages the files of one member of three while it is down. Whatever it is, it is found and not served: the member gets
everything back from the others by itself, or, where it cannot know its own vote any more, says how to come back."""
import os
import shutil
import subprocess
import sys
import time

from bad_input import ended
from harness import Fabric, Report, Unanswered, b64

KEYS = 400


def flip(path, offset, bit=3):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def flip_within(path, text):
    """A bit of the place where `text` lies in the file."""
    with open(path, "rb") as file:
        place = file.read().rfind(text)
    assert place >= 0, f"{path} does not hold {text!r}"
    flip(path, place + len(text) // 2)


def flip_page_of(path, text):
    """A bit of the header of the page that holds `text`."""
    with open(path, "rb") as file:
        place = file.read().find(text)
    assert place >= 0, f"{path} does not hold {text!r}"
    flip(path, place // 8192 * 8192 + 1)


def noise(path):
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        file.write(os.urandom(min(size, 65536)))


class Damage:
    def __init__(self, fabric):
        self.fabric, self.member = fabric, fabric.members[2]
        self.others = fabric.members[:2]
        self.round = 0
        self.fill()

    def fill(self):
        """Writes anew what the damage hits, part of it lately, and kills the member."""
        self.round += 1
        self.member.wait_healthy()
        writer = self.others[0].connection()
        for n in range(KEYS):
            writer.call("/v3/kv/put", {"key": b64(f"damage/{n:04}"), "value": b64(f"value-{n:04}-{self.round}-" + "x" * 500)})
        # Until kv.db has what was written, and not only its memory.
        time.sleep(1.2)
        writer.call("/v3/kv/put", {"key": b64("after"), "value": b64("y" * 300)})
        time.sleep(0.2)
        self.member.kill()

    def path(self, name):
        return os.path.join(self.member.data, name)

    def repaired(self, harm, said="is damaged"):
        """It says what it found, gets everything back, and counts again."""
        if self.member.process:
            self.fill()
        harm()
        self.member.start()
        self.member.wait_healthy(60)
        log = self.member.log()[self.member.log_start:]
        assert said in log, f"it did not notice:\n{log[-2000:]}"
        count = self.member.connection().call(
            "/v3/kv/range", {"key": b64("damage/"), "range_end": b64("damage0"), "count_only": True, "serializable": True})
        assert count["count"] == str(KEYS), count
        end = time.time() + 30
        while "everything that was lost is here again" not in self.member.log()[self.member.log_start:]:
            assert time.time() < end, f"it does not recover:\n{self.member.log()[-2000:]}"
            time.sleep(0.1)
        # With one of the others gone nothing is written without it.
        gone = self.others[1]
        gone.kill()
        self.write(30)
        gone.start()
        gone.wait_healthy()
        self.fill()

    def write(self, seconds):
        end = time.time() + seconds
        while True:
            try:
                self.others[0].connection().call("/v3/kv/put", {"key": b64("counted"), "value": b64("z")})
                return
            except Unanswered:
                assert time.time() < end, "nothing can be written"

    def refused(self, harm):
        whole = self.member.data + ".whole"
        shutil.copytree(self.member.data, whole)
        harm()
        self.member.start()
        ended(self.member, "is damaged")
        assert "weft join" in self.member.log()[self.member.log_start:]
        shutil.rmtree(self.member.data)
        os.rename(whole, self.member.data)

    def unharmed(self, harm):
        harm()
        self.member.start()
        self.fill()


def main():
    weft = os.path.abspath(sys.argv[1])
    report = Report()
    # Restarts and checkpoints are quick here, and nobody needs the log's beginning.
    with Fabric(weft, 3, ["--checkpoint-interval", "500"]) as fabric:
        damage = Damage(fabric)
        at = damage.path
        cases = [
            ("a flipped bit in log.db or its write-ahead log: an entry's payload",
             lambda: flip_within(at("log.db-wal" if b"value-0399" in open(at("log.db-wal"), "rb").read() else "log.db"),
                                 b"value-0399")),
            ("a flipped bit in the middle of the write-ahead log of log.db",
             lambda: flip(at("log.db-wal"), os.path.getsize(at("log.db-wal")) // 2)),
            ("a lost write-ahead log of log.db", lambda: os.remove(at("log.db-wal"))),
            ("a log.db of noise", lambda: (os.remove(at("log.db-wal")), noise(at("log.db")))),
            ("a missing log.db", lambda: [os.remove(at(name)) for name in ("log.db", "log.db-wal")]),
            ("a flipped bit in kv.db: a value", lambda: flip_within(at("kv.db"), b"value-0123-")),
            ("a flipped bit in kv.db: a page's header", lambda: flip_page_of(at("kv.db"), b"value-0123-1-")),
            ("a kv.db of noise", lambda: noise(at("kv.db"))),
            ("a missing kv.db", lambda: os.remove(at("kv.db"))),
            ("flipped bits in the checksums of kv.db",
             lambda: [flip(at("kv.db-sums"), 4096 * n + 100) for n in range(os.path.getsize(at("kv.db-sums")) // 4096)]),
        ]
        for what, harm in cases:
            report.run(f"repaired: {what}", damage.repaired, harm)
        report.run("unharmed: a flipped bit in one slot of the mark", damage.unharmed, lambda: flip(at("durable.mark"), 20))
        for what, harm in [
            ("a mark with both slots flipped", lambda: (flip(at("durable.mark"), 20), flip(at("durable.mark"), 4096 + 20))),
            ("a missing mark", lambda: os.remove(at("durable.mark"))),
            ("a flipped bit in the identity", lambda: flip(at("identity"), 30)),
            ("a missing identity", lambda: os.remove(at("identity"))),
        ]:
            report.run(f"refused: {what}", damage.refused, harm)
        damage.member.start()
        damage.member.wait_healthy()
        # And a member that cannot be repaired takes another one's place.
        new = fabric.add("m9")
        damage.member.kill()
        shutil.rmtree(damage.member.data)
        new.join(damage.others[0], "--replace", damage.member.name)
        new.wait_healthy(60)
        end = time.time() + 30
        while True:
            listing = subprocess.run([weft, "member", "list", "--endpoints", new.client_url], capture_output=True, text=True)
            is_done = "m9" in listing.stdout and "m3" not in listing.stdout
            if is_done or time.time() > end:
                break
            time.sleep(0.2)
        report.check("replaced: a member that lost everything", is_done, listing.stdout)
    report.finish()


if __name__ == "__main__":
    main()
