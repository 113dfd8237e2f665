"""Rows of the fault matrix: the death of processes, and what operators do.

Each test is a row; its docstring is what the row promises.  Where a row has
several moments at which one may die, all of them die at once, each in a cycle
and for a queue of its own, so that a lease is waited for once.  What is compared is
counted: who ran leaves a line, and attempts are in the books.
"""

import os
import re
import signal
import tempfile
from collections import Counter

import pytest

from cycles import BY_MESSAGE, EACH_BY_MESSAGE, QUICK
from harness import processes, wait_for
from invariants import books, check  # noqa: F401
from proxy import Amqp, Cut, Postgres, Proxy

HANDS = ("--executors", "sql,shell")
LONG = {"TOCSIN_LEASE": "60s", "TOCSIN_SWEEP": "60s"}		# nobody is missed so soon

# For each cycle its own: who runs leaves a line.
GRAPH = """
    variables.a{n}.shell = "echo a{n} >>{dir}/ran; echo 1"
    variables.b{n}.shell = "echo b{n} >>{dir}/ran; echo 2"
    variables.c{n}.sql = "select 3"
    variables.bad{n}.sql = "select 1/0"
    evidences.ea{n}.definition = "a{n} == 1"
    evidences.eab{n}.definition = "a{n} + b{n} == 3"
    evidences.ec{n}.definition = "c{n} == 4"
    evidences.ebad{n}.definition = "bad{n} == 1"
    events.one{n} = {{ definition = "ea{n} and eab{n}", agent = "agent{n}" }}
    events.two{n} = {{ definition = "ec{n}", agent = "agent{n}" }}
    events.three{n} = {{ definition = "ebad{n}", agent = "agent{n}" }}
    """
STATES = {"a": "done", "b": "done", "c": "done", "bad": "failed", "ea": "done", "eab": "done",
          "ec": "done", "ebad": "skipped", "one": "done", "two": "done", "three": "skipped"}
VALUES = {"a": 1, "b": 2, "c": 3}

# v waits for its gate, and leaves its pid and that of a child in its group.
GATED = """
    [variables]
    v.shell = '''
        sleep 1000 & echo $$ $! >>{dir}/ran
        while [ ! -e {dir}/gate ]; do sleep 0.02; done; kill $!; echo 1'''
    w.sql = "select 2"
    [evidences]
    ev.definition = "v == 1"
    ew.definition = "w == 2"
    [events]
    e.definition = "ev and ew"
    """


def dead(pid):
    return processes().get(pid, (0, "X"))[1] in "ZX"


class Deaths:
    """Cycles of which each has its agent, its queue, and its own fault."""

    def __init__(self, cycles, broker, directory):
        self.cycles, self.broker, self.dir = cycles, broker, directory
        self.db, self.tocsin = cycles.db, cycles.tocsin
        self.n = 0

    def load(self, n):
        self.n = n
        self.cycles.load("".join(GRAPH.format(n=k, dir=self.dir) for k in range(n)))

    def env(self, k, failpoint=None):
        return {**QUICK, "TOCSIN_QUEUE": f"q{k}",
                **({"TOCSIN_FAILPOINT": failpoint} if failpoint else {})}

    def agent(self, k, *args, failpoint=None, env={}):
        return self.tocsin.spawn("cycle", "--agent", f"agent{k}", *args,
                                 env={**self.env(k, failpoint), **env})

    def worker(self, *queues, failpoint=None, env={}):
        return self.tocsin.spawn("worker", *HANDS, "-Q", ",".join(f"q{k}" for k in queues),
                                 env={**self.env(queues[0], failpoint), **env})

    def survivor(self, env={}):
        """Works for all queues."""
        worker = self.worker(*range(self.n), env=env)
        worker.wait_for("worker is ready", 30)
        return worker

    def die(self, spawned):
        for one in spawned:
            assert one.wait(30) == -signal.SIGKILL, one
        check(self.db, open_runs=True)

    def run(self, k):
        return self.db.one("select id from tocsin.run where agent = %s", f"agent{k}")

    def ran(self):
        path = self.dir / "ran"
        return Counter(path.read_text().split() if path.exists() else [])

    def until_closed(self):
        wait_for(lambda: self.db.one("select count(*) from tocsin.run"
                                     " where finished_at is not null") >= self.n, 30,
                 lambda: self.db.all("select agent, j.kind, j.name, j.state, attempts"
                                     " from tocsin.run r join tocsin.job j on j.run_id = r.id"
                                     " where j.finished_at is null"))

    def is_right(self, k, again=()):
        """The cycle of agent K came out as the oracle says; the jobs AGAIN were
        in somebody's hands when he died, and begun once more; no other was."""
        run = self.run(k)
        jobs = {name.removesuffix(str(k)): (state, attempts) for name, state, attempts in
                self.db.all("select name, state, attempts from tocsin.job where run_id = %s", run)}
        assert {name: state for name, (state, _) in jobs.items()} == STATES
        assert self.cycles.state(run) == "DONE_WITH_ERRORS"
        assert self.cycles.signals(run) == {f"one{k}": "raise"}
        assert {name: value for name, value in self.db.all(
            "select name, value from tocsin.history where run_id = %s and kind = 'variable'",
            run)} == {f"{name}{k}": value for name, value in VALUES.items()}
        assert self.db.one("select count(*) from tocsin.history where run_id = %s", run) == 8
        assert {name: attempts for name, (state, attempts) in jobs.items()
                if state != "skipped"} == {name: 2 if name in again else 1
                                           for name in STATES if STATES[name] != "skipped"}
        ran = self.ran()
        for name in "ab":
            assert ran[f"{name}{k}"] in ((1, 2) if name in again else (1,)), (name, ran)

    def waiting(self, k):
        """task -> how many messages of it wait in the queue of K."""
        with self.broker.connect() as connection:
            channel = connection.channel()
            found = Counter()
            while message := channel.basic_get(f"q{k}"):	# they go back
                found[message.headers["task"]] += 1
            return found

    def in_flight(self, k):
        """Names of the jobs that are in somebody's hands."""
        return [name.removesuffix(str(k)) for name in self.db.all(
            "select name from tocsin.job where run_id = %s and state = 'running'", self.run(k))]

    def nothing_is_left(self):
        wait_for(lambda: not any(self.broker.depth(f"q{k}") for k in range(self.n)), 20,
                 "messages are left")
        check(self.db)


@pytest.fixture
def deaths(failpoints, cycles, broker, tmp_path):
    return Deaths(cycles, broker, tmp_path)


# --- the agent ---


def test_F_A01_the_agent_while_it_plans(deaths, record_property):
    """Nothing is committed; the next one plans a fresh cycle: L S B."""
    points = ["plan.after_run=kill", "plan.before_commit=kill"]
    record_property("times", len(points))
    deaths.load(len(points))
    deaths.die([deaths.agent(k, failpoint=point) for k, point in enumerate(points)])
    assert deaths.db.one("select count(*) from tocsin.run") == 0
    assert deaths.db.one("select count(*) from tocsin.job") == 0
    agents = [deaths.agent(k) for k in range(deaths.n)]
    assert [agent.wait() for agent in agents] == [0, 0]
    deaths.survivor()
    deaths.until_closed()
    for k in range(deaths.n):
        deaths.is_right(k)
    deaths.nothing_is_left()


STOOD_STILL = """select max(queued_at) < now() - interval '2.1 s' from tocsin.job
                  where run_id = %s"""


def test_F_A02_the_agent_after_its_plan(deaths, record_property):
    """The run is CREATED; the sweep or the next agent publishes: L S T B."""
    points = ["cycle.after_plan=kill", "agent.before_publish=kill"]
    record_property("times", len(points))
    deaths.load(len(points))
    deaths.die([deaths.agent(k, failpoint=point) for k, point in enumerate(points)])
    for k in range(deaths.n):
        assert deaths.cycles.state(deaths.run(k)) == "CREATED"
        assert deaths.broker.depth(f"q{k}") is None
    # to the first comes another agent, the second is swept up
    wait_for(lambda: deaths.db.one(STOOD_STILL, deaths.run(0)))
    assert deaths.agent(0).wait() == 0
    assert deaths.cycles.state(deaths.run(0)) == "STARTED"
    deaths.survivor()
    deaths.until_closed()
    for k in range(deaths.n):
        deaths.is_right(k)
    deaths.nothing_is_left()


class Counted:
    """How often queries were computed.  They may not write, but they may leave a
    file: select count(*) from ran('v1')."""

    def __init__(self, db, directory):
        self.dir = directory
        db.run(f"""
            create function ran(name text) returns integer language plpgsql as $$
            begin
                execute format('copy (select) to %L', '{directory}/' || name || '.'
                    || pg_backend_pid() || '.' || extract(epoch from clock_timestamp()));
                return 1;
            end $$""")

    def __call__(self):
        return Counter(name.split(".")[0] for name in os.listdir(self.dir))


@pytest.fixture
def counts(db):
    with tempfile.TemporaryDirectory(prefix="tocsin-ran.") as directory:
        os.chmod(directory, 0o777)		# the server may be somebody else
        yield Counted(db, directory)


@pytest.mark.parametrize("n", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_F_A03_the_agent_in_the_middle_of_publishing(cycles, broker, counts, n):
    """What is missing is sent again, what is there is not; each is computed once: L S T B."""
    cycles.load("".join(f"""
        variables.v{k}.sql = "select ran('v{k}')"
        evidences.e{k}.definition = "v{k} == 1"
        """ for k in range(n)) + f"""
        events.bell.definition = "count({', '.join(f'e{k}' for k in range(n))}) == {n}"
        """)
    host, port = re.search(r"@([^:/]+):(\d+)/", broker.url).groups()
    with Proxy((host, int(port)), Amqp) as proxy:
        def die(unit):
            if unit.name != "basic.publish" or proxy.seen[unit.name] != n // 2:
                return unit.data
            os.kill(agent.pid, signal.SIGKILL)
            return Cut(unit.data)
        proxy.to_server.rule = die
        agent = cycles.tocsin.spawn("cycle", env={**QUICK, "TOCSIN_BROKER_URL": re.sub(
            r"@[^/]+/", f"@127.0.0.1:{proxy.port}/", broker.url)})
        assert agent.wait(30) == -signal.SIGKILL
    assert cycles.state() == "CREATED"
    assert 0 < broker.depth("tocsin") <= n // 2
    check(cycles.db, open_runs=True)
    worker = cycles.tocsin.spawn("worker", env=QUICK)
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert cycles.signals() == {"bell": "raise"}
    assert cycles.db.one("select count(*) from tocsin.history"
                         " where kind = 'variable' and value = '1'") == n
    assert counts() == {f"v{k}": 1 for k in range(n)}
    assert "jobs are sent again" in worker.stderr
    wait_for(lambda: not broker.depth("tocsin"), 20)


def test_F_A04_the_agent_before_its_confirms_are_recorded(deaths, record_property):
    """Messages that are there are used, those that are not are sent again; nothing
    takes effect twice: L S T B."""
    points = ["publish.sending=kill@4", "publish.confirmed=kill@1", "publish.confirmed=kill@4",
              "agent.before_started=kill"]
    record_property("times", len(points))
    deaths.load(len(points))
    deaths.die([deaths.agent(k, failpoint=point) for k, point in enumerate(points)])
    for k in range(deaths.n):
        assert deaths.cycles.state(deaths.run(k)) == "CREATED"
    # of the last ones all messages are lost as well
    with deaths.broker.connect() as connection:
        assert connection.channel().queue_purge("q3") == 4
    deaths.survivor()
    deaths.until_closed()
    for k in range(deaths.n):
        deaths.is_right(k)
    deaths.nothing_is_left()


# --- a worker, between taking a delivery and acknowledging it ---


def workers_die(deaths, points, record_property, then=None):
    """A worker dies at each of POINTS, others take over, and all comes out as it
    must.  The jobs that were in each one's hands, who had run, what was queued."""
    record_property("times", len(points))
    deaths.load(len(points))
    dying = [deaths.worker(k, failpoint=point) for k, point in enumerate(points)]
    agents = [deaths.agent(k) for k in range(deaths.n)]
    assert [agent.wait(30) for agent in agents] == [0] * deaths.n
    deaths.die(dying)
    held = [deaths.in_flight(k) for k in range(deaths.n)]
    ran = deaths.ran()
    queued = [set(deaths.db.all("select name from tocsin.job where run_id = %s"
                                " and state = 'queued'", deaths.run(k))) for k in range(deaths.n)]
    if then:
        then()
    deaths.survivor()
    deaths.until_closed()
    for k in range(deaths.n):
        deaths.is_right(k, held[k])
    deaths.nothing_is_left()
    return held, ran, queued


def test_F_A05_a_worker_before_it_claims(deaths, record_property):
    """Delivered again, no attempt is charged: L S T B."""
    held, ran, _ = workers_die(deaths, ["worker.on_delivery=kill@1", "worker.on_delivery=kill@4"],
                               record_property)
    assert held[0] == [] and not ran["a0"] + ran["b0"]


def test_F_A06_a_worker_after_its_claim(deaths, record_property):
    """The lease runs out, sent again, the second attempt is the first execution: L S T B."""
    held, ran, _ = workers_die(deaths, ["worker.after_claim=kill@1"], record_property)
    assert held[0] and not ran
    assert set(deaths.ran().values()) == {1}


def test_F_A07_a_worker_while_an_sql_variable_runs(cycles, broker):
    """The server notices, and the query ends; it is computed again: L S T R."""
    db = cycles.db
    db.run("create table gate ()")
    cycles.load("""
        variables.v.sql = '''
            select case when exists (select from gate) then 1
                        else (select 2 from pg_sleep(50)) end as slow_one'''
        evidences.e.definition = "v == 1"
        events.bell.definition = "e"
        """)
    worker = cycles.tocsin.spawn("worker", env=QUICK)
    cycles.tocsin("cycle", env=QUICK)
    sleeping = """select count(*) from pg_stat_activity where state = 'active'
        and datname = current_database() and query ~ 'as slow_[o]ne'"""
    wait_for(lambda: db.one(sleeping) == 1, 20)
    worker.kill()
    check(db, open_runs=True)
    wait_for(lambda: db.one(sleeping) == 0, 20, "the query goes on without its worker")
    db.run("insert into gate default values")
    cycles.tocsin.spawn("worker", env=QUICK)
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert cycles.job("v", "attempts, value") == (2, 1)
    assert cycles.signals() == {"bell": "raise"}


class Gated:
    """A cycle that waits in a command."""

    def __init__(self, cycles, directory):
        self.cycles, self.dir, self.tocsin = cycles, directory, cycles.tocsin
        cycles.load(GATED.format(dir=directory))

    def worker(self, env={}):
        worker = self.tocsin.spawn("worker", *HANDS, env={**QUICK, **env})
        worker.wait_for("worker is ready", 20)
        return worker

    def commands(self):
        """The pids of each time that v began."""
        path = self.dir / "ran"
        return [[int(pid) for pid in line.split()] for line in
                (path.read_text().splitlines() if path.exists() else [])]

    def begin(self):
        """A cycle, up to where only v is left to be done."""
        self.cycles.tocsin("cycle", env=QUICK)
        wait_for(lambda: len(self.commands()) == 1, 20)
        self.cycles.wait_for_job("ew", "done")
        return self.commands()[0]

    def end(self, attempts):
        (self.dir / "gate").touch()
        wait_for(lambda: self.cycles.state() == "DONE", 30)
        assert self.cycles.job("v", "attempts, value") == (attempts, 1)
        assert self.cycles.job("w", "attempts, value") == (1, 2)
        assert self.cycles.signals() == {"e": "raise"}


@pytest.fixture
def gated(cycles, broker, tmp_path):
    return Gated(cycles, tmp_path)


def test_F_A08_a_worker_while_a_command_runs(gated):
    """The command and its group go with it; it is computed again: L S T R."""
    worker = gated.worker()
    pids = gated.begin()
    worker.kill()
    wait_for(lambda: all(map(dead, pids)))
    check(gated.cycles.db, open_runs=True)
    gated.worker()
    gated.end(attempts=2)
    assert len(gated.commands()) == 2


def test_F_A09_a_worker_with_a_result_that_is_not_committed(deaths, record_property):
    """Computed again, no half value in the books: L S B."""
    held, _, _ = workers_die(
        deaths, ["worker.before_settle=kill@1", "worker.before_commit=kill@1",
                 "worker.before_commit=kill@2"], record_property)
    assert all(held)


def test_F_A10_a_worker_before_it_publishes_what_follows(deaths, record_property):
    """What is queued and was not published is found by the sweep: L S T B."""
    _, _, queued = workers_die(deaths, [f"worker.after_commit=kill@{n},{EACH_BY_MESSAGE}"
                                        for n in (1, 2, 3)], record_property)
    # What is settled first, or alone, need not fire anything.
    assert any(queued)


def test_F_A11_a_worker_between_publishing_and_acknowledging(deaths, record_property):
    """What comes twice changes nothing: L S B."""
    def are_back():
        """Nothing was acknowledged before the end of the first settling; the first
        confirm may be of a later one."""
        for k, least in enumerate([4, 4, 1]):
            wait_for(lambda: least <= deaths.waiting(k)["tocsin.variable"] <= 4, 5,
                     lambda: f"{points[k]}: {deaths.waiting(k)}")
    points = ["worker.after_publish=kill@1", "worker.before_ack=kill@1",
              "publish.confirmed=kill@1", "worker.before_ack=kill@2"]
    workers_die(deaths, [f"{point},{EACH_BY_MESSAGE}" for point in points], record_property, are_back)


@pytest.mark.parametrize("moment", ["at once", "later"])
def test_F_A12_a_worker_after_it_acknowledged_a_long_variable(failpoints, gated, broker, moment):
    """The lease guards it: L S T."""
    env = {"TOCSIN_CONSUMER_TIMEOUT": "10s"}
    if moment == "at once":
        worker = gated.worker({**env, "TOCSIN_FAILPOINT": "worker.after_ack=kill"})
        gated.cycles.tocsin("cycle", env=QUICK)
        assert worker.wait() == -signal.SIGKILL
        assert not gated.commands()
    else:
        worker = gated.worker(env)
        gated.begin()
        wait_for(lambda: "tocsin\t0" in broker.sandbox.rabbitmqctl(
            "list_queues", "-p", broker.vhost, "name", "messages").splitlines())
        worker.kill()
    check(gated.cycles.db, open_runs=True)
    gated.worker(env)
    (gated.dir / "gate").touch()
    wait_for(lambda: gated.cycles.state() == "DONE", 30)
    assert gated.cycles.job("v", "attempts, value") == (2, 1)
    assert gated.cycles.signals() == {"e": "raise"}
    wait_for(lambda: not broker.depth("tocsin"))


# --- the transaction that decides an event ---


CUT = """
    create sequence passage;
    create table fault (at bigint);
    insert into fault values (0);
    -- at the end of each statement that writes in a transaction that decides,
    -- and of those that should be in one
    create function strike() returns trigger language plpgsql as $$
    begin
        if (exists (select from tocsin.job where kind = 'event' and state = 'done'
                     and finished_at = now()) or
            tg_table_name in ('event', 'signal') or
            tg_table_name = 'delivery' and tg_op = 'INSERT') and
           nextval('passage') = (select at from fault) then
            perform pg_terminate_backend(pg_backend_pid());
            perform pg_sleep(5);
        end if;
        return null;
    end $$;
    """


def test_F_A14_the_transaction_that_decides_is_cut_at_each_statement(
        cycles, broker, record_property):
    """Signal and state, both or neither; its commit is one of them: S B."""
    db = cycles.db
    db.run("create table lever (up boolean)")
    db.run("insert into lever values (false)")
    cycles.load("""
        variables.v.sql = "select up from lever"
        evidences.e.definition = "v"
        events.bell = { definition = "e", interval = 0 }
        reactions.ring = { events = ["bell"], command = "exit 0" }
        """)
    db.run(CUT)
    for table in ("run", "job", "variable", "evidence", "event", "history", "signal", "delivery"):
        db.run(f"create trigger strike after insert or update on tocsin.{table}"
               " for each statement execute function strike()")
    db.run("create constraint trigger strike_last after insert on tocsin.signal"
           " deferrable initially deferred for each row execute function strike()")
    worker = cycles.tocsin.spawn("worker", *HANDS, env=QUICK)
    both_or_neither = """select e.state = case when s.action = 'raise' then 'raising'
            else 'not_raising' end from tocsin.event e
        left join lateral (select action from tocsin.signal order by run_id desc limit 1) s on true"""
    n = harmed = 0
    while harmed == n:
        n += 1
        up = n % 2 == 1
        db.run("update fault set at = 0")
        db.run("update lever set up = %s", up)
        cycles.due_again()
        db.run("select setval('passage', 1, false)")
        db.run("update fault set at = %s", n)
        cycles.tocsin("cycle", env=QUICK)

        def over():
            assert db.one(both_or_neither)
            return cycles.state() == "DONE"
        wait_for(over, 30)
        assert cycles.signals() == {"bell": "raise" if up else "stop_raising"}
        assert cycles.event("bell", "state") == ("raising" if up else "not_raising")
        check(db)
        harmed = worker.stderr.count("while=settling")
    record_property("times", harmed)
    assert harmed >= 8
    assert db.one("select max(attempts) from tocsin.job") == 1


# --- many at once ---


def test_F_A15_all_workers_of_a_host_at_once(gated):
    """Others finish what they had begun: L S T."""
    host = gated.tocsin.spawn("worker", "--processes", 8, *HANDS, env=QUICK)
    wait_for(lambda: host.stderr.count("worker is ready") == 8, 40)
    pids = [pid for pid, (parent, state, _) in processes().items() if parent == host.pid]
    gated.begin()
    for pid in [host.pid, *pids]:
        os.kill(pid, signal.SIGKILL)
    assert host.wait() == -signal.SIGKILL
    wait_for(lambda: all(map(dead, [*pids, *gated.commands()[0]])))
    check(gated.cycles.db, open_runs=True)
    gated.worker()
    gated.end(attempts=2)


# --- told to stop ---


BATCH = 64


def batch(cycles, done):
    """So many variables; the first DONE of them are soon done, the others wait
    for a gate, before they tell that they were computed."""
    cycles.db.run("create table gate ()")
    cycles.load("".join(f"""
        variables.v{k:02}.sql = '''select ran('v{k:02}') {'' if k < done else
            'from (select case when not exists (select from gate) then pg_sleep(50) end) x'}'''
        evidences.e{k:02}.definition = "v{k:02} == 1"
        """ for k in range(BATCH)) + f"""
        events.bell.definition = "count({', '.join(f'e{k:02}' for k in range(BATCH))}) == {BATCH}"
        """)


@pytest.mark.fault("F-F13")
def test_F_A19_sigterm_in_a_batch(cycles, broker, counts):
    """Takes no more, settles what is done, hands back the rest, exit status 0;
    nobody is charged an attempt, and who comes after an upgrade goes on: L S R."""
    db = cycles.db
    batch(cycles, done=20)
    workers = [cycles.tocsin.spawn("worker", "-c", n, env=QUICK) for n in (6, 2)]
    cycles.tocsin("cycle", env=QUICK)
    states = """select count(*) filter (where state = 'done' and kind = 'variable'),
        count(*) filter (where state = 'done' and kind = 'evidence'),
        count(*) filter (where state = 'running') from tocsin.job"""
    wait_for(lambda: db.one(states) == (20, 20, 8), 30)
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0]
    check(db, open_runs=True)
    assert db.all("""select state, attempts, count(*)::integer from tocsin.job
        where kind = 'variable' group by 1, 2 order by 1""") == [
            ("done", 1, 20), ("queued", 0, 44)]
    wait_for(lambda: db.one("""select count(*) from pg_stat_activity where state = 'active'
        and datname = current_database() and query ~ 'pg_[s]leep'""") == 0)
    wait_for(lambda: broker.depth("tocsin") == 44)
    assert "up to date" in cycles.tocsin("init").stdout
    db.run("insert into gate default values")
    cycles.tocsin.spawn("worker", "-c", 16, env=QUICK)
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.signals() == {"bell": "raise"}
    assert db.all("select distinct attempts from tocsin.job") == [1]
    assert counts() == {f"v{k:02}": 1 for k in range(BATCH)}
    wait_for(lambda: not broker.depth("tocsin"), 20)


@pytest.mark.parametrize("signals", [
    [signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGQUIT]],
    ids=["terminated", "interrupted", "quit"])
def test_F_A20_told_twice(gated, signals):
    """Ends at once, but clean: the command is killed, the lease is given back: L S R."""
    worker = gated.worker({**LONG, "TOCSIN_GRACE": "10m"})
    pids = gated.begin()
    for n, number in enumerate(signals):
        worker.signal(number)
        worker.wait_for("stopping")
    assert worker.wait() == 0
    wait_for(lambda: all(map(dead, pids)))
    assert gated.cycles.job("v", "state, attempts, worker, lease_until") == (
        "queued", 0, None, None)
    check(gated.cycles.db, open_runs=True)
    gated.worker(LONG)
    gated.end(attempts=1)


def test_F_A20_told_twice_while_the_books_are_silent(gated, sandbox):
    """It does not wait for them; the lease runs out: L S R."""
    with Proxy(("127.0.0.1", int(sandbox.env["PGPORT"])), Postgres) as postgres:
        worker = gated.worker({"PGHOST": "127.0.0.1", "PGPORT": postgres.port,
                               "TOCSIN_GRACE": "10m", "TOCSIN_DATABASE_TIMEOUT": "10m"})
        pids = gated.begin()
        postgres.black_hole()
        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    wait_for(lambda: all(map(dead, pids)))
    assert gated.cycles.job("v", "state, attempts") == ("running", 1)
    gated.worker()
    gated.end(attempts=2)


def test_F_A21_stopped_for_two_leases(gated):
    """Another takes over; the woken one is refused and kills its command: S B."""
    sleeper = gated.worker()
    pids = gated.begin()
    sleeper.signal(signal.SIGSTOP)
    heir = gated.worker()
    wait_for(lambda: len(gated.commands()) == 2, 20)
    wait_for(lambda: gated.cycles.db.one("""select now() - lease_until > interval '-2 s'
        and now() - started_at > interval '4 s' from tocsin.job where name = 'v'"""), 20)
    sleeper.signal(signal.SIGCONT)
    wait_for(lambda: all(map(dead, pids)))
    sleeper.wait_for("given to another worker")
    assert not any(map(dead, gated.commands()[1]))
    assert gated.cycles.job("v", "state, attempts, fence, worker like '%%:" + str(heir.pid)
                            + ":%%'") == ("running", 2, 2, True)
    gated.end(attempts=2)
    assert sleeper.alive and len(gated.commands()) == 2
    assert gated.cycles.db.one("select count(*) from tocsin.history where name = 'v'") == 1


# --- agents and operators ---


@pytest.mark.parametrize("n", [20, pytest.param(100, marks=pytest.mark.long)])
def test_F_F01_two_agents_at_the_same_moment(deaths, n, record_property):
    """One cycle each time; the other one says which, and leaves with 0: S."""
    record_property("times", n)
    deaths.n = n
    deaths.cycles.load("""
        variables.v.sql = "select 1"
        evidences.e.definition = "v == 1"
        """ + "".join(f"""
        events.bell{k} = {{ definition = "e", agent = "agent{k}" }}
        """ for k in range(n)))
    for k in range(n):
        # both are in their transactions before one of them commits
        both = [deaths.agent(k, env={"TOCSIN_QUEUE": "q0", "TOCSIN_LEASE": "60s",
                                     "TOCSIN_FAILPOINT": "plan.after_run=delay:100"})
                for _ in range(2)]
        assert [agent.wait() for agent in both] == [0, 0]
        run = deaths.run(k)
        said = sorted(agent.stdout for agent in both)
        assert sum(text.startswith(f"cycle {run} ") for text in said) == 1, said
        assert sum(f"has cycle {run} open" in text for text in said) == 1, said
    assert deaths.db.one("select count(*) from tocsin.run") == n
    deaths.n = 1
    deaths.survivor()
    deaths.n = n
    deaths.until_closed()
    assert deaths.db.one("select count(*) from tocsin.signal") == n
    assert deaths.db.one("select count(distinct event) from tocsin.signal") == n


AGED = """
    update tocsin.run set created_at = created_at - %(age)s, started_at = started_at - %(age)s,
        written_at = written_at - %(age)s, finished_at = finished_at - %(age)s,
        as_of = as_of - %(age)s;
    update tocsin.job set queued_at = queued_at - %(age)s, started_at = started_at - %(age)s,
        finished_at = finished_at - %(age)s, lease_until = lease_until - %(age)s,
        resend_at = resend_at - %(age)s, computed_at = computed_at - %(age)s;
    update tocsin.signal set at = at - %(age)s;
    update tocsin.event set evaluated_at = evaluated_at - %(age)s,
        next_call = case when isfinite(next_call) then next_call - %(age)s else next_call end;
    update tocsin.variable set computed_at = computed_at - %(age)s;
    update tocsin.evidence set evaluated_at = evaluated_at - %(age)s
    """


def age(db, span):
    """As if all in the books had happened so much earlier."""
    db.run(AGED.replace("%(age)s", f"interval '{span}'"))


def test_F_F02_an_open_cycle_whose_workers_were_gone_for_a_day(gated, broker):
    """The next agent resumes it; the messages of yesterday change nothing: L S T."""
    import amqp
    worker = gated.worker()
    gated.begin()
    worker.kill()
    wait_for(lambda: broker.depth("tocsin") == 1)
    with broker.connect() as connection:
        channel = connection.channel()
        old = channel.basic_get("tocsin", no_ack=True)
        for _ in range(3):
            channel.basic_publish(amqp.Message(old.body, **old.properties), routing_key="tocsin")
        age(gated.cycles.db, "1 day")
        check(gated.cycles.db, open_runs=True)
        resumed = gated.tocsin("cycle", env=QUICK)
        assert "cycle 1" in resumed.stdout + resumed.stderr
        assert gated.cycles.last() == 1
        gated.worker()
        gated.end(attempts=2)
        channel.basic_publish(amqp.Message(old.body, **old.properties), routing_key="tocsin")
    wait_for(lambda: not broker.depth("tocsin"), 20)
    assert len(gated.commands()) == 2
    # the event is due once, not once for each hour that was missed
    gated.tocsin("cycle", "--wait", env=QUICK)
    assert gated.cycles.signals() == {"e": "continue_raising"}
    assert gated.cycles.db.one("select count(*) from tocsin.run") == 2
    assert "0 jobs" in gated.tocsin("cycle", "--wait", env=QUICK).stdout


def test_F_F03_cron_fires_twice_misses_slots_and_overlaps(cycles):
    """next_call is exact, and what was missed is not made up for: S B."""
    cycles.load("""
        variables.v.sql = "select 1"
        evidences.e.definition = "v == 1"
        events.bell = { definition = "e", interval = "1h" }
        events.daily = { definition = "e", rrule = "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0", dtstart = "2026-01-01T00:00:00" }
        """)
    cycles.db.run("update tocsin.event set next_call = '2026-03-01 06:00+00' where name = 'daily'")

    def at(when, signals, bell, daily):
        cycles.run_at(when)
        assert cycles.signals() == signals
        assert cycles.db.all("select to_char(next_call, 'DD HH24:MI') from tocsin.event"
                             " order by name") == [bell, daily]
    at("2026-03-01T05:00:00Z", {"bell": "raise"}, "01 06:00", "01 06:00")
    at("2026-03-01T05:00:00Z", {}, "01 06:00", "01 06:00")		# twice
    at("2026-03-01T05:59:59Z", {}, "01 06:00", "01 06:00")		# early
    at("2026-03-01T09:10:00Z", {"bell": "continue_raising", "daily": "raise"},
       "01 10:10", "02 06:00")						# three slots are missed
    at("2026-03-01T09:10:00Z", {}, "01 10:10", "02 06:00")
    at("2026-03-05T12:00:00Z", {"bell": "continue_raising", "daily": "raise"},
       "05 13:00", "06 06:00")						# four days
    at("2026-03-05T12:00:01Z", {}, "05 13:00", "06 06:00")
    assert cycles.db.one("select count(*) from tocsin.signal") == 5


def test_F_F06_an_agent_is_away_for_a_week(cycles):
    """No signal is invented, and status tells how old that is: S Q."""
    cycles.load("""
        variables.v.sql = "select 1"
        evidences.e.definition = "v == 1"
        events.bell.definition = "e"
        """)
    cycles.run()
    age(cycles.db, "7 days")
    assert cycles.db.one("select count(*) from tocsin.signal") == 1
    assert cycles.event("bell", "state") == "raising"
    raising, = cycles.tocsin("status", "--json").json()["raising"]
    assert 7 * 86400 <= raising["age"] < 7 * 86400 + 600
    assert "7d" in cycles.tocsin("status").stdout
    assert "overdue" in cycles.tocsin("status", "--check", status=2).stdout
    cycles.run()
    assert cycles.db.all("select action from tocsin.signal order by run_id") == [
        "raise", "continue_raising"]
    assert "0 jobs" in cycles.run().stdout


NEWER = "insert into tocsin.migration (version, name, hash) values (99, 'later', '')"


@pytest.mark.parametrize("n", [1, 2])
def test_F_F07_the_schema_is_upgraded_under_workers(failpoints, cycles, broker, tmp_path, n):
    """Old ones take no new work, finish what they have or hand it back, and leave: L S."""
    gated = Gated(cycles, tmp_path)
    cycles.tocsin.env.update(TOCSIN_PROCESSES=str(n))
    worker = cycles.tocsin.spawn("worker", *HANDS, env={
        **QUICK, **BY_MESSAGE, "TOCSIN_SWEEP": "1h", "TOCSIN_GRACE": "20s"})
    gated.begin()
    cycles.db.run("update tocsin.event set agent = 'other'")
    cycles.due_again()
    plan = cycles.tocsin.spawn("cycle", "--agent", "other", env={
        **QUICK, "TOCSIN_FAILPOINT": "agent.before_publish=stop"})
    wait_for(lambda: cycles.last() == 2 and processes()[plan.pid][1] == "T", 20)
    cycles.db.run(NEWER)
    plan.signal(signal.SIGCONT)
    assert plan.wait() in (0, 78)
    worker.wait_for("no more work is taken.*version 99.* knows only", 20)
    (tmp_path / "gate").touch()
    assert worker.wait() == 78
    assert cycles.job("v", "state, attempts", 1) == ("done", 1)
    assert cycles.db.all("select distinct state, attempts from tocsin.job where run_id = 2"
                         " and kind = 'variable'") == [("queued", 0)]
    assert cycles.job("ev", "state", 1) == "queued"
    again = cycles.tocsin("worker", *HANDS, env=QUICK, status=78)
    assert "version 99" in again.stderr
    check(cycles.db, open_runs=True)
    # the new program
    cycles.db.run("delete from tocsin.migration where version = 99")
    cycles.tocsin.spawn("worker", *HANDS, env=QUICK)
    wait_for(lambda: cycles.db.one("select bool_and(finished_at is not null) from tocsin.run"), 30)
    assert cycles.db.all("select state from tocsin.run") == ["DONE", "DONE"]
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert sorted(cycles.db.all("select action from tocsin.signal")) == [
        "continue_raising", "raise"]


def test_F_F07_an_idle_worker_notices(cycles, broker):
    """At the latest with the next sweep."""
    worker = cycles.tocsin.spawn("worker", env=QUICK)
    worker.wait_for("worker is ready", 20)
    cycles.db.run(NEWER)
    assert worker.wait() == 78
    assert "version 99" in worker.stderr
    cycles.db.run("delete from tocsin.migration where version = 99")
