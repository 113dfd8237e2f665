"""F-F04: the wall clock of a worker or an agent steps back or forward.

The clock is libfaketime's, for one process alone: what it takes for the time of day
follows a file, what it takes for the monotonic clock does not, as when somebody
sets the clock of a machine.  The database has the right time all the while.
(Daylight saving is in test_schedule.py.)
"""

import glob
import os
import re
import threading
from datetime import datetime, timedelta, timezone

import pytest

from cycles import QUICK
from harness import program, wait_for
from invariants import books  # noqa: F401


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """clock.env is that of a program under this clock; clock.step("-2h").  It is
    the plain program where there is one: two preloaded libraries are one too many."""
    monkeypatch.setenv("TOCSIN", os.environ.get("TOCSIN_PLAIN") or program())
    return Clock(tmp_path / "clock")


class Clock:
    def __init__(self, path):
        self.path = path
        self.step("+0")
        library, = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        self.env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(path),
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
                    "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}

    def step(self, by):
        new = self.path.with_suffix(".new")
        new.write_text(by + "\n")
        new.rename(self.path)

    def swing(self, enough):
        """To and fro until ENOUGH is set, some forty times a second."""
        while not enough.is_set():
            for by in "-2h", "+2h", "+0":
                self.step(by)
                enough.wait(0.025)


GRAPH = """
    [variables.gated]
    shell = "while [ ! -e {gate} ]; do sleep 0.05; done; echo 1"
    soft_time_limit = "20m"
    time_limit = "30m"
    [variables.hangs]
    shell = "sleep 600"
    soft_time_limit = "3s"
    time_limit = "4s"
    [variables.quick]
    sql = "select 1"
    [evidences]
    eg.definition = "gated == 1"
    eh.definition = "hangs is None and quick == 1"
    eq.definition = "quick == 1"
    [events.basic]
    definition = "eg"
    interval = "1h"
    [events.held]
    definition = "eq"
    interval = "1h"
    time_to_wait = "2h"
    [events.limited]
    definition = "eh"
    interval = "1h"
    [events.hourly]
    definition = "eq"
    rrule = "FREQ=HOURLY"
    dtstart = "2026-01-01T00:{minute:02}:00Z"
    """


def times_of(log):
    return [datetime.fromisoformat(text) for text in re.findall(r"^time=(\S+?)Z", log, re.M)]


@pytest.mark.parametrize("step, hours", [("-2h", -2), ("+2h", 2)])
def test_F_F04_wall_clock_steps(cycles, broker, clock, tmp_path, step, hours):
    db, gate = cycles.db, tmp_path / "gate"
    # half an hour away from now, so that it does not strike in between
    minute = (datetime.now(timezone.utc).minute + 30) % 60
    cycles.load(GRAPH.format(gate=gate, minute=minute))
    cycles.due_again()
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env={**QUICK, **clock.env})
    worker.wait_for("worker is ready", 20)
    agent = cycles.tocsin.spawn("cycle", "--wait", env=QUICK)
    cycles.wait_for_job("gated", "running")
    cycles.wait_for_job("hangs", "running")
    before = len(worker.stderr)
    clock.step(step)

    # Limits and leases go by other clocks: the short limit strikes, the long one
    # does not, and somebody who looks for what is lost finds nothing.
    other = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env=QUICK)
    lease = "select lease_until from tocsin.job where name = 'gated'"
    first = db.one(lease)
    cycles.wait_for_job("hangs", "failed", timeout=30)
    assert cycles.job("hangs", "reason, error") == ("timeout", "soft time limit (3s) exceeded")
    wait_for(lambda: db.one(lease) > first + timedelta(seconds=3), 30)
    other.wait_for("worker is ready", 20)
    assert cycles.job("gated", "state, attempts") == ("running", 1)
    gate.touch()
    assert agent.wait(30) == 1
    assert db.all("select distinct attempts from tocsin.job where kind = 'variable'") == [1]
    assert cycles.signals() == {"basic": "raise", "limited": "raise", "hourly": "raise"}
    stepped = [t for t in times_of(worker.stderr[before:])
               if abs(t - datetime.utcnow() - timedelta(hours=hours)) < timedelta(minutes=30)]
    assert stepped, "the clock of the worker has not moved"

    # T is the database's, and so is what follows from it.
    at, = db.all("select as_of from tocsin.run")
    assert abs(at - datetime.now(timezone.utc)) < timedelta(minutes=10)
    assert dict(db.all("select name, next_call - %s from tocsin.event where name <> 'hourly'", at)) == dict.fromkeys(
        ["basic", "held", "limited"], timedelta(hours=1))
    hour = cycles.event("hourly", "next_call")
    assert at < hour <= at + timedelta(hours=1) and hour.minute == minute

    # Nothing is due for an agent either, whatever time it thinks it is.
    for n, other_step in enumerate((step, "-2h", "+2h"), 2):
        clock.step(other_step)
        cycles.tocsin("cycle", "--wait", env={**QUICK, **clock.env})
        assert db.one("select state, jobs, as_of > %s and as_of <= now() from tocsin.run where id = %s",
                      at, n) == ("DONE", 0, True)
    # What is due goes on where it was.
    clock.step(step)
    cycles.due_again("basic")
    cycles.tocsin("cycle", "--wait", env={**QUICK, **clock.env}, status=None)
    assert cycles.signals() == {"basic": "continue_raising"}
    assert cycles.event("held", "state, hold") == ("not_raising", 1)
    assert not re.findall("level=(?:warn|error).*", worker.stderr.replace('level=warn pid='
        f'{worker.pid} msg="a job failed"', ""))
    apart = f"{'ahead' if hours < 0 else 'behind'} of ours"
    assert re.search(rf"its clock is 7[12]\d\d s {apart}",
                     cycles.tocsin("doctor", env=clock.env, status=None).stdout)
    for each in worker, other:
        assert each.stop() == 0


def test_F_F04_wall_clock_that_swings(cycles, broker, clock):
    """All the time, under everything that a worker does."""
    clock.step("+0")
    cycles.load("".join(f"""
        variables.v{n}.shell = "sleep 0.{n}; echo 1"
        evidences.e{n}.definition = "v{n} == 1"
        events.event{n}.definition = "e{n}"
        events.event{n}.interval = 0
        """ for n in range(10)))
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", "-c", 4, env={**QUICK, **clock.env})
    worker.wait_for("worker is ready", 20)
    enough = threading.Event()
    swing = threading.Thread(target=clock.swing, args=[enough])
    swing.start()
    try:
        for action in "raise", "continue_raising", "continue_raising":
            cycles.tocsin("cycle", "--wait", env={**QUICK, **clock.env})
            assert cycles.signals() == {f"event{n}": action for n in range(10)}
    finally:
        enough.set()
        swing.join()
    assert cycles.db.all("select distinct attempts from tocsin.job") == [1]
    assert worker.stop() == 0
    assert not re.findall("level=(?:warn|error).*", worker.stderr)
