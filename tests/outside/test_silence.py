"""Books that say nothing: neither an answer nor that they have gone."""

import os
import signal

import psycopg2
import pytest

from cycles import QUICK
from harness import processes, wait_for
from invariants import check
from relay import Relay

GRAPH = """
    [variables]
    a.sql = "select 1"
    b.shell = "echo x >>{dir}/ran; while [ ! -e {dir}/gate ]; do sleep 0.02; done; echo 2"
    [evidences]
    ea.definition = "a == 1"
    eb.definition = "b == 2"
    [events]
    e.definition = "ea and eb"
    """

IMPATIENT = {**QUICK, "TOCSIN_LEASE": "3s", "TOCSIN_DATABASE_TIMEOUT": "500ms",
             "TOCSIN_HEARTBEAT": "1s"}


@pytest.fixture
def relay(db):
    with Relay(db) as relay:
        yield relay


def worker_in_a_cycle(cycles, directory, env):
    """A worker that computes a variable, and what lets it end."""
    cycles.load(GRAPH.format(dir=directory))
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env=env)
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", env=QUICK)
    cycles.wait_for_job("ea", "done")
    wait_for((directory / "ran").exists)
    return worker, (directory / "gate").touch


def test_a_worker_whose_books_fall_silent_connects_again(cycles, broker, relay, tmp_path):
    worker, open_gate = worker_in_a_cycle(cycles, tmp_path, {**IMPATIENT, **relay.env})
    before = relay.connections
    relay.hold()
    open_gate()
    worker.wait_for("PostgreSQL has not answered for 500ms", 20)
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert relay.connections > before
    assert cycles.signals() == {"e": "raise"}
    check(cycles.db)
    assert worker.stop() == 0


def backends(db):
    return db.all("select pid from pg_stat_activity where application_name = 'tocsin'"
                  " and datname = current_database()")


def test_a_server_process_that_hangs_is_left_behind(cycles, broker, tmp_path):
    worker, open_gate = worker_in_a_cycle(cycles, tmp_path, IMPATIENT)
    hanging = backends(cycles.db)
    assert hanging
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    try:
        open_gate()
        wait_for(lambda: cycles.state() == "DONE", 20)
        assert "PostgreSQL has not answered" in worker.stderr
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    assert cycles.signals() == {"e": "raise"}
    check(cycles.db)


def test_a_statement_that_takes_its_time_is_no_silence(cycles, broker, tmp_path):
    """Several answers, each in time, together longer than the limit."""
    cycles.load("""
        [variables]
        v.sql = "select 1 from pg_sleep(1.2)"
        [evidences]
        e.definition = "v == 1"
        [events]
        ring.definition = "e"
        """)
    worker = cycles.tocsin.spawn("worker", env=IMPATIENT)
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK)
    assert "has not answered" not in worker.stderr


def test_a_command_gives_up_on_silent_books(cycles, db, relay, tmp_path):
    env = {**relay.env, "TOCSIN_STATEMENT_TIMEOUT": "2s", "TOCSIN_DATABASE_TIMEOUT": "500ms"}
    with db.connect() as locker:
        locker.autocommit = False
        locker.cursor().execute("lock table tocsin.run")
        status = cycles.tocsin.spawn("status", env=env)
        wait_for(lambda: db.one("select count(*) from pg_stat_activity where datname ="
                                " current_database() and wait_event_type = 'Lock'"))
        relay.hold()
        locker.rollback()
    assert status.wait() == 75
    assert "PostgreSQL has not answered for 2s500ms" in status.stderr


def test_sessions_ask_after_the_other_end(cycles, db, tmp_path):
    """What the server was told is in its session; what our own kernel was told
    is in the socket, and ss(8) would be needed to see it."""
    cycles.load("""
        [variables]
        v.sql = \"\"\"select current_setting('tcp_keepalives_idle') || ' ' ||
            current_setting('tcp_user_timeout')\"\"\"
        [evidences]
        e.definition = "v is None"
        [events]
        ring.definition = "e"
        """)
    try:
        psycopg2.connect(host="127.0.0.1", port=db.env["PGPORT"], user=db.env["PGUSER"],
                         dbname=db.name, connect_timeout=5).close()
    except psycopg2.OperationalError:
        pytest.skip("the sandbox's PostgreSQL has no TCP")
    cycles.run(env={"PGHOST": "127.0.0.1", "TOCSIN_HEARTBEAT": "7s"})
    assert db.one("select value from tocsin.variable where name = 'v'") == "7 14000"


def test_what_a_worker_that_stands_still_has_locked_is_free_again(cycles, broker, tmp_path):
    """It stands in the middle of a settling; its machine may have lost its power."""
    cycles.load(GRAPH.format(dir=tmp_path))
    (tmp_path / "gate").touch()
    args = ["worker", "--executors", "sql,shell"]
    still = cycles.tocsin.spawn(*args, env={
        **IMPATIENT, "TOCSIN_FAILPOINT": "worker.before_commit=stop@1"})
    still.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: processes()[still.pid][1] == "T", 15)
    other = cycles.tocsin.spawn(*args, env=IMPATIENT)
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert cycles.signals() == {"e": "raise"}
    still.signal(signal.SIGCONT)
    still.wait_for("the books cannot be used, trying again")
    check(cycles.db)
    assert (still.stop(), other.stop()) == (0, 0)
