"""A worker of several processes, and settings that are read again."""

import os
import re
import signal

import pytest

from cycles import QUICK
from harness import processes, wait_for
from invariants import check

GATED = """
    [variables]
    v.shell = "echo x >>{dir}/ran; while [ ! -e {dir}/gate ]; do sleep 0.02; done; echo 1"
    w.sql = "select 2"
    [evidences]
    ev.definition = "v == 1"
    ew.definition = "w == 2"
    [events]
    e.definition = "ev and ew"
    """


def children(worker):
    """The processes that do the work; the watchers of their commands are no
    children of the parent."""
    return [pid for pid, (parent, state, _) in processes().items()
            if parent == worker.pid and state not in "ZX"]


def ready(worker):
    """pid -> name of each process that has ever been ready."""
    return {int(pid): name for pid, name in
            re.findall(r'pid=(\d+) msg="worker is ready" name=(\S+)', worker.stderr)}


@pytest.fixture
def start(cycles, broker, tmp_path):
    """start(n): a worker of so many processes, all of them ready."""
    def start(n, *args, env=None):
        worker = cycles.tocsin.spawn("worker", "--processes", n, "--executors", "sql,shell",
                                     *args, env={**QUICK, **(env or {})})
        wait_for(lambda: len(ready(worker)) == n or not worker.alive, 30, lambda: repr(worker))
        assert sorted(ready(worker)) == (sorted(children(worker)) if n > 1 else [worker.pid])
        return worker
    return start


def gated_cycle(cycles, directory):
    """A cycle that waits in the middle; returns what lets it go on."""
    cycles.load(GATED.format(dir=directory))
    cycles.tocsin("cycle", env=QUICK)
    wait_for((directory / "ran").exists, 15)
    cycles.wait_for_job("ew", "done")
    return (directory / "gate").touch


def measuring(cycles):
    """The process that computes v."""
    return int(cycles.job("v", "worker").split(":")[1])


def test_processes_have_names_of_their_own_and_share_the_work(cycles, start, tmp_path):
    worker = start(3)
    names = ready(worker)
    assert len(set(names.values())) == 3
    open_gate = gated_cycle(cycles, tmp_path)
    assert cycles.job("v", "worker") in names.values()
    open_gate()
    wait_for(lambda: cycles.state() == "DONE")
    assert cycles.signals() == {"e": "raise"}
    assert worker.stop() == 0


def test_a_process_that_is_killed_is_replaced_and_the_cycle_ends(cycles, start, tmp_path):
    worker = start(2)
    before = set(children(worker))
    open_gate = gated_cycle(cycles, tmp_path)
    killed = measuring(cycles)
    os.kill(killed, signal.SIGKILL)
    worker.wait_for(f"a worker process has ended.* process={killed} signal=9")
    wait_for(lambda: len(ready(worker)) == 3, 20)
    now = set(children(worker))
    assert len(now) == 2 and killed not in now and now & before
    open_gate()
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert cycles.job("v", "attempts") == 2
    assert cycles.job("w", "attempts") == 1
    assert cycles.signals() == {"e": "raise"}
    check(cycles.db)
    assert len(re.findall("another takes its place", worker.stderr)) == 1


@pytest.mark.fault("F-A22")
def test_what_kills_its_process_each_time_does_not_make_a_storm(cycles, start):
    """It is failed, its neighbours are done, and processes come back ever later."""
    cycles.load("""
        [variables]
        killer.shell = "kill -9 $PPID"
        good.sql = "select 1"
        [evidences]
        bad.definition = "killer == 1"
        fine.definition = "good == 1"
        [events]
        ring.definition = "fine"
        never.definition = "bad"
        """)
    worker = start(2)
    agent = cycles.tocsin("cycle", "--wait", env=QUICK, status=1, timeout=90)
    assert cycles.job("killer", "state, reason") == ("failed", "lost")
    assert cycles.signals() == {"ring": "raise"}
    wait_for(lambda: len(re.findall("another takes its place", worker.stderr)) >= 3, 20)
    assert len(re.findall("another takes its place", worker.stderr)) == 3
    # it says so once, in the log of who has found it, and in status
    assert len(re.findall("a job failed.* name=killer reason=lost",
                          worker.stderr + agent.stderr)) == 1
    assert re.search(r"^variable +killer +failed +lost +3 +\S",
                     cycles.tocsin("status", cycles.last()).stdout, re.M)
    assert cycles.job("good", "state") == "done"
    check(cycles.db)


def test_processes_that_die_at_once_are_started_ever_later(cycles, start):
    worker = start(2)
    for n in range(4):
        wait_for(lambda: len(ready(worker)) == 2 + n, 30)
        newest = max(ready(worker), key=lambda pid: worker.stderr.index(f"pid={pid} msg=\"worker is"))
        os.kill(newest, signal.SIGKILL)
        wait_for(lambda: worker.stderr.count("another takes its place") == n + 1)
    waits = [int(ms) for ms in re.findall(r"another takes its place.* in_ms=(\d+)", worker.stderr)]
    # the k-th wait of a place is between half of 250 ms * 2^k and the whole
    assert 124 <= waits[0] <= 250, waits
    assert all(w <= 250 * 2 ** i for i, w in enumerate(waits)), waits
    assert waits[3] >= 124 * 2, waits


def test_a_stop_goes_to_all_and_charges_nobody(cycles, start, tmp_path):
    worker = start(3)
    gated_cycle(cycles, tmp_path)
    assert worker.stop() == 0
    assert not children(worker)
    assert cycles.job("v", "state, attempts, worker") == ("queued", 0, None)
    assert worker.stderr.count("msg=stopped") == 4
    assert "another takes its place" not in worker.stderr


def test_a_stop_that_reaches_the_children_twice_gives_them_their_time(cycles, start, tmp_path):
    """As from a terminal, or from a service manager: to all of the group at once."""
    worker = start(2, env={"TOCSIN_GRACE": "20s"})
    open_gate = gated_cycle(cycles, tmp_path)
    os.killpg(worker.pid, signal.SIGTERM)
    wait_for(lambda: worker.stderr.count("msg=stopping") == 3)
    open_gate()
    assert worker.wait() == 0
    assert cycles.job("v", "state, attempts") == ("done", 1)


def test_a_second_stop_ends_all_at_once(cycles, start, tmp_path):
    worker = start(2, env={"TOCSIN_GRACE": "60s"})
    gated_cycle(cycles, tmp_path)
    worker.signal(signal.SIGINT)
    wait_for(lambda: worker.stderr.count("msg=stopping") == 3)
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert cycles.job("v", "state, attempts, worker") == ("queued", 0, None)


def test_processes_leave_when_their_parent_is_killed(cycles, start, tmp_path):
    worker = start(2)
    before = children(worker)
    gated_cycle(cycles, tmp_path)
    worker.kill()
    wait_for(lambda: not [pid for pid in before if processes().get(pid, (0, "Z"))[1] not in "ZX"])
    assert worker.stderr.count("msg=stopped") == 2
    assert cycles.job("v", "state, attempts") == ("queued", 0)


def test_what_cannot_work_as_it_is_set_up_ends_all(cycles, broker):
    cycles.db.run("drop schema tocsin cascade")
    worker = cycles.tocsin.spawn("worker", "--processes", 3, env=QUICK)
    assert worker.wait() == 78
    assert "all are stopped" in worker.stderr
    assert "another takes its place" not in worker.stderr
    assert "tocsin init" in worker.stderr


# --- settings that are read again ---


@pytest.fixture
def reloading(cycles, start, tmp_path):
    """reloading(n, text) -> a worker with this tocsin.toml, and what changes it
    and has it read again.  Clocks come from the file: the environment counts more."""
    path = tmp_path / "tocsin.toml"

    def reloading(n, text):
        path.write_text(text)
        worker = start(n, env={key: "" for key in QUICK})
        assert not re.search("warn|error", worker.stderr)

        def change(text):
            path.write_text(text)
            worker.signal(signal.SIGHUP)
        return worker, change
    return reloading


CLOCKS = 'lease = "2s"\nsweep = "500ms"\ngrace = "500ms"\n'


def counted(worker, text, n):
    wait_for(lambda: len(re.findall(text, worker.stderr)) >= n, 10, lambda: repr(worker))
    assert len(re.findall(text, worker.stderr)) == n


@pytest.mark.parametrize("n", [1, 2])
def test_a_good_file_counts_from_then_on(cycles, reloading, n):
    """Here what commands get to see, which is empty to begin with."""
    cycles.load("""
        [variables]
        v.shell = "echo ${LOGNAME-nobody}"
        [evidences]
        e.definition = "v == 'nobody'"
        [events]
        ring.definition = "e"
        ring.interval = 0
        """)
    cycles.tocsin.env["LOGNAME"] = "somebody"
    worker, change = reloading(n, CLOCKS)
    cycles.tocsin("cycle", "--wait", env=QUICK)
    assert cycles.signals() == {"ring": "raise"}
    change(CLOCKS + 'pass_environment = ["LOGNAME"]\nconcurrency = 40\n')
    counted(worker, 'settings are read again" changed=concurrency,pass_environment', n)
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK)
    assert cycles.signals() == {"ring": "stop_raising"}
    assert worker.stop() == 0


def test_more_concurrency_counts_for_the_broker_too(cycles, reloading, tmp_path):
    """60 at once are more than were let in beforehand."""
    names = [f"v{i}" for i in range(60)]
    cycles.load("[variables]\n" + "".join(
        f'{v}.shell = "echo {v} >>{tmp_path}/ran; while [ ! -e {tmp_path}/gate ]; '
        f'do sleep 0.1; done; echo 1"\n' for v in names)
        + "[evidences]\n" + "".join(f'e{v}.definition = "{v} == 1"\n' for v in names)
        + "[events]\n" + f'ring.definition = "{" and ".join("e" + v for v in names)}"\n')

    def ran():
        path = tmp_path / "ran"
        return len(path.read_text().split()) if path.exists() else 0

    worker, change = reloading(1, CLOCKS + "concurrency = 2\n")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: ran() == 2)
    change(CLOCKS + "concurrency = 60\n")
    wait_for(lambda: ran() == 60, 30, lambda: f"{ran()} run")
    (tmp_path / "gate").touch()
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert worker.stop() == 0


def test_a_shorter_clock_counts_at_once(cycles, broker, reloading, tmp_path):
    """A lost message, and a sweep that is hours away."""
    cycles.load(GATED.format(dir=tmp_path))
    (tmp_path / "gate").touch()
    cycles.tocsin("cycle", env=QUICK)
    with broker.connect() as connection:
        connection.channel().queue_purge("tocsin")
    worker, change = reloading(1, 'lease = "2s"\nsweep = "5h"\ngrace = "500ms"\n')
    assert cycles.state() == "STARTED"
    change(CLOCKS)
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert worker.stop() == 0


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.fault("F-F11")
def test_a_broken_file_leaves_the_old_settings(cycles, reloading, n):
    """And with them the work goes on."""
    cycles.load('[variables]\nv.sql = "select 1"\n[evidences]\ne.definition = "v == 1"\n'
                '[events]\nring.definition = "e"\n')
    worker, change = reloading(n, CLOCKS + 'log_level = "info"\n')
    lines = len(worker.stderr.splitlines())
    change(CLOCKS + "log_level = \"warn\"\nlease = ")
    counted(worker, "the settings are wrong, the old ones stay", 1)
    assert "tocsin.toml:5:" in worker.stderr
    assert len(worker.stderr.splitlines()) == lines + 1
    change(CLOCKS + 'lesae = "5s"\n')
    counted(worker, "the settings are wrong, the old ones stay", 2)
    assert "there is no setting 'lesae'; did you mean 'lease'?" in worker.stderr
    cycles.tocsin("cycle", "--wait", env={**QUICK, "TOCSIN_CONFIG": "/dev/null"})
    assert cycles.signals() == {"ring": "raise"}
    # a good one after all; only info says so, so the level stayed
    change(CLOCKS + 'log_level = "info"\n')
    counted(worker, "settings are read again\" changed=none", n)
    assert worker.stop() == 0


def test_what_waits_for_a_restart_is_named(cycles, reloading):
    cycles.load('[variables]\nv.sql = "select 1"\n[evidences]\ne.definition = "v == 1"\n'
                '[events]\nring.definition = "e"\n')
    worker, change = reloading(1, CLOCKS)
    change(CLOCKS + 'queue = "other"\nexecutors = ["sql"]\nprocesses = 4\n'
           'database_url = "host=/nowhere password=hush-hush"\nlog_format = "json"\n')
    line = worker.wait_for(".*wait for a restart.*").group()
    # executors and processes were given as options, which count more
    assert '"settings":"database_url,queue"' in line and '"level":"warn"' in line
    cycles.tocsin("cycle", "--wait", env={**QUICK, "TOCSIN_CONFIG": "/dev/null"})
    assert "hush-hush" not in worker.stderr
    assert worker.stop() == 0
