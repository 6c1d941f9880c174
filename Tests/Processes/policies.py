#!/usr/bin/env python3
"""What goes between regions: applications, and schedule policies: the command, the API, and when they come due, compared with Python's tables of time zones.

    policies.py WEFT [--only NAME]
"""
import datetime
import json
import random
import subprocess
import zoneinfo

from harness import Fabric
from nodes import API

checks = []
UTC = datetime.timezone.utc


def check(function):
    checks.append(function)
    return function


def run(fabric, *words):
    done = subprocess.run([fabric.weft, "policy", *words, "--endpoints", fabric.leader().client_url], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


@check
def policies_live_by_the_command(report, weft):
    """Every state is reached with the command alone; what is wrong is named; members all have them, after a start, too."""
    with Fabric(weft, 3) as fabric:
        for words in (["nightly", "--daily", "11:05PM", "--time-zone", "Europe/Berlin", "--retain", "14"], ["quarter", "--every", "15m", "--jitter", "30s"],
                      ["weekly", "--weekly", "sunday@02:00", "--overlap", "queueOne"], ["end", "--monthly", "31@23:00", "--short-months", "skip"]):
            code, out, err = run(fabric, "create", *words)
            report.check(f"create {words[0]}", code == 0, err)
        code, out, err = run(fabric, "create", "nightly", "--daily", "01:00")
        report.check("one that is there is not made again", code == 1 and "the condition does not hold" in err, err)
        code, out, err = run(fabric, "list")
        for text in ("daily at 23:05, Europe/Berlin", "every 15 minutes", "on Sunday at 02:00, UTC", "on day 31 of the month at 23:00, UTC, months without it skipped"):
            report.check(f"the list has {text}", text in out, out)
        before = json.loads(run(fabric, "show", "quarter")[1])
        code, out, err = run(fabric, "update", "quarter", "--every", "15m", "--retain", "96")
        after = json.loads(run(fabric, "show", "quarter")[1])
        report.check("an update keeps the rhythm", after["interval"] == before["interval"] and after["retain"] == 96, after)
        for words, wanted, text in ((["--daily", "25:00"], 1, "daily.time is 23:05 or 11:05PM"), (["--daily", "01:00", "--time-zone", "Mars/Olympus"], 1, "not known on this machine"),
                                    (["--daily", "01:00", "--time-zone", "../../etc/passwd"], 1, "is not a name of a time zone"), ([], 64, "one of --every"), (["--every", "90s"], 2, "whole minutes"),
                                    (["--weekly", "moonday@01:00"], 1, "weekly.day is a day"), (["--monthly", "32@01:00"], 1, "1 to 31"), (["--daily", "01:00", "--overlap", "both"], 1, "skip or queueOne"),
                                    (["--daily", "01:00", "--every", "1h"], 64, "one of --every"), (["--daily", "01:00", "--retain", "0"], 1, "retain is 1 to 1000")):
            code, out, err = run(fabric, "create", "bad", *words)
            report.check(f"create bad {' '.join(words)}", code == wanted and text in err, f"{code} {err}")
        for verb in ("show", "preview", "delete"):
            code, out, err = run(fabric, verb, "none")
            report.check(f"{verb} of none", code == 3 and "there is no schedule policy \"none\"" in err, f"{code} {err}")
        report.check("delete", run(fabric, "delete", "weekly")[0] == 0)
        for member in fabric.members:
            member.kill()
        for member in fabric.members:
            member.restart()
        fabric.leader()
        for member in fabric.members:
            names = [p["name"] for p in API(member).must("GET", "schedule-policies")["items"]]
            report.check(f"{member.name} has them after a start", names == ["end", "nightly", "quarter"], names)
        events = [e["what"] for e in API(fabric.members[0]).must("GET", "events")["items"] if e["kind"] == "schedule policy"]
        report.check("events tell", events == ["created"] * 4 + ["changed", "removed"], events)


def expected(zone, minutes, after, count):
    """When a daily policy comes due: each date once, at the first moment from the time on that there is."""
    found, day = [], (after.astimezone(zone) - datetime.timedelta(days=2)).date()
    while len(found) < count:
        wanted = datetime.datetime.combine(day, datetime.time(minutes // 60, minutes % 60), zone)
        instant = wanted.astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) != wanted.replace(tzinfo=None):
            # Left out: the moment at which clocks jump over it lies within a day before or after.
            low, high = instant - datetime.timedelta(days=1), instant + datetime.timedelta(days=1)
            while high - low > datetime.timedelta(seconds=1):
                middle = low + (high - low) / 2
                if middle.astimezone(zone).replace(tzinfo=None) >= wanted.replace(tzinfo=None):
                    high = middle
                else:
                    low = middle
            instant = (high if high.microsecond == 0 else high.replace(microsecond=0)).replace(microsecond=0)
        if instant > after and (not found or instant > found[-1]):
            found.append(instant)
        day += datetime.timedelta(days=1)
    return found


@check
def applications_live_by_the_command(report, weft):
    """Every state is reached with the command alone; no key and no volume belongs to two; members all have them, after a start, too."""
    with Fabric(weft, 3) as fabric:
        def application(*words):
            done = subprocess.run([fabric.weft, "application", *words, "--endpoints", fabric.leader().client_url], capture_output=True, text=True, timeout=30)
            return done.returncode, done.stdout, done.stderr
        api = API(fabric.leader())
        api.must("PUT", "domains/d", {})
        api.must("PUT", "nodes/n", {"domain": "d", "capacityBytes": 1 << 40, "ttlSeconds": 600})
        for name in ("db", "files"):
            api.must("POST", "volumes", {"name": name, "sizeBytes": 1 << 30})
        code, out, err = application("create", "shop", "--prefix", "/shop/", "--volume", "db", "--volume", "files", "--rpo", "15m")
        report.check("create", code == 0 and "prefix /shop/, 2 volumes" in out, out + err)
        for words, text in ((["--prefix", "/shop/x/"], "overlaps \"/shop/\" of application \"shop\""), (["--prefix", "/"], "of application \"shop\""), (["--volume", "db"], "belongs to application \"shop\""),
                            (["--volume", "none"], "there is no volume \"none\""), (["--prefix", "a", "--prefix", "ab"], "overlaps"), (["--prefix", ""], "1 to 1024 bytes"), (["--prefix", "a", "--rpo", "soon"], "--rpo")):
            code, out, err = application("create", "other", *words)
            report.check(f"create other {words}", code != 0 and text in err, f"{code} {err}")
        report.check("neither keys nor volumes", application("create", "other")[0] == 64)
        report.check("made once", "the condition does not hold" in application("create", "shop", "--prefix", "/x/")[2])
        status, said, _ = api.ask("DELETE", "volumes/db")
        report.check("a volume of one stays", status == 409 and "take it out of that first" in str(said), said)
        code, out, err = application("update", "shop", "--prefix", "/shop/", "--volume", "files")
        report.check("update", code == 0 and api.must("DELETE", "volumes/db") is not None, err)
        code, out, err = application("list")
        report.check("list", "prefix /shop/, volume files" in out, out)
        for member in fabric.members:
            member.kill()
        for member in fabric.members:
            member.restart()
        fabric.leader()
        for member in fabric.members:
            found = API(member).must("GET", "applications/shop")
            report.check(f"{member.name} has it after a start", (found["prefixes"], found["volumes"], found["epoch"]) == (["/shop/"], ["files"], 1), found)
            report.check(f"{member.name} keeps its volume", API(member).ask("DELETE", "volumes/files")[0] == 409)
        report.check("delete", application("delete", "shop")[0] == 0 and application("show", "shop")[0] == 3)
        API(fabric.leader()).must("DELETE", "volumes/files")
        events = [e["what"] for e in API(fabric.leader()).must("GET", "events")["items"] if e["kind"] == "application"]
        report.check("events tell", events == ["created", "changed", "removed; its keys and volumes stay"], events)


@check
def long_lists_are_whole(report, weft):
    """They are sent piece by piece; what stands in them is the same."""
    with Fabric(weft, 1) as fabric:
        api = API(fabric.leader())
        one_by_one = []
        for n in range(150):
            api.must("PUT", f"schedule-policies/p{n:03}", {"interval": {"minutes": n + 1}})
            if n in (0, 1, 99, 100, 149):
                one_by_one = [api.must("GET", f"schedule-policies/p{m:03}") for m in range(n + 1)]
                answer = api.must("GET", "schedule-policies")
                report.check(f"a list of {n + 1}", answer["items"] == one_by_one and answer["revision"] > n, answer["revision"])
        answer = api.must("GET", "events?limit=120")
        report.check("a list that is cut says where it goes on", len(answer["items"]) == 120 and answer["next"] == answer["items"][-1]["number"], answer.get("next"))


@check
def policies_come_due_as_clocks_show(report, weft):
    """Of many zones, around the nights on which their clocks change."""
    dice = random.Random(11)
    with Fabric(weft, 1) as fabric:
        api = API(fabric.leader())
        names = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Asia/Tehran", "Pacific/Chatham", "UTC"]
        for name in names:
            zone = zoneinfo.ZoneInfo(name)
            for begin in nights(zone):
                minutes = dice.choice([0, 30, 60, 90, 119, 120, 150, 179, 180, 1439])
                api.must("PUT", "schedule-policies/p", {"daily": {"time": f"{minutes // 60:02}:{minutes % 60:02}"}, "timeZone": name})
                start = begin - datetime.timedelta(days=2)
                got = [i["at"] for i in api.must("GET", f"schedule-policies/p/preview?count=5&after={int(start.timestamp() * 1000)}")["items"]]
                wanted = [i.strftime("%Y-%m-%dT%H:%M:%S.000Z") for i in expected(zone, minutes, start, 5)]
                report.check(f"{name} {minutes} from {start}", got == wanted, f"{got} {wanted}")


def nights(zone):
    """Days of 2026 and 2027 on which a zone's clocks change, or two of its others."""
    found, day = [], datetime.datetime(2026, 1, 1, tzinfo=UTC)
    while day.year < 2028:
        after = day + datetime.timedelta(days=1)
        if day.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            found.append(day)
        day = after
    return found or [datetime.datetime(2026, 2, 27, tzinfo=UTC), datetime.datetime(2026, 12, 30, tzinfo=UTC)]


if __name__ == "__main__":
    from wire import main
    main(checks, "policies.py")
