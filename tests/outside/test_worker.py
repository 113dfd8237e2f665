"""Cycles over AMQP: the agent, the broker, the workers, and what they survive."""

import json
import signal
import uuid

import pytest

from cycles import QUICK
from harness import wait_for
from invariants import check

GRAPH = """
    [variables]
    a.sql = "select 1"
    b.sql = "select 2"
    c.sql = "select 3 from pg_sleep(0.1)"
    bad.sql = "select 1/0"
    [evidences]
    ea.definition = "a == 1"
    eab.definition = "a + b == 3"
    ec.definition = "c == 4"
    ebad.definition = "bad == 1"
    [events]
    one.definition = "ea and eab"
    two.definition = "ec"
    three.definition = "ebad"
    """


@pytest.fixture
def workers(cycles, broker):
    """workers(n) starts n of them, ready."""
    def start(n, *args, env=None):
        started = [cycles.tocsin.spawn("worker", *args, env={**QUICK, **(env or {})})
                   for _ in range(n)]
        for worker in started:
            worker.wait_for("worker is ready", 20)
        return started
    return start


def is_as_it_should_be(cycles, run=None):
    assert cycles.state(run) == "DONE_WITH_ERRORS"
    assert cycles.jobs(run) == {
        "a": "done", "b": "done", "c": "done", "bad": "failed", "ea": "done", "eab": "done",
        "ec": "done", "ebad": "skipped", "event one": "done", "event two": "done",
        "event three": "skipped"}
    assert cycles.signals(run) == {"one": "raise"}
    check(cycles.db)


def test_a_cycle_over_two_workers_ends(cycles, workers):
    cycles.load(GRAPH)
    workers(2)
    ended = cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert "DONE_WITH_ERRORS, 11 jobs, 1 failed" in ended.stdout
    is_as_it_should_be(cycles)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
