"""What a cycle survives: its own death, anywhere, and that of PostgreSQL.

After each fault the next cycle takes up what was left, brings it to its end,
and the books are as if nothing had happened: one signal for each event, no
variable forgotten.  (F-A01 to F-A14, F-A22, F-C01, in so far as they are one
process.)
"""

import os
import random
import signal
import subprocess
from collections import Counter

import pytest

from cycles import EACH_BY_MESSAGE
from harness import processes, wait_for
from invariants import books, check  # noqa: F401

# Several stages, early decisions, a failure, an evidence without variables,
# deliveries: something for every place at which a process can die.
GRAPH = """
    [variables]
    a.shell = "echo 1"
    b.shell = "echo 2"
    c.sql = "select 3"
    slow.shell = "sleep 0.3; echo 4"
    bad.shell = "exit 1"
    [evidences]
    ea.definition = "a == 1"
    eab.definition = "a + b == 3"
    ec.definition = "c == 4"
    eslow.definition = "slow == 4"
    ebad.definition = "bad == 1"
    mixed.definition = "bad is None and c == 3"
    [reactions.tell]
    events = [{told}]
    command = 'echo "$TOCSIN_KEY" >>{sink}'
    """
RAISED = dict.fromkeys(["one", "two", "three", "six"], "raise")
JOBS = {"a": "done", "b": "done", "c": "done", "slow": "done", "bad": "failed",
        "ea": "done", "eab": "done", "ec": "done", "eslow": "done", "ebad": "skipped",
        "mixed": "done", "event one": "done", "event two": "done", "event three": "done",
        "event four": "done", "event five": "skipped", "event six": "done"}


EVENTS = """
    [events]
    one{n} = {{ definition = "ea", agent = "agent{n}" }}
    two{n} = {{ definition = "eab and eslow", agent = "agent{n}" }}
    three{n} = {{ definition = "ec or eslow", agent = "agent{n}" }}
    four{n} = {{ definition = "ec", agent = "agent{n}" }}
    five{n} = {{ definition = "ebad", agent = "agent{n}" }}
    six{n} = {{ definition = "mixed and not ec", agent = "agent{n}" }}
    """

# Short, for what dies here dies for good: nobody comes back too early.
DEATH = {"TOCSIN_LEASE": "1s", "TOCSIN_SWEEP": "200ms", "TOCSIN_GRACE": "500ms"}

STANDS_STILL = """
    select not exists (select from tocsin.job j where j.run_id = r.id
        and (greatest(queued_at, started_at, finished_at) > now() - interval '1.1 s'
             or lease_until > now()))
      from tocsin.run r where r.id = %s"""


class Graph:
    """The graph for several agents, in one database."""

    def __init__(self, cycles, directory, agents=1):
        self.cycles = cycles
        self.db = cycles.db
        self.sink = directory / "sink"
        text = GRAPH.format(sink=self.sink, told=", ".join(
            f'"one{n}", "two{n}"' for n in range(agents)))
        events = "".join(EVENTS.format(n=n).replace("[events]", "") for n in range(agents))
        cycles.load(text + "[events]" + events)

    def spawn(self, n=0, env=None):
        return self.cycles.spawn("--agent", f"agent{n}", env={**DEATH, **(env or {})})

    def open_run(self, n=0):
        return self.db.one("select id from tocsin.run where agent = %s"
                           " and state in ('CREATED', 'STARTED', 'ERRORED')", f"agent{n}")

    def resume(self, n=0):
        """The next cycle, as soon as it may take the open one up."""
        run = self.open_run(n)
        if run is not None:
            wait_for(lambda: self.db.one(STANDS_STILL, run), 10)
        return self.spawn(n)

    def deliver(self):
        """Any cycle attempts what is due, be it another agent's."""
        wait_for(lambda: self.db.one("select count(*) = 0 from tocsin.delivery"
                                     " where state = 'sending' and lease_until > now()"))
        self.cycles.run("--agent", "postman", env=DEATH)

    def is_as_if_nothing_had_happened(self, n=0):
        run = self.db.one("select min(id) from tocsin.run where agent = %s", f"agent{n}")
        assert self.cycles.state(run) == "DONE_WITH_ERRORS", n
        assert self.cycles.jobs(run) == {
            name + (str(n) if name.startswith("event") else ""): state
            for name, state in JOBS.items()}, n
        assert self.cycles.signals(run) == {f"{e}{n}": "raise" for e in RAISED}, n
        assert self.db.one("select count(*) from tocsin.signal s join tocsin.run r"
                           " on r.id = s.run_id where agent = %s", f"agent{n}") == 4, n
        assert self.db.one("select max(hold) from tocsin.event where agent = %s",
                           f"agent{n}") == 1, n

    def sent(self):
        """The keys that have arrived; all must be those of deliveries."""
        assert self.db.all("select distinct state from tocsin.delivery") == ["delivered"]
        keys = self.sink.read_text().split()
        assert set(keys) == set(self.db.all("select key::text from tocsin.delivery"))
        return keys


@pytest.fixture
def graph(cycles, tmp_path):
    return Graph(cycles, tmp_path)


def test_the_graph_without_a_fault(graph):
    assert graph.spawn().wait() == 1
    graph.is_as_if_nothing_had_happened()
    assert len(graph.sent()) == 2
    assert graph.db.one("select max(attempts) from tocsin.job") == 1


POINTS = ["plan.after_run", "plan.before_commit", "cycle.after_plan", "worker.after_claim",
          "worker.after_claim@3", "worker.before_settle", "worker.before_settle@3",
          "worker.before_commit", "worker.before_commit@2", "worker.before_commit@4",
          "worker.after_commit", "worker.after_commit@2", "worker.after_commit@4",
          "worker.before_ack", "worker.before_ack@3"]


def test_a_cycle_that_is_killed_anywhere_is_brought_to_its_end_by_the_next(
        cycles, failpoints, tmp_path):
    """One agent for each place at which a process can die, a few at a time."""
    graph = Graph(cycles, tmp_path, len(POINTS))
    for first in range(0, len(POINTS), 4):
        dying = {}
        for n, point in list(enumerate(POINTS))[first:first + 4]:
            name, _, at = point.partition("@")
            each = f",{EACH_BY_MESSAGE}" if at else ""
            dying[n] = graph.spawn(n, {"TOCSIN_FAILPOINT": f"{name}=kill@{at or 1}{each}"})
        for n, cycle in dying.items():
            assert cycle.wait() == -signal.SIGKILL, (POINTS[n], cycle)
    check(graph.db, open_runs=True)
    for n, point in enumerate(POINTS):
        assert (graph.open_run(n) is None) == point.startswith("plan."), point
    for first in range(0, len(POINTS), 4):
        heirs = [graph.resume(n) for n in range(len(POINTS))[first:first + 4]]
        for heir in heirs:
            assert heir.wait() == 1, heir
    for n in range(len(POINTS)):
        graph.is_as_if_nothing_had_happened(n)
    graph.deliver()
    assert len(graph.sent()) == 2 * len(POINTS)


def test_a_cycle_that_is_killed_at_any_moment_is_brought_to_its_end(cycles, tmp_path):
    seeds = random.Random(20260501)
    graph = Graph(cycles, tmp_path, 8)
    for n in range(8):
        cycle = graph.spawn(n)
        try:
            cycle.process.wait(seeds.uniform(0, 0.9))
        except subprocess.TimeoutExpired:
            cycle.kill()
    check(graph.db, open_runs=True)
    for n in range(8):
        if n == 0 or graph.db.one("select count(*) from tocsin.run where agent = %s"
                                  " and finished_at is not null", f"agent{n}") == 0:
            assert graph.resume(n).wait() in (0, 1)
        graph.is_as_if_nothing_had_happened(n)
    graph.deliver()
    assert len(graph.sent()) >= 16


@pytest.mark.fault("F-A13")
@pytest.mark.parametrize("point, times", [
    ("delivery.before_send", 2), ("delivery.before_record", 3), ("delivery.before_record@2", 3)])
def test_a_delivery_is_sent_again_only_if_it_was_not_known_to_be_sent(
        graph, failpoints, point, times):
    name, _, at = point.partition("@")
    killed = graph.spawn(env={"TOCSIN_FAILPOINT": f"{name}=kill@{at or 1}"})
    assert killed.wait() == -signal.SIGKILL
    if graph.open_run():
        assert graph.resume().wait() == 1
    graph.deliver()
    graph.is_as_if_nothing_had_happened()
    assert 2 <= len(graph.sent()) <= times + 1
    assert set(Counter(graph.sent()).values()) <= {1, 2}


def stands_still(cycles):
    """The last run: nothing guards it any more."""
    wait_for(lambda: cycles.db.one(STANDS_STILL, cycles.last()), 10)


def test_a_cycle_that_is_still_alive_is_not_taken_away(cycles, tmp_path):
    """Its lease is renewed while it measures for longer than a lease."""
    gate = tmp_path / "gate"
    cycles.load(f"""
        [variables.slow]
        shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        [evidences.e]
        definition = "slow == 1"
        [events.event]
        definition = "e"
        """)
    env = {**DEATH, "TOCSIN_LEASE": "600ms", "TOCSIN_SWEEP": "100ms"}
    cycle = cycles.spawn(env=env)
    cycles.wait_for_job("slow", "running")
    begun = cycles.job("slow", "started_at")
    wait_for(lambda: cycles.db.one("select now() - %s > interval '1.5 s'", begun))
    assert '"busy":true' in cycles.run("--json", env=env).stdout
    gate.touch()
    assert cycle.wait() == 0
    assert cycles.job("slow", "attempts, state") == (1, "done")


def test_a_cycle_that_is_told_to_stop_says_so_and_is_resumed(cycles, tmp_path):
    gate = tmp_path / "gate"
    cycles.load(f"""
        [variables.slow]
        shell = "echo $$ >{tmp_path}/pid; while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        [evidences.e]
        definition = "slow == 1"
        [events.event]
        definition = "e"
        """)
    cycle = cycles.spawn(env=DEATH)
    pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert cycle.stop() == 75
    assert "cycle 1 is still open" in cycle.stderr
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    check(cycles.db, open_runs=True)
    gate.touch()
    stands_still(cycles)
    cycles.run(env=DEATH)
    assert cycles.db.all("select state from tocsin.run") == ["DONE"]
    assert cycles.signals() == {"event": "raise"}


def test_a_cycle_that_was_suspended_cannot_overwrite_its_successor(cycles, tmp_path):
    """Its lease ran out while it slept; what it comes back with counts no more,
    even while the successor still measures."""
    cycles.load(f"""
        [variables.v]
        shell = '''
        echo $$ >>{tmp_path}/ran
        n=$(wc -l <{tmp_path}/ran)
        while [ ! -e {tmp_path}/gate$n ]; do sleep 0.02; done
        echo $n
        '''
        [evidences.e]
        definition = "v"
        [events.event]
        definition = "e"
        """)
    ran = tmp_path / "ran"
    sleeper = cycles.spawn(env=DEATH)
    wait_for(lambda: ran.exists() and cycles.job("v", "state") == "running")
    sleeper.signal(signal.SIGSTOP)
    stands_still(cycles)
    successor = cycles.spawn(env=DEATH)
    wait_for(lambda: cycles.job("v", "state, attempts") == ("running", 2))
    wait_for(lambda: len(ran.read_text().split()) == 2)
    (tmp_path / "gate1").touch()
    pid = int(ran.read_text().split()[0])
    wait_for(lambda: processes()[pid][1] == "Z", message="its command has not ended")
    woken = cycles.db.one("select clock_timestamp()")
    sleeper.signal(signal.SIGCONT)
    wait_for(lambda: "given to another worker" in sleeper.stderr or cycles.db.one("""
        select count(*) from pg_stat_activity
         where datname = current_database() and query_start > %s and query = 'commit'""", woken),
        message="the woken one has not tried to settle")
    assert cycles.job("v", "state, fence") == ("running", 2)
    (tmp_path / "gate2").touch()
    assert successor.wait() == 0
    assert sleeper.wait() == 0
    assert cycles.db.all("select state from tocsin.run") == ["DONE"]
    assert cycles.db.one("select value from tocsin.history where kind = 'variable'") == 2
    assert cycles.db.one("select count(*) from tocsin.signal") == 1


@pytest.mark.parametrize("guilty", ["a_guilty", "z_guilty"])
def test_a_variable_that_kills_its_process_fails_and_its_neighbours_do_not(cycles, guilty):
    names = ["b", "c", "n", "y", guilty]
    cycles.load("".join(f"""
        [variables.{name}]
        shell = "{'sleep 0.2; kill -9 $PPID; sleep 5' if name == guilty else 'sleep 0.5; echo 1'}"
        [evidences.e_{name}]
        definition = "{name} == 1"
        [events.event_{name}]
        definition = "e_{name}"
        """ for name in names))
    for attempt in range(1, 4):
        dying = cycles.spawn(env=DEATH)
        assert dying.wait() == -signal.SIGKILL
        assert cycles.job(guilty, "attempts") == attempt
        stands_still(cycles)
    cycles.run(env=DEATH, status=1)
    assert cycles.db.one("select state from tocsin.run") == "DONE_WITH_ERRORS"
    state, reason, error = cycles.job(guilty, "state, reason, error")
    assert (state, reason) == ("failed", "lost") and "3 times" in error
    assert {k: v for k, v in cycles.jobs().items() if v != "done"} == {
        guilty: "failed", f"e_{guilty}": "skipped", f"event event_{guilty}": "skipped"}
    assert len(cycles.signals()) == 4


def test_postgresql_killed_in_the_middle_of_a_cycle_costs_time_and_no_result(cycles, tmp_path,
                                                                             sandbox):
    gate = tmp_path / "gate"
    cycles.load(f"""
        [variables.quick]
        shell = "echo 1"
        [variables.slow]
        shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        [evidences]
        fast.definition = "quick == 1"
        late.definition = "slow == 1"
        [events]
        early.definition = "fast"
        both.definition = "fast and late"
        either.definition = "fast or late"
        """)
    cycle = cycles.spawn(env=DEATH)
    wait_for(lambda: cycles.db.one("select count(*) from tocsin.signal") == 2)
    sandbox.kill("postgresql")
    gate.touch()		# what it measures, it cannot write down
    cycle.wait_for("the books cannot be used")
    sandbox.start("postgresql")
    assert cycle.wait(30) == 0, cycle
    assert cycles.db.all("select state from tocsin.run") == ["DONE"]
    assert cycles.signals() == dict.fromkeys(["early", "both", "either"], "raise")


def test_backends_that_are_terminated_again_and_again_cost_no_result(graph):
    """All but the one that measures: that would be the variable's own failure."""
    cycle = graph.spawn()
    wait_for(graph.open_run)
    kills = 0
    while cycle.alive and kills < 12:
        kills += graph.db.one("""
            select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()
               and query ~ 'tocsin[.]'""")
    cycle.wait(30)
    if graph.open_run():
        graph.resume().wait()
    graph.is_as_if_nothing_had_happened()
