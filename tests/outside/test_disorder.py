"""Messages that come three times and in any order, and agents that die at any moment.

The books are the truth and messages are reminders: who sends them late, twice
or not at all changes when a cycle ends, and nothing else.
"""

import heapq
import random
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from cycles import BY_MESSAGE, QUICK
from harness import program, wait_for
from invariants import books, check  # noqa: F401


class Postman(threading.Thread):
    """Takes every message from one queue, and brings it three times to another,
    each time after a random while."""

    def __init__(self, broker, source, target, seed):
        super().__init__()
        self.broker, self.source, self.target = broker, source, target
        self.random = random.Random(seed)
        self.tasks = Counter()
        self.brought = 0
        self.failure = None
        self.enough = threading.Event()

    def run(self):
        try:
            with self.broker.connect() as connection:
                self.carry(connection.channel())
        except Exception as e:
            self.failure = e

    def carry(self, channel):
        import amqp
        bag = []			# a heap: when, a number, the message
        while not self.enough.is_set():
            while message := channel.basic_get(self.source, no_ack=True):
                self.tasks[message.headers["task"]] += 1
                for _ in range(3):
                    heapq.heappush(bag, (time.monotonic() + self.random.uniform(0, 0.4),
                                         self.random.random(), message))
            while bag and bag[0][0] <= time.monotonic():
                message = heapq.heappop(bag)[-1]
                channel.basic_publish(amqp.Message(message.body, **message.properties),
                                      routing_key=self.target)
                self.brought += 1
            time.sleep(0.005)

    def has_brought_all(self):
        assert self.failure is None, self.failure
        return self.brought == 3 * self.tasks.total()


@pytest.fixture
def postman(broker):
    """postman("a", "b", seed) is at work between these queues."""
    started = []

    def start(*args):
        started.append(Postman(broker, *args))
        started[-1].start()
        return started[-1]
    yield start
    for postman in started:
        postman.enough.set()
        postman.join(20)


VARIABLES = 12


def entangled(directory):
    """Each variable leaves a line when it runs; v0 fails; evidences have three
    variables each, events three evidences."""
    def three(letter, n):
        return [f"{letter}{(n + k) % VARIABLES}" for k in range(3)]
    text = "".join(f"""
        [variables.v{n}]
        shell = "echo v{n} >>{directory}/ran; {'exit 1' if n == 0 else f'echo {n}'}"
        [evidences.e{n}]
        definition = "count({', '.join(v + ' is not None' for v in three('v', n))}) >= 3"
        [events.event{n}]
        definition = "{' and '.join(three('e', n))}"
        """ for n in range(VARIABLES))
    return text + f"""
        [reactions.tell]
        events = ["event1", "event2"]
        on = ["raise", "continue_raising"]
        command = 'echo "$TOCSIN_KEY" >>{directory}/told'
        """


# e10, e11 and e0 have v0 among their variables
RAISING = [f"event{n}" for n in range(1, 8)]


@pytest.mark.parametrize("seed, env", [(1, BY_MESSAGE), (2, {})], ids=["messages", "at once"])
def test_every_message_three_times_in_random_order(cycles, broker, postman, tmp_path, seed, env):
    cycles.load(entangled(tmp_path))
    cycles.tocsin.env.update(TOCSIN_QUEUE="sent", **env)
    workers = [cycles.tocsin.spawn("worker", "-Q", "brought", "--executors", "sql,shell")
               for _ in range(2)]
    for worker in workers:
        worker.wait_for("worker is ready", 20)
    with broker.connect() as connection:
        connection.channel().queue_declare("sent", durable=True, auto_delete=False)
    post = postman("sent", "brought", seed)
    for action in ("raise", "continue_raising"):
        cycles.tocsin("cycle", "--wait", status=1)
        assert cycles.state() == "DONE_WITH_ERRORS"
        assert cycles.signals() == dict.fromkeys(RAISING, action)
        cycles.due_again()
    wait_for(lambda: cycles.db.one(
        "select count(*) from tocsin.delivery where state = 'delivered'") == 4)
    wait_for(lambda: not broker.depth("sent") and post.has_brought_all()
             and not broker.depth("brought"), 20)
    for worker in workers:
        assert worker.stop() == 0
    assert broker.depth("brought") == 0 and broker.depth("brought.parked") in (None, 0)
    assert post.tasks["tocsin.variable"] == 2 * VARIABLES
    assert (post.tasks["tocsin.evidence"] >= 2) == (post.tasks["tocsin.event"] >= 2) == bool(env)
    assert Counter((tmp_path / "ran").read_text().split()) == {
        f"v{n}": 2 for n in range(VARIABLES)}
    assert cycles.db.all("select distinct attempts, fence from tocsin.job"
                         " where kind = 'variable'") == [(1, 1)]
    assert sorted((tmp_path / "told").read_text().split()) == sorted(
        cycles.db.all("select key::text from tocsin.delivery"))
    check(cycles.db)


# Agents


def agents_events(n):
    return "".join(f"""
        [events.{name}{k}]
        definition = "{definition}"
        agent = "agent{k}"
        """ for k in range(n) for name, definition in (
            ("both", "ea and eb"), ("either", "ea or eb"), ("neither", "not ea and not eb")))


def test_agents_killed_at_twenty_moments_leave_cycles_that_end(cycles, broker):
    """Those who die before their cycle is written down leave none; what the
    others have not sent, the workers miss and send."""
    seeds = random.Random(20261122)
    points = ["plan.after_run", "plan.before_commit", "cycle.after_plan", "agent.before_started"]
    with open(program(), "rb") as file:
        if b"TOCSIN_FAILPOINT" not in file.read():
            points = []
    moments = [None] * 20 + points
    cycles.load("""
        [variables]
        a.sql = "select 1"
        b.sql = "select 2"
        [evidences]
        ea.definition = "a == 1"
        eb.definition = "b == 2"
        """ + agents_events(len(moments) + 1))
    for _ in range(2):
        cycles.tocsin.spawn("worker", env=QUICK).wait_for("worker is ready", 20)
    began = time.monotonic()
    cycles.tocsin("cycle", "--agent", f"agent{len(moments)}", env=QUICK)
    usual = time.monotonic() - began

    def live_and_die(n, point):
        env = {**QUICK, **({"TOCSIN_FAILPOINT": f"{point}=kill@1"} if point else {})}
        agent = cycles.tocsin.spawn("cycle", "--agent", f"agent{n}", env=env)
        try:
            agent.process.wait(20 if point else seeds.uniform(0, 1.2 * usual))
        except subprocess.TimeoutExpired:
            agent.kill()
        assert agent.process.returncode in ((-9,) if point else (0, -9)), agent
        return agent.process.returncode

    deaths = [live_and_die(n, point) for n, point in enumerate(moments)].count(-9)
    assert deaths > len(points)
    ended = "select bool_and(finished_at is not null) from tocsin.run"
    wait_for(lambda: cycles.db.one(ended), 30)
    check(cycles.db)
    begun = set(cycles.db.all("select agent from tocsin.run"))
    assert begun.isdisjoint(f"agent{n}" for n, point in enumerate(moments)
                            if point and point.startswith("plan."))
    with ThreadPoolExecutor(2) as several:
        list(several.map(lambda agent: cycles.tocsin("cycle", "--agent", agent, env=QUICK),
                         {f"agent{n}" for n in range(len(moments))} - begun))
    wait_for(lambda: cycles.db.one(ended), 30)
    assert sorted(cycles.db.all("select agent, state from tocsin.run")) == sorted(
        (f"agent{n}", "DONE") for n in range(len(moments) + 1))
    assert sorted(cycles.db.all("select event, action from tocsin.signal")) == sorted(
        (f"{name}{n}", "raise") for n in range(len(moments) + 1) for name in ("both", "either"))
