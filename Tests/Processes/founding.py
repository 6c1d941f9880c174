"""An empty directory founds a fabric only when that is asked for; nobody's data is mistaken for an empty directory.

    founding.py WEFT [--only NAME]

Needs root, for addresses other than loopback and for files of other owners.
"""
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time

import namespaces
from harness import Fabric, Refused, Report, Unanswered, attempt, b64
from namespaces import IsolatedFabric

STRANGER = 61_235


def own(path, like):
    """Gives the path to whom `like` belongs to: to whom the daemons run as."""
    about = os.stat(like)
    os.chown(path, about.st_uid, about.st_gid)


def ends(member, seconds=15):
    """Its exit code, and what it said in this run."""
    try:
        code = member.process.wait(seconds)
    except subprocess.TimeoutExpired:
        serves = member.healthy()
        member.kill()
        raise AssertionError(f"it goes on{' and serves clients' if serves else ''}: {said(member)[-600:]}")
    member.process = None
    return code, said(member)


def said(member):
    return member.log()[member.log_start:]


def refuses(member, *words, code=5):
    """It ends with the code for an unusable directory and its advice has these words."""
    got, text = ends(member)
    assert got == code, f"it ended with {got}, not {code}: {text[-600:]}"
    for word in words:
        assert word in text, f"its advice does not name {word!r}: {text[-600:]}"


def holds(member):
    """The files of its directory, by content. The lock tells nothing."""
    found = {}
    for parent, _, files in os.walk(member.data):
        for name in files:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, member.data)] = hashlib.sha256(file.read()).hexdigest()
    found.pop("lock", None)
    return found


def put(member, key="k", value="v", timeout=10):
    return member.connection(timeout).call("/v3/kv/put", {"key": b64(key), "value": b64(value)})


def count(member, key="k"):
    return int(member.connection().call("/v3/kv/range", {"key": b64(key)}).get("count", 0))


# B2: who founds.


def joined_member_with_an_empty_disk_does_not_found_a_fabric(report, weft):
    """Its disk is replaced; its unit starts it with the flags that it always has. No client may get an answer there."""
    network = IsolatedFabric(weft, 1)
    late = network.add("m2")
    with network:
        first = network.members[0]
        put(first)
        late.join(first)
        late.wait_healthy()
        attempt(15, lambda: not late.status().get("isLearner"))
        late.stop()
        shutil.rmtree(late.data)
        late.restart()
        refuses(late, "--initial-cluster", "weft join")
        assert "identity" not in holds(late), holds(late)


def machine_that_starts_before_its_join_does_not_found_a_fabric(report, weft):
    """The unit is enabled before the operator has joined the machine; the join must still work afterwards."""
    network = IsolatedFabric(weft, 1)
    late = network.add("m2")
    with network:
        put(network.members[0])
        late.restart()
        refuses(late, "--found", "--initial-cluster", "weft join")
        late.join(network.members[0])
        late.wait_healthy()
        assert attempt(10, lambda: count(late)) == 1


@contextlib.contextmanager
def machine(weft):
    """A machine with an address of its own and an empty directory."""
    network = IsolatedFabric(weft, 0)
    member = network.add("m1")
    with network:
        yield member


def initial_cluster_that_names_the_member_founds(report, weft):
    with machine(weft) as member:
        member.spawn(["serve", *member.arguments(), "--initial-cluster", f"m1={member.peer_url}"])
        member.wait_healthy()
        put(member)
        # Later starts need no permission.
        member.stop()
        member.restart()
        member.wait_healthy()
        assert count(member) == 1


def initial_cluster_of_the_environment_founds(report, weft):
    with machine(weft) as member:
        member.environment["WEFT_INITIAL_CLUSTER"] = f"m1={member.peer_url}"
        member.restart()
        member.wait_healthy()
        put(member)


def flag_found_founds(report, weft):
    with machine(weft) as member:
        member.spawn(["serve", *member.arguments(), "--found"])
        member.wait_healthy()
        put(member)


def state_existing_never_founds(report, weft):
    with machine(weft) as member:
        member.spawn(["serve", *member.arguments(), "--initial-cluster", f"m1={member.peer_url}",
                      "--initial-cluster-state", "existing"])
        code, text = ends(member)
        assert code == 5 and "weft join" in text, f"{code}: {text[-600:]}"


def initial_cluster_without_the_member_does_not_found(report, weft):
    with machine(weft) as member:
        member.spawn(["serve", *member.arguments(), "--initial-cluster", f"other={member.peer_url}"])
        refuses(member, "--initial-cluster", "weft join")


def one_address_beyond_loopback_is_no_trial(report, weft):
    """Each of the four kinds of addresses counts, 0.0.0.0 too."""
    founded = []
    for flag in ("--listen-client-urls", "--advertise-client-urls", "--listen-peer-urls",
                 "--initial-advertise-peer-urls", "0.0.0.0"):
        with machine(weft) as member:
            local = {"--listen-client-urls": f"http://127.0.0.1:{member.client_port}",
                     "--advertise-client-urls": f"http://127.0.0.1:{member.client_port}",
                     "--listen-peer-urls": f"http://127.0.0.1:{member.peer_port}",
                     "--initial-advertise-peer-urls": f"http://127.0.0.1:{member.peer_port}"}
            if flag == "0.0.0.0":
                local["--listen-client-urls"] = f"http://0.0.0.0:{member.client_port}"
            else:
                local[flag] = local[flag].replace("127.0.0.1", member.host)
            words = [word for pair in local.items() for word in pair]
            member.spawn(["serve", "--name", "m1", "--data-dir", member.data, *words])
            try:
                code, text = ends(member, 4)
                if code != 5:
                    founded.append(f"{flag}: exit {code}, {text[-200:]}")
            except AssertionError:
                founded.append(flag)
    assert not founded, f"a fabric is founded with only this one beyond loopback: {founded}"


def trial_on_loopback_founds(report, weft):
    """127.0.0.1, localhost and ::1 are a trial, with no flag at all but for the ports."""
    for host in ("127.0.0.1", "localhost", "[::1]", "127.0.0.9"):
        with Fabric(weft, 0) as fabric:
            member = fabric.add("m1")
            member.host = host
            member.restart()
            member.host = host.strip("[]")
            member.wait_healthy(10)


def shipped_settings_file_founds_nothing_by_itself(report, weft):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(f"{root}/config/weft.example.yaml") as file:
        active = [line.strip() for line in file if line.startswith("initial-cluster:")]
    assert not active, f"the shipped file has {active}"


# B3 and F4: whose directory it is.


def _etcd_directory(path, like):
    for part in ("member/wal", "member/snap"):
        os.makedirs(os.path.join(path, part), 0o700)
    for part in ("member/wal/0000000000000000-0000000000000000.wal", "member/snap/db"):
        with open(os.path.join(path, part), "wb") as file:
            file.write(os.urandom(4096))
    for parent, folders, files in os.walk(path):
        os.chmod(parent, 0o700)
        for name in folders + files:
            own(os.path.join(parent, name), like)
    own(path, like)


def data_directory_of_etcd_is_refused(report, weft):
    """By serve and by join; nothing is written beside it, and the advice says how to take the data over."""
    for start in ("serve", "join"):
        with Fabric(weft, 1) as fabric:
            member = fabric.add("m2")
            os.mkdir(member.data, 0o700)
            _etcd_directory(member.data, fabric.members[0].data)
            before, names = holds(member), sorted(os.listdir(member.data))
            member.restart() if start == "serve" else member.join(fabric.members[0])
            code, text = ends(member, 6)
            assert code == 5, f"{start}: it ended with {code}: {text[-600:]}"
            assert "etcd" in text and ("make-mirror" in text or "weft import" in text), f"{start}: {text[-600:]}"
            assert holds(member) == before and sorted(os.listdir(member.data)) == names, f"{start}: it wrote into it"


def parts_of_a_data_directory_of_etcd_are_refused(report, weft):
    """A directory with the log alone (its --wal-dir), with the database alone, or given one level too deep."""
    taken = []
    for keep, below in (("member/wal", ""), ("member/snap", ""), ("", "member")):
        with Fabric(weft, 1) as fabric:
            member = fabric.add("m2")
            top = member.data
            os.mkdir(top, 0o700)
            _etcd_directory(top, fabric.members[0].data)
            for part in ("member/wal", "member/snap"):
                if keep and part != keep:
                    shutil.rmtree(os.path.join(top, part))
            member.data = os.path.join(top, below)
            member.restart()
            try:
                code, text = ends(member, 4)
                if code != 5 or "etcd" not in text:
                    taken.append(f"{keep or below}: exit {code}, {text[-200:]}")
            except AssertionError as error:
                taken.append(f"{keep or below}: {str(error)[:60]}")
    assert not taken, taken


def directory_that_others_can_read_is_taken_with_a_warning(report, weft):
    """Kubernetes' volumes are such. What weft writes there is its own all the same."""
    for mode in (0o755, 0o775, 0o777):
        with Fabric(weft, 1) as fabric:
            member = fabric.members[0]
            member.stop()
            like = member.data
            member.data = os.path.join(fabric.directory, "volume")
            os.mkdir(member.data)
            os.chmod(member.data, mode)
            own(member.data, like)
            before = os.umask(0o022)
            try:
                member.restart()
            finally:
                os.umask(before)
            member.wait_healthy(10)
            put(member)
            assert "warning" in said(member) and member.data in said(member), f"no warning: {said(member)[-600:]}"
            assert os.stat(member.data).st_mode & 0o777 == mode, "it changed the volume's mode"
            _private(member)


def files_of_a_member_are_its_own_whatever_the_umask(report, weft):
    """A database, its log, and the files that SQLite makes beside it, also after a checkpoint."""
    with Fabric(weft, 1, ["--checkpoint-interval", "100"]) as fabric:
        member = fabric.members[0]
        member.stop()
        before = os.umask(0)
        try:
            member.start()
        finally:
            os.umask(before)
        member.wait_healthy()
        put(member)
        _private(member, 2)


def _private(member, seconds=1):
    end = time.time() + seconds
    while time.time() < end:
        for parent, folders, files in os.walk(member.data):
            for name in folders + files:
                try:
                    mode = os.lstat(os.path.join(parent, name)).st_mode & 0o777
                except FileNotFoundError:
                    continue
                assert mode & 0o077 == 0, f"{name} has mode {mode:o}"
        time.sleep(0.1)


def directory_of_another_owner_is_refused(report, weft):
    """The owner of a directory can replace the files in it, and cannot open those that another user makes there."""
    for mode in (0o700, 0o777):
        with Fabric(weft, 1) as fabric:
            member = fabric.add("m2")
            os.mkdir(member.data)
            os.chmod(member.data, mode)
            # Last of all, since the harness gives what a test made to whom the daemons run as.
            give = f'chown {STRANGER}:{STRANGER} "{member.data}"; exec "$@"'
            member.prefix = ["sh", "-c", give, "sh"] + member.prefix
            member.restart()
            code, text = ends(member, 6)
            assert code == 5 and "own" in text, f"mode {mode:o}: {code}: {text[-600:]}"
            assert not os.listdir(member.data), f"mode {mode:o}: it wrote {os.listdir(member.data)}"


def root_does_not_take_the_directory_of_the_services_user(report, weft):
    """An operator tries the daemon by hand, as root: what it writes there the service cannot open afterwards."""
    with Fabric(weft, 0) as fabric:
        member = fabric.add("m1")
        os.mkdir(member.data, 0o700)
        os.chown(member.data, STRANGER, STRANGER)
        with open(member.log_path, "ab") as log:
            member.log_start = 0
            member.process = subprocess.Popen([weft, "serve", *member.arguments()], stdout=log, stderr=log,
                                              stdin=subprocess.DEVNULL)
        code, text = ends(member, 6)
        assert code == 5 and "own" in text, f"{code}: {text[-600:]}"
        assert not os.listdir(member.data), f"it wrote {os.listdir(member.data)}"


# F9: what becomes of a directory while a member runs.


def _gone(weft, members, take):
    with Fabric(weft, members) as fabric:
        member = fabric.leader()
        attempt(10, lambda: put(member))
        others = [m for m in fabric.members if m is not member]
        take(member)
        try:
            code = member.process.wait(32)
        except subprocess.TimeoutExpired:
            try:
                still = f"acknowledges puts: {put(member, 'late')}"
            except (Refused, Unanswered) as error:
                still = f"refuses puts: {error}"
            raise AssertionError(f"it still runs after 32 s and {still}")
        member.process = None
        assert code != 0, "it ended as if all were well"
        assert code > 0, f"it crashed with {code}: {said(member)[-600:]}"
        assert member.data in said(member), f"its log does not say why: {said(member)[-600:]}"
        for other in others:
            attempt(15, lambda: put(other, "after"))


def leader_whose_directory_is_removed_stops(report, weft):
    """Within 30 s; the others go on."""
    _gone(weft, 3, lambda member: shutil.rmtree(member.data))


def lone_member_whose_directory_is_removed_stops(report, weft):
    _gone(weft, 1, lambda member: shutil.rmtree(member.data))


def member_whose_directory_is_replaced_stops(report, weft):
    """Moved away, with an empty one in its place: what a remount under the daemon looks like."""
    def replace(member):
        os.rename(member.data, member.data + ".old")
        os.mkdir(member.data, 0o700)
        own(member.data, member.data + ".old")

    _gone(weft, 3, replace)


def start_that_cannot_bind_writes_nothing(report, weft):
    """Into a fresh directory, for each of its two ports."""
    wrote = []
    for kind in ("client", "peer"):
        with Fabric(weft, 1) as fabric, socket.socket() as taken:
            member = fabric.add("m2")
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            setattr(member, f"{kind}_port", taken.getsockname()[1])
            member.restart()
            code, text = ends(member, 10)
            assert code not in (0, None) and code > 0, f"{kind}: {code}: {text[-400:]}"
            if str(taken.getsockname()[1]) not in text:
                wrote.append(f"{kind}: the message names no port: {text.strip()[-200:]}")
            if os.path.exists(member.data) and holds(member):
                wrote.append(f"{kind}: {sorted(holds(member))}")
    assert not wrote, wrote


def start_that_cannot_bind_leaves_the_data_as_it_was(report, weft):
    with Fabric(weft, 1) as fabric, socket.socket() as taken:
        member = fabric.members[0]
        put(member)
        member.kill()
        before = holds(member)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own_port, member.client_port = member.client_port, taken.getsockname()[1]
        member.restart()
        ends(member, 10)
        changed = {name for name in before.keys() | holds(member).keys() if before.get(name) != holds(member).get(name)}
        assert not changed, f"changed: {sorted(changed)}"
        member.client_port = own_port
        member.restart()
        member.wait_healthy()
        assert count(member) == 1


def second_start_beside_a_removed_directory_makes_no_new_one(report, weft):
    """The directory and its lock are gone, the first process still has the ports."""
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        first = member.process
        shutil.rmtree(member.data)
        try:
            member.start()
            code, text = ends(member, 10)
            assert code > 0, f"{code}: {text[-400:]}"
            assert not os.path.exists(member.data) or not holds(member), sorted(holds(member))
        finally:
            member.kill()
            member.process = first


CHECKS = [
    joined_member_with_an_empty_disk_does_not_found_a_fabric,
    machine_that_starts_before_its_join_does_not_found_a_fabric,
    initial_cluster_that_names_the_member_founds, initial_cluster_of_the_environment_founds, flag_found_founds,
    state_existing_never_founds, initial_cluster_without_the_member_does_not_found,
    one_address_beyond_loopback_is_no_trial, trial_on_loopback_founds, shipped_settings_file_founds_nothing_by_itself,
    data_directory_of_etcd_is_refused, parts_of_a_data_directory_of_etcd_are_refused,
    directory_that_others_can_read_is_taken_with_a_warning, files_of_a_member_are_its_own_whatever_the_umask,
    directory_of_another_owner_is_refused, root_does_not_take_the_directory_of_the_services_user,
    leader_whose_directory_is_removed_stops, lone_member_whose_directory_is_removed_stops,
    member_whose_directory_is_replaced_stops,
    start_that_cannot_bind_writes_nothing, start_that_cannot_bind_leaves_the_data_as_it_was,
    second_start_beside_a_removed_directory_makes_no_new_one,
]


def main():
    weft = os.path.abspath(sys.argv[1])
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    report = Report()
    if not namespaces.available():
        print("skipped: founding (needs root and network namespaces)")
        report.finish()
    for check in CHECKS:
        if only in (None, check.__name__):
            report.run(check.__name__.replace("_", " "), check, report, weft)
    report.finish()


if __name__ == "__main__":
    main()
