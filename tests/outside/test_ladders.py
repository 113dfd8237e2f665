"""The ladders: the n-th allocation fails, the n-th system call fails.

For load, a local cycle, an agent and a worker, for one n after the other; quick
with a sample of them, --long with all, or with as many of each as TOCSIN_RUNGS says,
at even distances.  The program may go on or end: cleanly,
with a status of its own.  In the end what ran undisturbed has brought all to its
end, and the books are as they would have been.
"""

import os
import re
import signal
import struct

import pytest

from cycles import QUICK
from harness import tool, wait_for
from invariants import books, check  # noqa: F401
from plain import plain, spawn_by  # noqa: F401

# 0 and 1 as ever (a measurement may fail for want of memory); 75: out of memory,
# or a server that could not be reached.
CLEAN = {0, 1, 75}

COMMON = """
    [variables]
    v = { sql = "select 1", soft_time_limit = "5s", time_limit = "6s" }
    w.shell = "echo 2"
    x = { sql = "select jsonb_build_object('a', n, 'b', repeat('x', 100)) from generate_series(1, 20) n", soft_time_limit = "5s", time_limit = "6s" }
    [evidences]
    ev.definition = "v == 1 and w == 2"
    ex.definition = "len(x) == 20"
    [events]
    """


def agents(count):
    """Definitions in which each of COUNT agents has an event."""
    return COMMON + "".join(
        f'    e{i}.definition = "ev and ex"\n    e{i}.agent = "a{i}"\n' for i in range(count))


def sample(total, count, everything):
    """COUNT numbers from 1 to TOTAL, ever further apart; or EVERYTHING."""
    if everything:
        count = min(total, int(os.environ.get("TOCSIN_RUNGS", total)))
        return [1 + i * total // count for i in range(count)]
    if total <= count:
        return list(range(1, total + 1))
    return sorted({max(1, round(total ** (i / (count - 1)))) for i in range(count)})


def is_right(cycles, count):
    """Each agent has had its cycle, and a cycle without faults comes out as it should."""
    db = cycles.db
    check(db)
    # What ended with an error had a measurement that failed, and says so.
    assert not db.all("select run_id, name from tocsin.job where state = 'failed' and error is null")
    assert not db.all("select name, value from tocsin.history h where kind = 'variable' and"
                      " value <> (select value from tocsin.variable v where v.name = h.name)")
    assert db.one("select count(distinct agent) from tocsin.run") == count
    cycles.due_again()
    cycles.run("--agent", "a0")
    assert cycles.signals() in ({"e0": "raise"}, {"e0": "continue_raising"})
    assert db.all("select name, value from tocsin.variable where name < 'x' order by name") == [("v", 1), ("w", 2)]
    check(db)


class Memory:
    """The n-th allocation fails, once or from then on."""

    ways = ("once", "for ever")

    def __init__(self, cycles, directory):
        self.cycles = cycles
        self.file = directory / "count"

    def spawn(self, *args, n=0, way="once", env=None):
        self.file.write_bytes(bytes(8))
        faults = {"LD_PRELOAD": tool("fail_malloc.so"), "FAIL_MALLOC_COUNT": self.file}
        if n:
            faults["FAIL_MALLOC_AT"] = str(n)
        if way == "for ever":
            faults["FAIL_MALLOC_EVER"] = "1"
        return self.cycles.tocsin.spawn(*args, env={**(env or {}), **{k: str(v) for k, v in faults.items()}})

    def passed(self):
        """How many allocations there have been."""
        return struct.unpack("Q", self.file.read_bytes())[0]

    def total(self, *args, env=None, status=0):
        assert self.spawn(*args, env=env).wait(60) == status
        return self.passed()


@pytest.fixture
def memory(plain, cycles, tmp_path):
    return Memory(cycles, tmp_path)


def steps(memory, total, count, everything):
    return [(n, way) for way in memory.ways for n in sample(total, count, everything)]


def ended(spawned, clean=CLEAN, at=None):
    status = spawned.wait(60)
    assert status in clean, (at, spawned)
    return status


@pytest.fixture
def everything(request):
    return request.config.getoption("--long")


@pytest.mark.fault("F-D07")
def test_load_without_memory(memory, cycles, tmp_path, record_property, everything):
    """All of it is loaded, or nothing."""
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(agents(3))
    two.write_text(agents(3).replace("echo 2", "echo 3").replace("20", "30"))
    cycles.tocsin("load", one)
    total = memory.total("load", two)
    todo = steps(memory, total, 8, everything)
    before, after = two, one

    def loaded():
        return cycles.db.one("select string_agg(v.hash, ',' order by kind, name) from tocsin.version v"
                             " join (select version from tocsin.variable union all"
                             " select version from tocsin.evidence) c on c.version = v.id")
    was = loaded()
    for n, way in todo:
        status = ended(memory.spawn("load", after, n=n, way=way), at=(n, way))
        now = loaded()
        if status == 0:
            assert now != was
        if now != was:
            before, after, was = after, before, now
        assert memory.passed() >= n or status == 0
    record_property("times", len(todo))
    cycles.tocsin("load", one)
    cycles.run("--agent", "a0")


@pytest.mark.fault("F-D07")
def test_a_local_cycle_without_memory(memory, cycles, record_property, everything):
    cycles.load(agents(1))
    total = memory.total("cycle", "--local", "--agent", "a0")
    todo = steps(memory, total, 8, everything)
    cycles.load(agents(len(todo)))
    for i, (n, way) in enumerate(todo):
        ended(memory.spawn("cycle", "--local", "--agent", f"a{i}", "--event", f"e{i}", n=n, way=way, env=QUICK), at=(n, way))
    finish(cycles, len(todo), "--local")
    record_property("times", len(todo))
    is_right(cycles, len(todo))


def finish(cycles, count, *how):
    """Undisturbed agents resume what is open, and have their cycle if they had none."""
    check(cycles.db, open_runs=True)
    wait_for(lambda: cycles.db.one(
        "select count(*) = 0 from tocsin.job j join tocsin.run r on r.id = j.run_id"
        " where r.finished_at is null and greatest(j.queued_at, j.started_at, j.lease_until,"
        " j.finished_at, r.created_at) > now() - interval '2.1 s'"), 30)
    had = set(cycles.db.all("select agent from tocsin.run where finished_at is not null"))
    for i in range(count):
        if f"a{i}" not in had:
            cycles.tocsin("cycle", *how, "--agent", f"a{i}", "--event", f"e{i}", env=QUICK, status=None)


def all_closed(cycles, count):
    wait_for(lambda: cycles.db.one("select count(distinct agent) = %s and bool_and(finished_at is not null)"
                                   " from tocsin.run", count), 60,
             lambda: cycles.db.all("select id, agent, state from tocsin.run where finished_at is null"))


@pytest.mark.fault("F-D07")
def test_an_agent_without_memory(memory, cycles, broker, record_property, everything):
    cycles.load(agents(1))
    total = memory.total("cycle", "--agent", "a0", env=QUICK)
    todo = steps(memory, total, 8, everything)
    cycles.load(agents(len(todo)))
    for i, (n, way) in enumerate(todo):
        ended(memory.spawn("cycle", "--agent", f"a{i}", "--event", f"e{i}", n=n, way=way, env=QUICK), at=(n, way))
    cycles.tocsin.spawn("worker", "--executors", "sql,shell", "-c", 4, env=QUICK)
    finish(cycles, len(todo))
    all_closed(cycles, len(todo))
    record_property("times", len(todo))
    is_right(cycles, len(todo))


@pytest.mark.fault("F-D07")
def test_a_worker_without_memory(memory, cycles, broker, record_property, everything):
    work = ("worker", "--executors", "sql,shell")
    cycles.load(agents(1))
    whole = memory.spawn(*work, env=QUICK)
    cycles.tocsin("cycle", "--wait", "--agent", "a0", env=QUICK)
    total = memory.passed()
    whole.stop()
    todo = steps(memory, total, 8, everything)
    cycles.load(agents(len(todo)))
    for i, (n, way) in enumerate(todo):
        cycles.tocsin("cycle", "--agent", f"a{i}", "--event", f"e{i}", env=QUICK)
        worker = memory.spawn(*work, n=n, way=way, env=QUICK)
        wait_for(lambda: not worker.alive or cycles.db.one(
            "select bool_and(finished_at is not null) from tocsin.run where agent = %s", f"a{i}"), 60)
        if worker.alive:
            worker.stop()
        ended(worker, at=(n, way))
    cycles.tocsin.spawn(*work, env=QUICK)
    all_closed(cycles, len(todo))
    record_property("times", len(todo))
    is_right(cycles, len(todo))


# --- system calls ---

# What is not there in a kernel is not asked for: glibc starts processes by
# clone3, libuv waits by epoll_pwait; those that this one never makes cost nothing.
CALLS = [
    ("read", "EIO"), ("write", "EIO"), ("write", "ENOSPC"), ("sendto", "ECONNRESET"),
    ("recvfrom", "ECONNRESET"), ("connect", "ECONNREFUSED"), ("openat", "EMFILE"),
    ("epoll_pwait,epoll_wait", "EINTR"), ("epoll_ctl", "ENOSPC"), ("clone3,clone,vfork", "EAGAIN"),
    ("execve", "ENOENT"), ("pipe2", "EMFILE"), ("socket", "EMFILE"), ("poll", "EINTR"),
]

# libpq leaves a write that fails to the next read, and here nobody has closed; nor
# does a measurement end whose query has not gone out, until its limit does.
PATIENCE = {**QUICK, "TOCSIN_DATABASE_TIMEOUT": "3s", "TOCSIN_STATEMENT_TIMEOUT": "3s"}

# What the dynamic loader or libuv have to say of theirs: 127 is "error while
# loading shared libraries"; libuv aborts where it gets no epoll, and no thread
# where all had been there just before (io/threads.c).
ENDS = CLEAN | {127, 78, 2, -6}


def traced(trace):
    """The calls that a trace of strace has: (name, how often)."""
    wait_for(lambda: "+++ exited with" in trace.read_text(errors="replace"))
    counts = {}
    for line in trace.read_text(errors="replace").splitlines():
        name = line.split("(")[0].split()[-1]
        counts[name] = counts.get(name, 0) + 1
    return counts


DEAF = re.compile(r'^(?:read\(\d+, 0x\w+, 1|write\(\d+, (?:"\*", 1|"[^"]*", 16))\) += -1 .*INJECTED', re.M)


class Calls:
    """The n-th system call of a kind fails, of the program alone, not of what it starts."""

    def __init__(self, cycles, directory):
        self.cycles = cycles
        self.trace = directory / "trace"

    def spawn(self, *args, options=(), env=None):
        self.trace.write_text("")
        return spawn_by(self.cycles.tocsin, ["strace", "-D", "-q", "-o", str(self.trace), "-e", "signal=none", *options],
                        *args, env=env)

    def deafened(self):
        """Has the fault hit the pipes by which libuv keeps its signal handlers apart,
        with a byte that goes round, and tells of signals?  It waits for ever for a byte
        that was not written there, or never hears of a signal: as good as dead."""
        return DEAF.search(self.trace.read_text(errors="replace"))

    def steps(self, count, everything):
        """(the option, n) for what has just been traced."""
        counts = traced(self.trace)
        return [(["-e", f"trace={names}", "-e", f"inject={names}:error={error}:when={n}"], n)
                for names, error in CALLS
                for n in sample(max(counts.get(name, 0) for name in names.split(",")), count, everything)
                if names != "execve" or n > 1]


@pytest.fixture
def calls(plain, cycles, tmp_path):
    return Calls(cycles, tmp_path)


@pytest.mark.fault("F-D05", "F-D06", "F-D11")
def test_load_where_a_system_call_fails(calls, cycles, tmp_path, record_property, everything):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(agents(3))
    two.write_text(agents(3).replace("echo 2", "echo 3").replace("20", "30"))
    cycles.tocsin("load", one)
    assert calls.spawn("load", two).wait(60) == 0
    todo = calls.steps(2, everything)
    hashes = ("select string_agg(v.hash, ',' order by kind, name) from tocsin.version v join (select version"
              " from tocsin.variable union all select version from tocsin.evidence) c on c.version = v.id")
    loaded = {two: cycles.db.one(hashes)}
    cycles.tocsin("load", one)
    loaded[one] = cycles.db.one(hashes)
    assert loaded[one] != loaded[two]
    before, after = one, two
    for options, _ in todo:
        status = ended(calls.spawn("load", after, options=options, env=PATIENCE), ENDS, options)
        now = cycles.db.one(hashes)
        assert now == loaded[after] if status == 0 else now in loaded.values(), options
        if now == loaded[after]:
            before, after = after, before
    record_property("times", len(todo))
    cycles.tocsin("load", one)
    cycles.run("--agent", "a0")


@pytest.mark.fault("F-D05", "F-D06", "F-D11")
def test_an_agent_where_a_system_call_fails(calls, cycles, broker, record_property, everything):
    cycles.load(agents(1))
    assert calls.spawn("cycle", "--agent", "a0", env=PATIENCE).wait(60) == 0
    todo = calls.steps(2, everything)
    cycles.load(agents(len(todo)))
    for i, (options, _) in enumerate(todo):
        ended(calls.spawn("cycle", "--agent", f"a{i}", "--event", f"e{i}", options=options, env=PATIENCE), ENDS, options)
    cycles.tocsin.spawn("worker", "--executors", "sql,shell", "-c", 4, env=PATIENCE)
    finish(cycles, len(todo))
    all_closed(cycles, len(todo))
    record_property("times", len(todo))
    is_right(cycles, len(todo))


@pytest.mark.fault("F-D05")
def test_an_agent_that_gets_no_thread_says_so(calls, cycles, broker):
    """The first that it needs, the last, or any: they look up the broker's name."""
    cycles.load(agents(3))
    for i, which in enumerate(("1", "4", "1+")):
        agent = calls.spawn("cycle", "--agent", f"a{i}", "--event", f"e{i}", env=PATIENCE, options=[
            "-e", f"inject=clone3,clone,vfork:error=EAGAIN:when={which}"])
        ended(agent, {75}, which)
        assert "cannot start a thread: resource temporarily unavailable" in agent.stderr, agent
    cycles.tocsin.spawn("worker", "--executors", "sql,shell", "-c", 4, env=PATIENCE)
    finish(cycles, 3)
    all_closed(cycles, 3)
    is_right(cycles, 3)


@pytest.mark.fault("F-D05", "F-D06", "F-D11")
def test_a_worker_where_a_system_call_fails(calls, cycles, broker, record_property, everything):
    work = ("worker", "--executors", "sql,shell")
    cycles.load(agents(1))
    whole = calls.spawn(*work, env=PATIENCE)
    cycles.tocsin("cycle", "--wait", "--agent", "a0", env=PATIENCE)
    whole.stop()
    todo = calls.steps(2, everything)
    cycles.load(agents(len(todo)))
    for i, (options, _) in enumerate(todo):
        worker = calls.spawn(*work, options=options, env=PATIENCE)
        cycles.tocsin("cycle", "--agent", f"a{i}", "--event", f"e{i}", env=PATIENCE)
        wait_for(lambda: not worker.alive or calls.deafened() or cycles.db.one(
            "select bool_and(finished_at is not null) from tocsin.run where agent = %s", f"a{i}"), 60)
        if worker.alive and not calls.deafened():
            worker.signal(signal.SIGTERM)
            wait_for(lambda: not worker.alive or calls.deafened(), 20, lambda: f"no end: {options} {worker}")
        if worker.alive and calls.deafened():
            worker.kill()
        else:
            ended(worker, ENDS, options)
    cycles.tocsin.spawn(*work, env=PATIENCE)
    all_closed(cycles, len(todo))
    record_property("times", len(todo))
    is_right(cycles, len(todo))
