"""What a worker's log tells of cycles: what failed, what rang, how it ended."""

import json
import re

import pytest

from cycles import QUICK
from harness import wait_for

pytestmark = pytest.mark.commands

GRAPH = """
    [variables]
    a.sql = "select {a}"
    bad.sql = \"\"\"select E'line\\nbreak'::int\"\"\"
    [evidences]
    ea.definition = "a == 1"
    ebad.definition = "bad == 1"
    [events]
    ring.definition = "ea"
    ring.interval = 0
    still.definition = "ebad"
    """


def records(worker):
    """The lines of its log: each is JSON of its own."""
    return [json.loads(line) for line in worker.stderr.splitlines(keepends=True)
            if line.endswith("\n")]


def told(worker, message, **pairs):
    return [r for r in records(worker) if r["msg"] == message
            and all(r.get(k) == str(v) for k, v in pairs.items())]


def test_a_worker_tells_of_failures_signals_and_ends(cycles, broker):
    cycles.load(GRAPH.format(a=1))
    worker = cycles.tocsin.spawn("worker", env={**QUICK, "TOCSIN_LOG_FORMAT": "json"})
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    # it is told once it is committed, which the agent may see first
    failed, = wait_for(lambda: told(worker, "a job failed", cycle=1))
    assert (failed["kind"], failed["name"], failed["reason"], failed["attempt"]) == (
        "variable", "bad", "error", "1")
    assert "line\nbreak" in failed["error"] and failed["level"] == "warn"
    closed, = wait_for(lambda: told(worker, "cycle closed", cycle=1))
    assert (closed["state"], closed["jobs"], closed["failed"]) == ("DONE_WITH_ERRORS", "6", "1")
    assert re.fullmatch(r"\d+\.\d{3}", closed["seconds"]) and float(closed["seconds"]) < 60
    signal, = wait_for(lambda: told(worker, "signal", cycle=1))
    assert (signal["event"], signal["signal"], signal["level"]) == ("ring", "raise", "info")
    # going on is no news, the end is
    cycles.tocsin("cycle", "--wait", "--event", "ring", env=QUICK)
    wait_for(lambda: told(worker, "cycle closed", cycle=2, state="DONE", failed=0, jobs=3))
    assert cycles.signals(2) == {"ring": "continue_raising"}
    assert not told(worker, "signal", cycle=2)
    cycles.load(GRAPH.format(a=2))
    cycles.tocsin("cycle", "--wait", "--event", "ring", env=QUICK)
    signal, = wait_for(lambda: told(worker, "signal", cycle=3))
    assert (signal["event"], signal["signal"]) == ("ring", "stop_raising")
    assert worker.stop() == 0


def test_of_two_workers_one_tells_how_a_cycle_ended(cycles, broker):
    cycles.load(GRAPH.format(a=1))
    workers = [cycles.tocsin.spawn("worker", env={**QUICK, "TOCSIN_LOG_FORMAT": "json"})
               for _ in range(2)]
    for worker in workers:
        worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    wait_for(lambda: any(told(w, "cycle closed") for w in workers))
    for worker in workers:
        assert worker.stop() == 0
    for message in "cycle closed", "a job failed", "signal":
        assert sum(len(told(w, message)) for w in workers) == 1, message


@pytest.mark.fault("F-F10")
def test_the_log_hides_the_passwords_of_the_settings(cycles, broker):
    """By their value, wherever they come from: here the server repeats it."""
    cycles.load("""
        [variables]
        v.sql = "select 'hush-hush-4711'::int"
        [evidences]
        e.definition = "v == 1"
        [events]
        ring.definition = "e"
        """)
    worker = cycles.tocsin.spawn("worker", env={
        **QUICK, "TOCSIN_REDIS_URL": "redis://:hush-hush-4711@127.0.0.1:1/0"})
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    line = worker.wait_for(r".*a job failed.*").group()
    assert "***" in line and "hush-hush" not in worker.stderr


def test_concurrency_may_be_given_by_its_letter(cycles, broker):
    worker = cycles.tocsin.spawn("worker", "-c", 3, env=QUICK)
    assert "concurrency=3" in worker.wait_for("worker is ready.*", 20).group()
