"""Rows of the fault matrix: commands, memory, descriptors, and the machine.

Each test is a row; its docstring is what the row promises.  F-D07 and most of
the system calls that fail are in test_ladders.py.
"""

import fcntl
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from cycles import QUICK
from harness import describe, processes, program, wait_for
from invariants import books, check  # noqa: F401
from plain import Strace, descriptors, plain, sanitized, spawn_by, status  # noqa: F401

BOTH = ("--executors", "sql,shell")


@pytest.fixture
def workers(cycles, broker):
    """workers(n) starts n of them, ready."""
    def start(n, *args, env=None):
        started = [cycles.tocsin.spawn("worker", *BOTH, *args, env={**QUICK, **(env or {})})
                   for _ in range(n)]
        for worker in started:
            worker.wait_for("worker is ready", 30)
        return started
    return start


def graph(**bodies):
    """Definitions: each variable has an evidence, that it is 1, and an event of its NAME."""
    text = "[variables]\n" + "".join(f"{name}.{body}\n" for name, body in bodies.items())
    text += "[evidences]\n" + "".join(f'is_{name}.definition = "{name} == 1"\n' for name in bodies)
    return text + "[events]\n" + "".join(
        f'{name.upper()}.definition = "is_{name}"\n{name.upper()}.interval = 0\n' for name in bodies)


def many(n, body):
    return graph(**{f"v{i}": body for i in range(n)})


def closed(cycles, timeout=60):
    wait_for(lambda: cycles.state() in ("DONE", "DONE_WITH_ERRORS"), timeout,
             lambda: f"{cycles.state()}: {cycles.jobs()}")
    return cycles.state()


def is_done(cycles, timeout=60):
    """The cycle ended well, and nothing of it was begun twice."""
    assert closed(cycles, timeout) == "DONE", cycles.db.all(
        "select name, error from tocsin.job where state <> 'done'")
    assert cycles.db.one("select max(attempts) from tocsin.job where run_id = %s", cycles.last()) == 1
    check(cycles.db)


def runs(pattern):
    """Processes whose command line has PATTERN in it."""
    return [pid for pid in processes() if re.search(pattern, describe(pid))]


# --- commands ---


def test_F_D02_a_command_that_daemonises(cycles, workers):
    """Found and killed, while its worker lives; one that hides its environment, too."""
    worker, = workers(1)
    cycles.load(graph(
        orphan='shell = "sleep 641.5 >/dev/null 2>&1 & echo 1"',
        daemon='shell = "setsid -f sleep 642.5 >/dev/null 2>&1; echo 1"',
        hidden='shell = "env -i setsid -f env -i setsid -f sleep 643.5 >/dev/null 2>&1; echo 1"',
        killed="shell = 'setsid -f sleep 644.5; kill -9 $$'"))
    cycles.tocsin("cycle", env=QUICK)
    closed(cycles)
    assert cycles.signals() == dict.fromkeys(("ORPHAN", "DAEMON", "HIDDEN"), "raise")
    wait_for(lambda: not runs(r"^\d+: sleep 64[1234]\.5"), 20)
    assert worker.alive


def test_F_D03_a_command_that_writes_without_end(plain, cycles, workers):
    """Cut at the budget; the others are not hurt, and the worker stays small."""
    worker, = workers(1)
    cycles.load(graph(good='shell = "echo 1"'))
    cycles.tocsin("cycle", env=QUICK)
    is_done(cycles)
    before = status(worker.pid, "VmHWM")
    cycles.load(graph(good='shell = "echo 1"', out="shell = 'yes'", errs="shell = 'yes >&2; echo 1'",
                      gigabyte='shell = "head -c 1000000000 /dev/zero; echo 1"',
                      slip='shell = "head -c 1000000000 /dev/zero >&2; echo 1"'))
    cycles.tocsin("cycle", env=QUICK)
    assert closed(cycles) == "DONE_WITH_ERRORS"
    failed = dict(cycles.db.all("select name, error from tocsin.job where state = 'failed' and run_id = %s",
                                cycles.last()))
    assert sorted(failed) == ["errs", "gigabyte", "out", "slip"]
    assert all(error.startswith("output larger than") for error in failed.values()), failed
    assert cycles.job("good", "state") == "done"
    assert status(worker.pid, "VmHWM") - before < 48 * 1024
    wait_for(lambda: not runs(r"^\d+: (yes|head -c 1000000000)"), 20)


def test_F_D05_no_process_can_be_started(plain, cycles, workers):
    """Tried again later, no attempt charged, said once; what needs no process goes on."""
    worker, = workers(1)
    cycles.load(graph(a='shell = "echo 1"', b='shell = "echo 1"', c='shell = "echo 1"', q='sql = "select 1"'))
    with Strace(worker.pid, "inject=clone,clone3,fork,vfork:error=EAGAIN", children=True):
        cycles.tocsin("cycle", env=QUICK)
        worker.wait_for("no process can be started, trying again.*Resource temporarily unavailable", 30)
        cycles.wait_for_job("is_q", "done")
        assert cycles.db.one("select count(*) from tocsin.job where state = 'running' and kind = 'variable'") == 3
    is_done(cycles)
    worker.wait_for("no command waits for a process any more")
    assert len(re.findall("no process can be started", worker.stderr)) == 1


def test_F_D05_the_command_of_a_reaction_finds_no_process(plain, cycles, workers, tmp_path):
    """Its delivery is tried again later, no attempt charged, said once."""
    worker, = workers(1, env={"TOCSIN_DELIVERY_BACKOFF": "500ms", "TOCSIN_DELIVERY_ATTEMPTS": 1})
    cycles.load(graph(q='sql = "select 1"')
                + f'[reactions.tell]\nevents = ["Q"]\ncommand = "echo $TOCSIN_KEY >>{tmp_path}/told"\n')
    with Strace(worker.pid, "inject=clone,clone3,fork,vfork:error=EAGAIN", children=True):
        cycles.tocsin("cycle", env=QUICK)
        wait_for(lambda: cycles.db.one("select fence > 1 and state <> 'sending' from tocsin.delivery"), 30)
        assert cycles.db.one("select state, attempts, error like '%%cannot start a process%%'"
                             " from tocsin.delivery") == ("pending", 0, True)
    wait_for(lambda: cycles.db.one("select state from tocsin.delivery") == "delivered", 30)
    assert cycles.db.one("select attempts from tocsin.delivery") == 1
    worker.wait_for("processes can be started for reactions again")
    assert len(re.findall("no process can be started for a reaction", worker.stderr)) == 1
    assert len((tmp_path / "told").read_text().splitlines()) == 1
    is_done(cycles)


def test_F_D06_no_file_descriptor_is_left(cycles, workers):
    """The worker takes what it has descriptors for, keeps its connections, and recovers."""
    worker, = workers(1, "-c", 12)
    cycles.load(graph(**{f"c{i}": 'shell = "sleep 0.1; echo 1"' for i in range(6)},
                      **{f"q{i}": 'sql = "select 1 from pg_sleep(0.1)"' for i in range(6)}))
    limits = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    books_of = ("select pid from pg_stat_activity where application_name = 'tocsin' and"
                " datname = current_database() and client_port is not null order by pid")
    # The sessions of "init" and "load" take a moment to go.
    wait_for(lambda: cycles.db.one("select count(*) from (" + books_of + ") s") <= 2)
    connected = cycles.db.all(books_of)
    for few in (9, 2):
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (descriptors(worker.pid) + few, limits[1]))
        cycles.tocsin("cycle", env=QUICK)
        if few < 8:			# not enough for any command
            worker.wait_for("no process can be started", 30)
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, limits)
        is_done(cycles)
        cycles.due_again()
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, limits)
    cycles.tocsin("cycle", env=QUICK)
    is_done(cycles)
    assert connected == cycles.db.all(
        "select pid from pg_stat_activity where pid = any (%s) order by pid", connected)


@pytest.fixture
def cage():
    """A control group of 32 MB, whose tasks the kernel kills for more; None where it cannot be had."""
    group = Path(f"/sys/fs/cgroup/memory/tocsin-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(32 << 20))
    except OSError:
        yield None
        return
    yield group
    wait_for(lambda: not (group / "tasks").read_text(), 20)
    group.rmdir()


def test_F_D08_killed_for_its_memory(cycles, workers, cage, tmp_path):
    """A command that may have no more fails, alone; so does one that the kernel kills;
    when it is the worker, another takes over."""
    eat = "exec /usr/bin/python3 -c 'print(len(bytes([120]) * (500 << 20)))'"
    enter = f"echo $$ >{cage}/tasks; " if cage else "ulimit -v 200000; "
    (tmp_path / "eat").write_text(enter + eat)
    (tmp_path / "limited").write_text("ulimit -v 200000; " + eat)
    (tmp_path / "worker").write_text(
        f"if mkdir {tmp_path}/once; then kill -9 $PPID; sleep 60; fi; echo 1")
    first, = workers(1)
    cycles.load(graph(greedy=f'shell = "sh {tmp_path}/eat"', limited=f'shell = "sh {tmp_path}/limited"',
                      worker=f'shell = ". {tmp_path}/worker"', good='sql = "select 1"',
                      slow='shell = "sleep 0.5; echo 1"'))
    cycles.tocsin("cycle", env=QUICK)
    first.wait(30)
    workers(1)
    assert closed(cycles) == "DONE_WITH_ERRORS"
    assert cycles.job("limited", "reason") == "exit"
    assert "MemoryError" in cycles.job("limited", "error")
    if cage:
        # the shell may report its death as a status, or pass it on
        assert re.match("signal 9|exit status 137", cycles.job("greedy", "error"))
    assert cycles.signals() == dict.fromkeys(("WORKER", "GOOD", "SLOW"), "raise")
    assert cycles.job("worker", "attempts") == 2


def children(pid):
    return [(child, state) for child, (parent, state, _) in processes().items() if parent == pid]


@pytest.mark.parametrize("commands", [300, pytest.param(10000, marks=pytest.mark.long)])
def test_F_D09_many_short_commands(plain, cycles, workers, record_property, commands):
    """No zombie is left, and only the watcher lives."""
    record_property("times", commands)
    worker, = workers(1, "-c", 32)
    cycles.load(many(commands, "shell = 'sleep 0 & echo 1'"))
    cycles.tocsin("cycle", env=QUICK)
    is_done(cycles, 60 + commands / 10)
    wait_for(lambda: len(children(worker.pid)) <= 1, 20, lambda: children(worker.pid))
    assert not [state for _, state in children(worker.pid) if state == "Z"]


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.long)])
def test_F_D10_descriptors_stay_flat(plain, cycles, workers, record_property, count):
    """Cycle after cycle, with commands, queries and a reaction; also in the agent that waits."""
    record_property("times", count)
    worker, = workers(1, "-c", 2)
    cycles.load(graph(a="shell = 'echo 1'", b="sql = 'select 1'", bad="sql = 'select 1/0'")
                + '[reactions.tell]\nevents = ["A"]\non = ["raise", "continue_raising"]\ncommand = "true"\n')
    held = []
    for _ in range(count):
        cycles.tocsin("cycle", env=QUICK)
        closed(cycles)
        cycles.due_again()
        wait_for(lambda: cycles.db.one("select count(*) = 0 from tocsin.delivery where state <> 'delivered'"), 20)
        wait_for(lambda: len(children(worker.pid)) <= 1, 20)
        held.append(descriptors(worker.pid))
    # The pool may have its second connection late.
    assert max(held[10:]) <= max(held[:10]) + 1, held
    check(cycles.db)


INTERRUPTIBLE = "read,write,recvfrom,sendto,sendmsg,recvmsg,epoll_wait,epoll_pwait,poll,ppoll,waitid,wait4"


@pytest.mark.parametrize("commands", [50, pytest.param(200, marks=pytest.mark.long)])
def test_F_D11_system_calls_are_interrupted(plain, cycles, workers, record_property, commands):
    """Many commands at once; every second call of the worker says EINTR."""
    record_property("times", commands)
    worker, = workers(1, "-c", commands)
    cycles.load(many(commands, "shell = 'sleep 0.3; echo 1'"))
    with Strace(worker.pid, f"inject={INTERRUPTIBLE}:error=EINTR:when=1+2"):
        cycles.tocsin("cycle", env=QUICK)
        is_done(cycles, 60 + 2 * commands)
    assert len(cycles.signals()) == commands


# --- the machine ---


def test_F_D13_nothing_can_be_written(plain, cycles, tmp_path):
    """tocsin itself writes no file; what needs one fails alone and says why."""
    env = {"TMPDIR": "/proc/self", "TOCSIN_PASS_ENVIRONMENT": "TMPDIR"}
    cycles.load(graph(
        unwritable="shell = 'mktemp && echo 1'", full="shell = 'date >/dev/full && echo 1'",
        good="shell = 'echo 1'", query="sql = 'select 1'"))
    trace = tmp_path / "trace"
    done = spawn_by(cycles.tocsin, ["strace", "-f", "-qq", "-z", "-o", str(trace), "-e", "trace=open,openat,creat,mkdir"],
                    "cycle", "--local", env=env)
    assert done.wait(60) == 1, done.stderr
    ours = [line for line in trace.read_text().splitlines()
            if re.search(r"O_CREAT|O_TMPFILE|creat\(|mkdir\(", line) and "/dev/full" not in line]
    assert not ours, ours
    assert cycles.signals() == {"GOOD": "raise", "QUERY": "raise"}
    assert "mktemp: failed to create file" in cycles.job("unwritable", "error")
    assert "No space left on device" in cycles.job("full", "error")


def test_F_D14_more_busy_processes_than_processors(plain, cycles, workers):
    """Leases are renewed, and nobody is given up for dead."""
    first, second = workers(2, env={"TOCSIN_LEASE": "3s"})
    cycles.load(many(8, "shell = 'sleep 5; echo 1'"))
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(50)]
    try:
        cycles.tocsin("cycle", env=QUICK)
        is_done(cycles, 120)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert len(cycles.signals()) == 8


def without_stderr(cycles, way, *args):
    return spawn_by(cycles.tocsin, ["sh", "-c", f'exec "$0" "$@" {way}'], *args, env=QUICK)


@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full", "2>&1 >&- | true"])
def test_F_D15_nobody_takes_the_log(cycles, broker, way):
    """Standard error is closed, its disk is full, its reader has gone: work goes on."""
    cycles.load(graph(a="shell = 'echo 1; echo oops >&2'", b="sql = 'select 1'", bad="shell = 'exit 3'"))
    worker = without_stderr(cycles, way, "worker", *BOTH)
    for _ in range(2):
        agent = without_stderr(cycles, way, "cycle", "--wait")
        agent.wait(60)
        assert closed(cycles) == "DONE_WITH_ERRORS"
        assert set(cycles.signals()) == {"A", "B"}
        cycles.due_again()
    for pid in [worker.pid] + [pid for pid, _ in children(worker.pid)]:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    assert worker.wait(20) in (0, -signal.SIGTERM)


def test_F_D15_nobody_reads_the_log(cycles, broker):
    """Standard error is a pipe that is full, and its reader has gone to sleep: work goes on,
    and how many lines were lost is said when he reads again."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    os.write(theirs, b"x\n" * 2048)
    os.set_blocking(theirs, True)
    cycles.load(graph(a="shell = 'echo 1; echo oops >&2'", b="sql = 'select 1'", bad="shell = 'exit 3'"))
    worker = subprocess.Popen([program(), "worker", *BOTH], cwd=cycles.tocsin.directory, stderr=theirs,
                              env={**cycles.tocsin.env, **QUICK}, stdin=subprocess.DEVNULL,
                              start_new_session=True)
    try:
        for _ in range(2):
            cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
            assert set(cycles.signals()) == {"A", "B"}
            cycles.due_again()
        assert fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        os.read(ours, 4096)
        cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
        os.set_blocking(ours, False)
        heard = os.read(ours, 4096).decode()
        lost = re.search('"lines of the log were lost" lines=([0-9]+)', heard)
        assert lost and int(lost[1]) > 3, heard
        worker.terminate()
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait()
        os.close(ours)
        os.close(theirs)
