"""Rows of the fault matrix: PostgreSQL, and what stands before it.

Each test is a row; its docstring is what the row promises.  The faults are real:
servers are stopped, backends terminated, disks filled, clocks moved.  What is
bounded is counted work, not the clock.
"""

import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import psycopg2
import pytest

from cluster import MovedClock, PgBouncer, Standby
from cycles import QUICK, Cycles
from harness import Database, Sandbox, Tocsin, wait_for
from invariants import books, check  # noqa: F401
from proxy import Postgres, Proxy

PATIENT = {**QUICK, "TOCSIN_LEASE": "30s", "TOCSIN_CONNECT_TIMEOUT": "2s"}

GRAPH = """
    [variables]
    a.shell = "echo 1"
    b.shell = "echo 2"
    c.shell = "echo 3"
    bad.shell = "exit 7"
    [evidences]
    ea.definition = "a == 1"
    eab.definition = "a + b == 3"
    ec.definition = "c == 4"
    ebad.definition = "bad == 1"
    [events]
    one = { definition = "ea and eab", interval = 0 }
    two = { definition = "ec", interval = 0 }
    three = { definition = "ebad", interval = 0 }
    """
JOBS = {"a": "done", "b": "done", "c": "done", "bad": "failed", "ea": "done", "eab": "done",
        "ec": "done", "ebad": "skipped", "event one": "done", "event two": "done",
        "event three": "skipped"}

# v waits for its gate, and leaves a line when it begins.
GATED = """
    [variables]
    v.shell = "echo v >>{dir}/ran; while [ ! -e {dir}/gate$TOCSIN_ARG_N ]; do sleep 0.02; done; echo 1"
    w.shell = "echo 2"
    [evidences]
    ev.definition = "v == 1"
    ew.definition = "w == 2"
    [events]
    both = {{ definition = "ev and ew", interval = 0 }}
    early = {{ definition = "ew", interval = 0 }}
    """


class Rows:
    """What the rows have in common."""

    def __init__(self, cycles, directory):
        self.cycles, self.directory = cycles, directory
        self.db, self.tocsin = cycles.db, cycles.tocsin

    def load(self, text=GATED):
        self.cycles.load(text if text is GRAPH else text.format(dir=self.directory))

    def worker(self, *args, env=PATIENT):
        worker = self.tocsin.spawn("worker", "--executors", "sql,shell", *args, env=env)
        worker.wait_for("worker is ready", 20)
        return worker

    def begin(self, env=PATIENT):
        """Into the middle: v runs, the rest is over."""
        before = self.begun()
        self.tocsin("cycle", env=env)
        wait_for(lambda: self.begun() > before, 20)
        self.cycles.wait_for_job("early", "done")

    def begun(self):
        path = self.directory / "ran"
        return len(path.read_text().split()) if path.exists() else 0

    def gate(self, is_open=True):
        (self.directory / "gate").touch() if is_open else (self.directory / "gate").unlink()

    def until_closed(self, run=None, timeout=40):
        def closed():
            try:
                return self.cycles.state(run) in ("DONE", "DONE_WITH_ERRORS")
            except psycopg2.OperationalError:
                return False
        wait_for(closed, timeout, lambda: f"{self.cycles.state(run)}: {self.cycles.jobs(run)}")

    def is_right(self, run=None, attempts=1):
        """GATED came out as it must, and nothing was measured twice."""
        self.until_closed(run)
        assert self.cycles.state(run) == "DONE"
        assert set(self.cycles.jobs(run).values()) == {"done"}
        assert set(self.cycles.signals(run)) == {"both", "early"}
        assert self.db.one("select max(attempts) from tocsin.job") <= attempts
        check(self.db)

    def graph_is_right(self, run=None):
        self.until_closed(run)
        assert self.cycles.jobs(run) == JOBS
        assert list(self.cycles.signals(run)) == ["one"]
        assert self.db.one("select count(*) from tocsin.history where run_id = %s",
                           run or self.cycles.last()) == 8
        check(self.db)


@pytest.fixture
def rows(cycles, broker, tmp_path):
    return Rows(cycles, tmp_path)


# --- the server goes, or a session of it ---


def stop_fast(sandbox):
    sandbox.stop("postgresql")


def stop_immediately(sandbox):
    pid = sandbox.pid("postgresql")
    os.kill(pid, signal.SIGQUIT)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or
             open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z", 30)


def test_F_C01_a_restart_in_mid_cycle_costs_time_and_no_result(rows, sandbox, record_property):
    """Workers connect again, and what they measure is theirs all the time."""
    rows.load()
    workers = [rows.worker(), rows.worker()]
    for stop in (stop_fast, stop_immediately):
        rows.begin()
        stop(sandbox)
        rows.gate()			# what is measured cannot be written down
        wait_for(lambda: any("the books cannot be used" in w.stderr for w in workers), 20)
        sandbox.start("postgresql")
        rows.is_right()
        rows.gate(False)
    assert rows.begun() == 2
    record_property("times", 2)
    assert [worker.stop() for worker in workers] == [0, 0]


class Terminator:
    """A proxy that has all sessions of the books over TCP, which are those that come
    by it, terminated just before the n-th statement; n counts from arm()."""

    def __init__(self, db, proxy):
        self.db, self.proxy = db, proxy
        self.connection = db.connect()
        self.left, self.terminated = None, 0
        proxy.to_server.rule = self.rule

    def arm(self, n):
        self.left, self.terminated = n, 0

    def rule(self, unit):
        if self.left is not None and unit.name in "EQ":
            if self.left == 0:
                self.left = None
                with self.connection.cursor() as cursor:
                    cursor.execute("""
                        select count(pg_terminate_backend(pid)) from pg_stat_activity
                         where datname = current_database() and application_name = 'tocsin'
                           and client_addr is not null""")
                    self.terminated = cursor.fetchone()[0]
            else:
                self.left -= 1
        return unit.data


@pytest.fixture
def terminator(db, sandbox):
    with Proxy(("127.0.0.1", int(sandbox.env["PGPORT"])), Postgres) as proxy:
        terminator = Terminator(db, proxy)
        terminator.env = {**PATIENT, "PGHOST": "127.0.0.1", "PGPORT": proxy.port}
        yield terminator
        terminator.connection.close()


def terminated_at(rows, terminator, statements):
    """A cycle for each of STATEMENTS, at which the worker's sessions are
    terminated; ends early when a cycle has no more statements."""
    rows.load(GRAPH)
    rows.worker(env=terminator.env)
    hits = 0
    for n in statements:
        terminator.arm(n)
        rows.tocsin("cycle", env=PATIENT)
        rows.graph_is_right()
        if not terminator.terminated:
            break
        hits += 1
    terminator.arm(-1)
    return hits


def test_F_C02_a_backend_terminated_at_any_statement_changes_nothing(
        rows, terminator, record_property):
    """Asked again on a new connection, and the books come out the same."""
    hits = terminated_at(rows, terminator, range(0, 60, 8))
    assert hits >= 3
    record_property("times", hits)


@pytest.mark.long
def test_F_C02_a_backend_terminated_at_each_statement_changes_nothing(
        rows, terminator, record_property):
    hits = terminated_at(rows, terminator, range(200))
    assert hits >= 20
    record_property("times", hits)


@pytest.mark.long
def test_F_C02_an_agent_whose_backend_is_terminated_at_each_statement_is_resumed(
        rows, terminator, record_property):
    rows.load(GRAPH)
    rows.worker()
    short = {"TOCSIN_LEASE": "1s", "TOCSIN_SWEEP": "300ms"}
    n = 0
    while True:
        before = rows.cycles.last() or 0
        terminator.arm(n)
        status = rows.tocsin("cycle", env={**terminator.env, **short}, status=None).status
        if terminator.left is not None:
            break
        assert status in (0, 75)
        rows.tocsin("cycle", "--if-busy", "wait", "--wait", env=short, status=1)
        for run in rows.db.all("select id from tocsin.run where id > %s", before):
            rows.graph_is_right(run)
        n += 1
    rows.graph_is_right()
    assert n >= 5
    record_property("times", n)


# --- others are in the way ---


class Other:
    """A session of somebody else's, in a transaction, who never is the victim."""

    def __init__(self, db):
        self.connection = db.connect()
        self.connection.autocommit = False
        self.cursor = self.connection.cursor()
        self.cursor.execute("set deadlock_timeout = '10min'")
        self.connection.commit()

    def lock(self, table, where="true"):
        self.cursor.execute(f"select from tocsin.{table} where {where} for update")

    def end(self):
        self.connection.rollback()


def waits(db, query):
    """Does a statement that begins so wait for a lock?"""
    return db.one("select count(*) from pg_stat_activity where datname = current_database()"
                  " and wait_event_type = 'Lock' and starts_with(query, %s)", query)


def lock_crosswise(rows, times):
    """Have the settling of v be the victim of so many deadlocks: it has the run
    and wants the job of ev, the others have that and want the run."""
    one, other = Other(rows.db), Other(rows.db)
    for _ in range(times):
        one.lock("job", "name = 'v'")
        other.lock("job", "name = 'ev'")
        rows.gate()
        wait_for(lambda: waits(rows.db, "with r as"), 20)	# the settling, with the run
        thread = threading.Thread(target=other.lock, args=["run"])
        thread.start()
        wait_for(lambda: waits(rows.db, "select from tocsin.run where true"), 20)
        one.end()						# the circle is closed
        thread.join(20)
        assert not thread.is_alive()
        other.end()
    one.connection.close()
    other.connection.close()


def test_F_C04_deadlocks_and_serialization_failures_are_tried_again(rows, record_property):
    """With jitter; five times at once, then as trouble with the books, and no
    job fails for it."""
    rows.load()
    worker = rows.worker(env={**PATIENT, "PGOPTIONS": "-c deadlock_timeout=20ms"})
    rows.begin()
    lock_crosswise(rows, 7)
    rows.is_right()
    assert worker.stderr.count("a settling is tried again") == 5
    assert worker.stderr.count("sqlstate=40P01") == 5
    assert worker.stderr.count("the books cannot be used") == 2
    rows.db.run("""
        create sequence tries;
        create function fail_thrice() returns trigger language plpgsql as $$ begin
            if nextval('tries') <= 3 then
                raise exception 'others were faster' using errcode = '40001';
            end if;
            return new;
        end $$;
        create trigger fail_thrice before update on tocsin.variable
            for each row execute function fail_thrice()""")
    rows.begin()
    rows.is_right()
    assert worker.stderr.count("sqlstate=40001") == 3
    record_property("times", 10)
    assert worker.stop() == 0


def test_F_C04_a_claim_that_fails_at_its_commit_is_none(rows):
    """All its statements went well; the jobs are claimed again, uncharged."""
    rows.load()
    worker = rows.worker()
    rows.db.run("""
        create sequence tries;
        create function fail_thrice() returns trigger language plpgsql as $$ begin
            if new.state = 'running' and nextval('tries') <= 3 then
                raise exception 'others were faster' using errcode = '40001';
            end if;
            return new;
        end $$;
        create constraint trigger fail_thrice after update on tocsin.job
            deferrable initially deferred for each row execute function fail_thrice()""")
    rows.gate()
    rows.tocsin("cycle", "--wait", env=PATIENT, timeout=25)
    rows.is_right()
    assert worker.stderr.count("others were faster") == 3
    assert worker.stop() == 0


def test_F_C04_our_own_statements_do_not_meet(rows):
    """No deadlock between workers that settle one run, and no serialization
    failure even where the database asks for that."""
    names = [f"v{n}" for n in range(60)]
    rows.db.run(f"alter database {rows.db.name} set default_transaction_isolation = serializable")
    rows.cycles.load("".join(f"""
        variables.{v}.sql = "select 1"
        evidences.e{v}.definition = "{v} + {w} == 2"
        events.r{v} = {{ definition = "e{v} and e{w}", interval = 0 }}
        """ for v, w in zip(names, names[1:] + names[:1])))
    workers = [rows.worker("-c", 4) for _ in range(3)]
    for _ in range(2):
        rows.tocsin("cycle", "--wait", env=PATIENT)
    rows.tocsin("load", rows.directory / "definitions.toml")
    for worker in workers:
        assert "tried again" not in worker.stderr and "trying again" not in worker.stderr
        assert worker.stop() == 0
    assert rows.db.one("select count(*) from tocsin.signal") == 120
    assert deadlocks(rows.db) == 0


def deadlocks(db):
    return db.one("select deadlocks from pg_stat_database where datname = current_database()")


# --- no room ---


@pytest.fixture
def small_disk(db):
    """A disk of a few megabytes that holds the tables of DB; .fill(), .clear()."""
    mount = Path(tempfile.mkdtemp(prefix="tocsin-disk.", dir="/tmp"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "tmpfs", mount],
                          capture_output=True, text=True)
    if done.returncode:
        mount.rmdir()
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    (mount / "space").mkdir()
    subprocess.run(["chown", "-R", "postgres:", mount / "space"], check=True)
    admin = db.connect("postgres")

    def move(to):
        if db._connection is not None:
            db._connection.close()
        admin.cursor().execute(f"alter database {db.name} set tablespace {to}")

    space = f"space_{db.name}"
    try:
        admin.cursor().execute(f"create tablespace {space} location '{mount}/space'")
        yield Disk(mount, lambda: move(space), lambda: move("pg_default"))
        admin.cursor().execute(f"drop tablespace {space}")
    finally:
        admin.close()
        subprocess.run(["umount", "-l", mount], check=True)
        mount.rmdir()


class Disk:
    def __init__(self, mount, move_in, move_out):
        self.mount, self.move_in, self.move_out = mount, move_in, move_out

    def fill(self):
        with open(self.mount / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass

    def clear(self):
        (self.mount / "filler").unlink()


BULKY = """
    [variables]
    v.shell = '''echo v >>{dir}/ran; while [ ! -e {dir}/gate ]; do sleep 0.02; done
        printf '"'; head -c 300000 /dev/urandom | base64 -w 0; printf '"' '''
    w.shell = "echo 2"
    [evidences]
    ev.definition = "len(v) > 1000"
    ew.definition = "w == 2"
    [events]
    both = {{ definition = "ev and ew", interval = 0 }}
    early = {{ definition = "ew", interval = 0 }}
    """


def test_F_C06_a_full_disk_is_waited_out(rows, broker, small_disk):
    """What cannot be written is not acknowledged; it is written when there is
    room.  A new cycle is refused with status 75 meanwhile."""
    rows.load(BULKY)
    small_disk.move_in()
    try:
        worker = rows.worker("-c", 2)
        rows.begin()
        small_disk.fill()
        rows.gate()
        worker.wait_for(r"(?s)No space left on device.*No space left on device", 20)
        assert rows.cycles.state() == "STARTED"
        assert rows.cycles.job("v", "state") == "running"
        # Of all its queues; those by which others speak with it have none.
        unacknowledged = rows.cycles.db.sandbox.rabbitmqctl(
            "list_queues", "-p", broker.vhost, "--no-table-headers", "messages_unacknowledged")
        assert sum(map(int, unacknowledged.split())) == 1
        small_disk.clear()
        rows.is_right()
        assert rows.begun() == 1
        assert worker.stop() == 0
    finally:
        for spawned in rows.tocsin.spawned:
            if spawned.alive:
                spawned.kill()
        small_disk.move_out()


# --- what is measured ---


def test_F_C08_a_statement_that_takes_too_long_fails_its_variable_alone(cycles):
    """Cancelled at its soft limit, with that reason; all else goes on."""
    cycles.load("""
        [variables]
        slow = { sql = "select pg_sleep(60)", soft_time_limit = "300ms", time_limit = "20s" }
        own = { sql = "select set_config('statement_timeout', '0', true), pg_sleep(60)", soft_time_limit = "300ms" }
        quick.sql = "select 1"
        [evidences]
        es.definition = "slow == 1"
        eo.definition = "own == 1"
        eq.definition = "quick == 1"
        [events]
        s.definition = "es"
        o.definition = "eo"
        q.definition = "eq"
        """)
    cycles.run(status=1)
    for name in ("slow", "own"):
        assert cycles.job(name, "state, reason, error") == (
            "failed", "timeout", "soft time limit (300ms) exceeded")
    assert {n: s for n, s in cycles.jobs().items() if s != "done"} == {
        "slow": "failed", "own": "failed", "es": "skipped", "eo": "skipped",
        "event s": "skipped", "event o": "skipped"}
    assert cycles.signals() == {"q": "raise"}
    wait_for(lambda: cycles.db.one("select count(*) = 0 from pg_stat_activity where datname ="
                                   " current_database() and pid <> pg_backend_pid()"
                                   " and query ~ 'pg_sleep'"))


# --- what stands in between, and what takes no changes ---


@pytest.mark.parametrize("settings", [(), ("ignore_startup_parameters = options",)])
def test_F_C09_a_pooler_is_refused_at_the_start_and_named(rows, sandbox, settings):
    """Whether it says so itself or lets us in without our options."""
    rows.load(GRAPH)
    with PgBouncer(sandbox, *settings) as pooler:
        for command in (["init"], ["cycle"], ["cycle", "--local"], ["worker"], ["status"]):
            refused = rows.tocsin(*command, env=pooler.env, status=78, timeout=20)
            assert "PgBouncer" in refused.stderr and "address of PostgreSQL" in refused.stderr
            assert len(refused.stderr.splitlines()) == 1
    assert rows.db.one("select count(*) from tocsin.run") == 0


def test_F_C11_a_standby_is_refused_where_books_are_written(rows, sandbox):
    """With status 75, and named; who only reads may read there.  A worker waits."""
    rows.load(GRAPH)
    rows.cycles.run(env=PATIENT, status=1)
    file = rows.directory / "definitions.toml"
    with Standby(sandbox) as standby:
        for command in (["init"], ["load", file], ["cycle"], ["cycle", "--local"], ["prune"]):
            refused = rows.tocsin(*command, env=standby.env, status=75)
            assert "is a standby" in refused.stderr and str(standby.home) in refused.stderr
        assert "DONE_WITH_ERRORS" in rows.tocsin("status", env=standby.env).stdout
        worker = rows.tocsin.spawn("worker", env={**PATIENT, **standby.env})
        worker.wait_for("is a standby")
        worker.wait_for("failures=2", 20)
        standby.promote()
        worker.wait_for("worker is ready", 20)
        assert worker.stop() == 0


# --- history ---


def partition(db):
    return db.one("select 'tocsin.history_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")


def test_F_C13_the_partition_for_today_is_made_when_it_is_needed(rows):
    """Even when it goes in mid-cycle, and the worker has written into it."""
    rows.load()
    worker = rows.worker()
    rows.begin()
    today = partition(rows.db)
    rows.db.run(f"create table kept as table tocsin.history; drop table {today}")
    rows.gate()
    rows.until_closed()
    assert sorted(rows.db.all("select kind || ' ' || name from tocsin.history")) == [
        "event both", "evidence ev", "variable v"]
    rows.db.run("insert into tocsin.history table kept")
    rows.is_right()
    assert rows.db.one("select to_regclass(%s) is not null", today)
    assert "trying again" not in worker.stderr


@pytest.mark.fault("F-C13")
def test_two_who_make_the_partition_make_one(rows):
    """Whoever has waited for the other finds it made."""
    make = "select tocsin.history_partition('2027-01-01 12:00Z')"
    one, two = rows.db.connect(), rows.db.connect()
    one.autocommit = False
    one.cursor().execute(make)
    failed = []

    def make_too():
        try:
            two.cursor().execute(make)
        except psycopg2.Error as error:
            failed.append(error)
    waiter = threading.Thread(target=make_too)
    waiter.start()
    wait_for(lambda: rows.db.one("select count(*) from pg_locks where locktype = 'advisory'"
                                 " and not granted and database = (select oid from pg_database"
                                 " where datname = current_database())") == 1)
    one.commit()
    waiter.join(20)
    assert not failed and not waiter.is_alive()
    assert rows.db.one("select count(*) from pg_inherits where inhrelid ="
                       " 'tocsin.history_20270101'::regclass") == 1
    one.close()
    two.close()


# --- many of them ---


def hub(rows, monkeypatch, variables, workers):
    if "TOCSIN_PLAIN" in os.environ:
        monkeypatch.setenv("TOCSIN", os.environ["TOCSIN_PLAIN"])
    names = [f"v{n}" for n in range(variables)]
    rows.cycles.load("".join(f'variables.{name}.sql = "select 1"\n' for name in names) + f"""
        evidences.hub.definition = "{' + '.join(names)}"
        evidences.hub.operator = "=="
        evidences.hub.operand = {variables}
        events.ring.definition = "hub"
        """, timeout=120)
    env = {**PATIENT, "TOCSIN_CONNECT_TIMEOUT": "1m"}
    started = [rows.tocsin.spawn("worker", "-c", 4, env=env) for _ in range(workers)]
    for worker in started:
        worker.wait_for("worker is ready", 60)
    rows.tocsin("cycle", "--wait", env=PATIENT, timeout=540)
    assert rows.cycles.state() == "DONE"
    assert rows.db.one("select count(*), sum(attempts), max(unsettled) filter (where kind <>"
                       " 'variable') from tocsin.job") == (variables + 2, variables + 2, 0)
    assert rows.db.one("select unsettled, failed from tocsin.run") == (0, 0)
    assert rows.cycles.signals() == {"ring": "raise"}
    assert rows.db.one("select count(distinct worker) from tocsin.job") >= workers / 2
    assert deadlocks(rows.db) == 0
    for worker in started:
        assert "tried again" not in worker.stderr
    check(rows.db)


def test_F_C14_a_hub_is_counted_down_exactly(rows, monkeypatch):
    hub(rows, monkeypatch, 300, 4)


@pytest.mark.long
def test_F_C14_a_hub_of_5000_over_sixteen_workers(rows, monkeypatch):
    """No deadlock, the counters are exact."""
    hub(rows, monkeypatch, 5000, 16)


# --- a clock that jumps, a server that loses a second ---


@pytest.fixture
def own():
    """PostgreSQL of this test's own."""
    sandbox = Sandbox()
    sandbox.up("postgresql")
    yield sandbox
    sandbox.down()


@pytest.fixture
def own_rows(own, broker, tmp_path):
    """The rows, with their books there."""
    db = Database(own, "own")
    tocsin = Tocsin(tmp_path, {**db.env, **broker.env})
    rows = Rows(Cycles(tocsin, db, tmp_path), tmp_path)
    yield rows
    tocsin.end()


@pytest.mark.long
def test_F_C12_a_clock_that_jumps_a_day_costs_one_sending_at_most(own, own_rows, record_property):
    """Leases follow the database's clock alone: forward they all run out, back
    they last; what is held is renewed, and what is over comes out once."""
    rows = own_rows
    rows.load()
    with MovedClock(own) as clock:
        workers = [rows.worker(env={**PATIENT, "TOCSIN_LEASE": "4s"}) for _ in range(2)]
        for offset in ("+1d", "+0"):
            before, resends = rows.begun(), sent_again(workers)
            rows.begin()
            now = rows.db.one("select clock_timestamp()")
            clock.move(offset)
            wait_for(lambda: abs((rows.db.one("select clock_timestamp()") - now).total_seconds())
                     > 80000)
            jumped = rows.db.one("select clock_timestamp()")
            wait_for(lambda: rows.db.one("select lease_until from tocsin.job where state ="
                                         " 'running' and lease_until between %s and %s"
                                         " + interval '1 min'", jumped, jumped), 20)
            rows.gate()
            rows.is_right(attempts=2)
            assert rows.begun() - before <= 2
            assert sent_again(workers) - resends <= 1
            rows.gate(False)
        record_property("times", 2)
        assert [worker.stop() for worker in workers] == [0, 0]
        check(rows.db)
        rows.db._connection.close()


def sent_again(workers):
    return sum(worker.stderr.count("jobs are sent again") for worker in workers)


@pytest.mark.long
def test_F_C10_a_fail_over_that_loses_a_second_is_caught_up(own, own_rows):
    """The replica has not heard of what was settled last; the cycle goes a step
    back and comes to its end."""
    rows = own_rows
    rows.load()
    with Proxy(("127.0.0.1", int(own.env["PGPORT"]))) as line, Standby(own, line.port) as standby:
        both = {**PATIENT, "TOCSIN_LEASE": "3s", "TOCSIN_DATABASE_URL":
                f"host={own.env['PGHOST']},{standby.env['PGHOST']} target_session_attrs=read-write"}
        worker = rows.worker(env=both)
        rows.begin(env=both)
        wait_for(lambda: rows.db.one("select replay_lsn >= pg_current_wal_lsn()"
                                     " from pg_stat_replication"), 20)
        line.black_hole()
        rows.gate()
        rows.until_closed()
        assert set(rows.cycles.signals()) == {"both", "early"}
        own.kill("postgresql")
        standby.promote()
        rows.db.sandbox = type("Promoted", (), {"env": {**own.env, **standby.env}})
        rows.db._connection.close()
        # A step back: what was signalled is not, for a moment.
        rows.is_right(attempts=2)
        assert rows.begun() == 2
        assert rows.cycles.job("v", "attempts") == 2
        rows.begin(env=both)
        rows.is_right(attempts=2)
        assert worker.stop() == 0
        check(rows.db)
        rows.db._connection.close()


# --- what has been does not cost ---


def touched(db):
    """Rows of the books that statements have looked at."""
    db.run("select pg_stat_clear_snapshot()")
    return dict(db.all("""
        select case when relname ~ '^history' then 'history' else relname end,
               sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
          from pg_stat_user_tables where schemaname = 'tocsin' group by 1"""))


def blocks(db):
    return dict(db.all("""
        select case when relname ~ '^history' then 'history' else relname end,
               sum(coalesce(heap_blks_hit, 0) + coalesce(heap_blks_read, 0)
                   + coalesce(idx_blks_hit, 0) + coalesce(idx_blks_read, 0))::bigint
          from pg_statio_user_tables where schemaname = 'tocsin' group by 1"""))


def cost_of(rows, what, look=touched):
    """table -> what was looked at."""
    settled(rows.db, look)
    before = look(rows.db)
    what()
    after = settled(rows.db, look)
    return {table: after[table] - before.get(table, 0) for table in after}


def settled(db, look):
    """What LOOK sees once all sessions have told what they did.  They tell when they
    end, and meanwhile only now and then: ours too, or its analyzing would be counted
    after it had begun to count."""
    if db._connection is not None:
        db._connection.close()
    wait_for(lambda: db.one("select count(*) = 0 from pg_stat_activity where datname ="
                            " current_database() and pid <> pg_backend_pid()"
                            " and backend_type = 'client backend'"), 20)
    return look(db)


def past(db, runs, jobs):
    """Cycles of the past."""
    db.run("""
        with r as (insert into tocsin.run (agent, state, as_of, created_at, finished_at, jobs)
            select 'past', 'DONE', t, t, t, %s from (select now() - interval '1 day') x (t),
            generate_series(1, %s) returning id)
        insert into tocsin.job (run_id, id, kind, name, version, queue, state, reason, unsettled,
            attempts, fence, queued_at, started_at, finished_at)
        select id, n, 'variable', 'v' || n, 1, 'tocsin', 'skipped', 'refused', 0, 1, 1, t, t, t
          from r, generate_series(1, %s) n, (select now() - interval '1 day') x (t)""",
           jobs, runs, jobs)


@pytest.mark.fault("F-C16")
def test_no_statement_of_a_worker_reads_the_jobs_of_the_past(rows, monkeypatch):
    """Not even where they came after it had planned its statements, on books that
    were empty, and nobody has analyzed them since."""
    for table in ("job", "run"):
        rows.db.run(f"alter table tocsin.{table} set (autovacuum_enabled = off)")
        rows.db.run(f"vacuum analyze tocsin.{table}")
    rows.load(GRAPH)
    worker = rows.worker(env={**PATIENT, "TOCSIN_SWEEP": "200ms"})
    rows.tocsin("cycle", env=PATIENT)
    rows.graph_is_right()
    past(rows.db, 1000, 100)
    swept(rows.db)
    before = touched(rows.db)["job"]
    rows.tocsin("cycle", env=PATIENT)
    rows.until_closed()
    swept(rows.db)
    assert worker.stop() == 0
    read = settled(rows.db, touched)["job"] - before
    assert read < 100000, f"{read} jobs were read"


def test_a_job_costs_what_it_costs_however_many_its_run_has(rows):
    """On books that nobody has analyzed, as those of a first cycle are: no statement
    reads the jobs of the run to find one of them."""
    rows.db.run("alter table tocsin.job set (autovacuum_enabled = off)")
    rows.load("\n".join(
        f'[variables.v{n}]\nsql = "select {n}"\n'
        f'[evidences.e{n}]\ndefinition = "v{n} + v{(n + 1) % 200} > 0"\n'
        f'[events.x{n}]\ndefinition = "e{n} and e{(n + 7) % 200}"\ninterval = 0'
        for n in range(200)))
    read = cost_of(rows, lambda: rows.cycles.run(env=PATIENT))["job"]
    assert rows.db.one("select count(*) from tocsin.signal") == 200
    assert read < 600 * 40, f"{read} jobs were read for 600"


def swept(db):
    """Two sweeps have begun since we were called."""
    for _ in range(2):
        begun = db.one("select clock_timestamp()")
        wait_for(lambda: db.one("""
            select count(*) from pg_stat_activity where datname = current_database()
               and application_name = 'tocsin' and query_start > %s and query ~ 'tocsin.delivery'""",
                                begun), 20)


@pytest.mark.long
def test_F_C16_ten_million_rows_of_history_cost_a_cycle_nothing(rows, record_property):
    """A cycle looks at as many blocks as before; pruning drops partitions."""
    rows.load(GRAPH)

    def cycle():
        rows.cycles.run(env=PATIENT, status=1)
    for _ in range(3):
        cycle()
    # What autovacuum reads would count as ours.
    for table in ("job", "run"):
        rows.db.run(f"alter table tocsin.{table} set (autovacuum_enabled = off)")
    few = cost_of(rows, cycle, blocks)
    for day in range(400, 390, -1):
        rows.db.run(f"select tocsin.history_partition(now() - interval '{day} days')")
        rows.db.run(f"""
            insert into tocsin.history (run_id, kind, name, value, at)
            select -1 - n / 5, 'variable', (array['a', 'b', 'c', 'd', 'e'])[n %% 5 + 1], '1',
                   date_trunc('day', now() - interval '{day} days', 'UTC') + n * interval '80 ms'
              from generate_series(1, %s) n""", 1000000)
    rows.db.run("""
        insert into tocsin.history (run_id, kind, name, value)
        select -n, 'variable', 'a', '1' from generate_series(1, 100000) n""")
    past(rows.db, 20000, 20)
    rows.db.run("analyze tocsin.history")
    rows.db.run("analyze tocsin.job")
    many = cost_of(rows, cycle, blocks)
    print(few, many)
    # an index that is deeper by two levels, a page more here and there
    assert sum(many.values()) <= 2 * sum(few.values()), (few, many)
    assert "10 days of history" in rows.tocsin("prune").stdout
    dropped = cost_of(rows, lambda: None, blocks)
    assert dropped["history"] == 0
    rows.db.run("delete from tocsin.history where run_id < 0")
